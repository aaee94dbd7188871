import { accessSync, constants, statSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';

/**
 * The first program `age-plugin-NAME` in the folders of `searchPath` (PATH), or undefined. Relative folders, the current
 * one among them, are passed over.
 */
export function findPlugin(name: string, searchPath: string): string | undefined {
  return searchPath
    .split(':')
    .filter(isAbsolute)
    .map((folder) => join(folder, `age-plugin-${name}`))
    .find(isProgram);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
