import { fileURLToPath } from 'node:url';
import { isSea } from 'node:sea';
import { isBundled } from '../bundle/read-asset.ts';

/** The program's name; a bundle becomes it when it is called so, or when this is its first argument. */
export const pluginProgram = 'age-plugin-pkcs11';

/** The command that runs the plugin which comes with salvage. */
export function pluginCommand(): [program: string, ...args: string[]] {
  if (!isBundled)
    return [process.execPath, fileURLToPath(new URL('./age-plugin-pkcs11.ts', import.meta.url))];
  return isSea()
    ? [process.execPath, pluginProgram]
    : [process.execPath, import.meta.filename, pluginProgram];
}
