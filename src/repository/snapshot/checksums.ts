import { createHash } from 'node:crypto';
import { asBuffer, utf8Bytes } from '../../bytes/bytes.ts';
import { damagedObject } from '../damage.ts';
import { isObjectDigest, type IndexId, type ObjectDigest, type PackId, type SnapshotId } from '../ids.ts';
import { indexName, packName, roleOf, snapshotFileName } from '../layout.ts';
import { limits } from '../limits.ts';

/** SHA256SUMS of a snapshot: every object that restores it (docs/design/format.md "SHA256SUMS, signature, chain"). */
export interface Checksums {
  readonly snapshotJson: ObjectDigest;
  readonly root: ObjectDigest;
  /** Index objects that the run wrote, in order. */
  readonly indexes: readonly IndexId[];
  /** Every pack that the snapshot refers to, in order. */
  readonly packs: readonly PackId[];
}

/** The file, in the format of sha256sum, sorted by path; indexes and packs may be given in any order and repeatedly. */
export function encodeChecksums(id: SnapshotId, checksums: Checksums): Uint8Array<ArrayBuffer> {
  const digests = new Map<string, ObjectDigest>([
    [snapshotFileName(id, 'snapshot.json'), checksums.snapshotJson],
    [snapshotFileName(id, 'root.age'), checksums.root],
  ]);
  for (const index of checksums.indexes) digests.set(indexName(index), index);
  for (const pack of checksums.packs) digests.set(packName(pack), pack);
  const lines = [...digests].map(([name, digest]) => `${digest}  ${name}\n`);
  return utf8Bytes(lines.sort((a, b) => (a.slice(64) < b.slice(64) ? -1 : 1)).join(''));
}

/**
 * The SHA256SUMS of snapshot `id`. Says nothing of who wrote it: its signature does. @throws damaged unless it is exactly
 * what `encodeChecksums` makes
 */
export function decodeChecksums(bytes: Uint8Array, id: SnapshotId): Checksums {
  const file = snapshotFileName(id, 'SHA256SUMS');
  if (bytes.length > limits.checksums)
    throw damagedObject(file, `it has ${bytes.length} bytes where ${limits.checksums} are allowed`);
  const lines = asBuffer(bytes).toString('latin1').split('\n');
  if (lines.pop() !== '') throw damagedObject(file, 'it does not end with a line feed');
  const found: Partial<Record<'snapshot.json' | 'root.age', ObjectDigest>> = {};
  const indexes: IndexId[] = [];
  const packs: PackId[] = [];
  let previous = '';
  for (const [index, line] of lines.entries()) {
    const refuse = (state: string): Error => damagedObject(file, `line ${index + 1} ${state}`);
    const digest = line.slice(0, 64);
    const name = line.slice(66);
    if (!isObjectDigest(digest) || line.slice(64, 66) !== '  ') throw refuse('is not one of sha256sum');
    if (name <= previous) throw refuse('is out of order');
    previous = name;
    const role = roleOf(name);
    if (
      role?.kind === 'snapshot' &&
      role.id === id &&
      (role.file === 'snapshot.json' || role.file === 'root.age')
    )
      found[role.file] = digest;
    else if (role?.kind !== 'pack' && role?.kind !== 'index')
      throw refuse('lists something that belongs to no snapshot');
    else if (role.id !== digest) throw refuse('gives another SHA-256 than the name does');
    else (role.kind === 'pack' ? packs : indexes).push(digest);
  }
  const { 'snapshot.json': snapshotJson, 'root.age': root } = found;
  if (!snapshotJson || !root) throw damagedObject(file, 'it does not list both snapshot.json and root.age');
  return { snapshotJson, root, indexes, packs };
}

/** SHA-256 of the file: what the next snapshot gives as `previous`, and what a verifier remembers of the head. */
export function checksumsDigest(bytes: Uint8Array): ObjectDigest {
  return createHash('sha256').update(bytes).digest('hex') as ObjectDigest;
}
