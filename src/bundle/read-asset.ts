// What differs between a checkout and a bundle (tools/bundle.ts) is known in this folder alone: where files that belong to
// the program are, how worker threads start, and where native code comes from.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { getRawAsset, isSea } from 'node:sea';

/** In a bundle `import.meta.url` is replaced by this, so that `new URL('./file', import.meta.url)` names an asset. */
const bundleProtocol = 'salvage:';

/** Whether the program runs from a bundle: the single executable or the npm package. */
export const isBundled: boolean = import.meta.url.startsWith(bundleProtocol);

/** The bytes of a file beside the source, named by `new URL('./file', import.meta.url)`. Not to be changed. */
export function readAsset(file: URL): Uint8Array {
  if (file.protocol !== bundleProtocol) return readFileSync(file);
  return isSea() ? new Uint8Array(getRawAsset(assetName(file))) : readFileSync(assetPath(file));
}

/** In the npm package assets are files beside the bundle. */
export function assetPath(file: URL): string {
  return join(import.meta.dirname, assetName(file));
}

/** File names are unique across the source, which the bundler checks; `x-worker.ts` is bundled into `x-worker.cjs`. */
function assetName(file: URL): string {
  return file.pathname.slice(1).replace(/\.ts$/, '.cjs');
}
