import { readFileSync } from 'node:fs';

/** README.txt: what a repository says to somebody who has never heard of salvage. Stored by `init`. */
export function readReadme(): Uint8Array {
  return readFileSync(new URL('./README.txt', import.meta.url));
}

/** recover.py: restores a snapshot with Python, `age` and `zstd` alone. Stored by `init`. */
export function readRecoverScript(): Uint8Array {
  return readFileSync(new URL('./recover.py', import.meta.url));
}
