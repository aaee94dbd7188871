import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Puts a file of the user's own, mode 0600, in the place of the one before: whole or not at all, its content on disk when
 * it gets its name. Makes the folders above it, for the user alone. @throws what the file system does
 */
export function replacePrivateFile(path: string, content: Uint8Array | string): void {
  const draft = `${path}.new`;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  // Of a run that was killed; and no link that somebody has put there is followed.
  rmSync(draft, { force: true });
  writeFileSync(draft, content, { mode: 0o600, flag: 'wx', flush: true });
  renameSync(draft, path);
}
