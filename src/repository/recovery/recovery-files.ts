import { readAsset } from '../../bundle/read-asset.ts';

/** README.txt: what a repository says to somebody who has never heard of salvage. Stored by `init`. */
export function readReadme(): Uint8Array {
  return readAsset(new URL('./README.txt', import.meta.url));
}

/** recover.py: restores a snapshot with Python, `age` and `zstd` alone. Stored by `init`. */
export function readRecoverScript(): Uint8Array {
  return readAsset(new URL('./recover.py', import.meta.url));
}
