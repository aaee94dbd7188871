// Trees that no salvage would write, signed as they should be: what a host that turned hostile can store.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { PackId, SnapshotId } from '../../src/repository/ids.ts';
import { LocalStorage } from '../../src/storage/local/local-storage.ts';
import { HandMadeRepository, type HandMadeFile } from './hand-made-repository.ts';
import { restoreHandMade, type RestoreReport } from './restore-hand-made.ts';

/** The one blob that hostile lines refer to, at offset 0 of the first pack. */
export const harmlessBlob: Buffer = Buffer.from('harmless');
export const harmlessDigest: string = createHash('sha256').update(harmlessBlob).digest('base64url');

export function harmlessFile(path: string, content: Uint8Array = harmlessBlob): HandMadeFile {
  const entry = {
    path: Buffer.from(path),
    type: 'file',
    mode: 0o644,
    uid: 0,
    gid: 0,
    user: '',
    group: '',
    mtimeNs: 1_000_000_000n,
    size: content.length,
  } as const;
  return { entry, content };
}

/** A line of a tree segment: a file with the harmless content, with members added, changed, or left out (undefined). */
export function treeLine(path: string, more: object = {}): string {
  const entry = {
    path,
    type: 'file',
    mode: 420,
    uid: 0,
    gid: 0,
    mtime: '1.000000000',
    size: harmlessBlob.length,
    content: [[0, 0, harmlessBlob.length, harmlessDigest]],
  };
  return `${JSON.stringify({ ...entry, ...more })}\n`;
}

export function directoryLine(path: string): string {
  return treeLine(path, { type: 'directory', mode: 493, size: undefined, content: undefined });
}

export function linkLine(path: string, type: 'symlink' | 'hardlink', target: string): string {
  return treeLine(path, { type, target, size: undefined, content: undefined });
}

export interface HostileTree {
  readonly repository: HandMadeRepository;
  readonly id: SnapshotId;
  /** Where it is restored; beside it stands the empty folder `outside`. */
  readonly target: string;
  readonly folder: string;
}

/** A snapshot in `folder` whose one tree segment has these lines. */
export async function storeLines(
  folder: string,
  lines: readonly string[],
  packs: (own: readonly PackId[]) => readonly string[] = (own) => own,
): Promise<HostileTree> {
  mkdirSync(join(folder, 'outside'), { recursive: true });
  const repository = await HandMadeRepository.create(new LocalStorage(join(folder, 'repository')));
  const { id } = await repository.snapshot([harmlessFile('harmless')], {
    segments: (own) => [
      {
        bytes: Buffer.from(`${JSON.stringify({ packs: packs(own) })}\n${lines.join('')}`),
        first: Buffer.from('a'),
      },
    ],
  });
  return { repository, id, target: join(folder, 'target'), folder };
}

/** Restores it, and tells what came of it. Nothing but the target has come into being. */
export async function restoreTree(
  { repository, id, target, folder }: HostileTree,
  options: { readonly allowDevices?: boolean } = {},
): Promise<RestoreReport & { readonly outside: string[] }> {
  const report = await restoreHandMade(repository, id, { target, ...options });
  assert.deepEqual(
    readdirSync(folder).sort((a, b) => (a < b ? -1 : 1)),
    ['outside', 'repository', 'target'],
  );
  return { ...report, outside: readdirSync(join(folder, 'outside')) };
}
