// Servers of databases refuse to run as root, and CI is root: they run as a user who owns nothing but one folder.
import { spawnSync } from 'node:child_process';
import { chownSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** `nobody` and `nogroup` of Debian. */
const nobody = 65_534;

/** For spawn: root becomes an ordinary user, anybody else stays who they are. */
export const ordinaryUser: { readonly uid?: number; readonly gid?: number } =
  process.getuid?.() === 0 ? { uid: nobody, gid: nobody } : {};

/** A temporary folder that belongs to that user. */
export function makeOrdinaryFolder(prefix: string): string {
  const folder = mkdtempSync(join(tmpdir(), prefix));
  if (ordinaryUser.uid !== undefined) chownSync(folder, nobody, nobody);
  return folder;
}

/** Runs a program as that user, in its folder, to its end. @throws Error with what it said, if it fails */
export function runAsOrdinaryUser(program: string, args: readonly string[], folder: string): void {
  const env = { ...process.env, HOME: folder, TMPDIR: folder };
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    ...ordinaryUser,
    cwd: folder,
    env,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`${program}: ${error?.message ?? stdout + stderr}`);
}
