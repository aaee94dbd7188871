// A small repository on disk, made by the writers directly: for tests of what is stored, without the operations.
import { createHash } from 'node:crypto';
import { createEnvelope } from '../../src/age/envelope.ts';
import type { Recipient } from '../../src/age/recipient.ts';
import type { FileEntry } from '../../src/posix/file-entry.ts';
import { Chunker, wholeFileBytes } from '../../src/chunker/chunker.ts';
import {
  newRepositoryId,
  newSnapshotId,
  type RepositoryId,
  type SnapshotId,
} from '../../src/repository/ids.ts';
import { encodeIndexedPack } from '../../src/repository/index-object.ts';
import { indexName, packName, repositoryName, snapshotFileName } from '../../src/repository/layout.ts';
import { PackTable } from '../../src/repository/pack/pack-table.ts';
import { PackWriter, sealDocument, type FinishedPack } from '../../src/repository/pack/pack-writer.ts';
import { encodeRepositoryJson } from '../../src/repository/repository-json.ts';
import { checksumsDigest, encodeChecksums } from '../../src/repository/snapshot/checksums.ts';
import { encodeSnapshotRoot, type SegmentReference } from '../../src/repository/snapshot/root-json.ts';
import { encodeSnapshotJson, snapshotGroup } from '../../src/repository/snapshot/snapshot-json.ts';
import { encodeRanges, type ContentRange } from '../../src/repository/tree/content-ranges.ts';
import { TreeEncoder, type TreeSegment } from '../../src/repository/tree/tree-encoder.ts';
import { treeLines } from '../../src/repository/tree/tree-line.ts';
import type { Storage } from '../../src/storage/storage.ts';

/** One entry in tree order; `content` is the data outside the holes. */
export interface TestFile {
  readonly entry: FileEntry;
  readonly content?: Uint8Array;
}

export interface BuiltRepository {
  readonly id: RepositoryId;
  readonly snapshot: SnapshotId;
  /** SHA256SUMS, for a signature, which is not made here. */
  readonly checksums: Uint8Array;
}

/** Stores a repository with one snapshot of these files, all but its signature. */
export async function buildRepository(
  storage: Storage,
  recipients: readonly Recipient[],
  files: readonly TestFile[],
): Promise<BuiltRepository> {
  const id = newRepositoryId();
  const started = new Date('2026-11-23T10:15:00Z');
  const snapshot = newSnapshotId(1, started);
  const chunkerSeed = new Uint8Array(32).fill(3);
  const chunker = new Chunker(chunkerSeed);
  const packs = new PackTable();
  const content = packs.reserve();
  const contentWriter = new PackWriter(await createEnvelope(recipients), { checkFrames: true });
  const ranges = files.map(({ content: bytes = new Uint8Array(0) }) => {
    const found: ContentRange[] = [];
    for (let start = 0; start < bytes.length;) {
      const length = bytes.length <= wholeFileBytes ? bytes.length : chunker.cut(bytes, start, bytes.length);
      const blob = bytes.subarray(start, start + length);
      const digest = createHash('sha256').update(blob).digest();
      found.push({ pack: content, offset: contentWriter.add(blob, digest), length, digest });
      start += length;
    }
    return encodeRanges(found);
  });
  const contentPack = contentWriter.finish('last');
  packs.name(content, contentPack.id);
  await storePack(storage, packName(contentPack.id), contentPack);

  const encoder = new TreeEncoder(packs);
  const treeWriter = new PackWriter(await createEnvelope(recipients));
  const segments: Omit<SegmentReference, 'pack'>[] = [];
  const take = (segment: TreeSegment): void => {
    const digest = createHash('sha256').update(segment.bytes).digest();
    const offset = treeWriter.add(segment.bytes, digest);
    segments.push({ offset, length: segment.bytes.length, digest, first: segment.first });
  };
  for (const [index, { entry }] of files.entries())
    for (const line of treeLines(entry, ranges[index]!)) encoder.add(line).forEach(take);
  const last = encoder.finish();
  if (last) take(last);
  const treePack = treeWriter.finish('last');
  await storePack(storage, packName(treePack.id), treePack);

  const indexDocument = Buffer.concat([
    ...encodeIndexedPack({ pack: contentPack.id, kind: 'content', ...contentPack }),
    ...encodeIndexedPack({ pack: treePack.id, kind: 'tree', ...treePack }),
  ]);
  const index = sealDocument(await createEnvelope(recipients), indexDocument);
  await storePack(storage, indexName(index.id), index);

  const snapshotJson = encodeSnapshotJson({
    format: 'salvage-snapshot',
    version: 1,
    repository: id,
    id: snapshot,
    sequence: 1,
    time: started.toISOString(),
    previous: null,
    entries: files.length,
    sizeBytes: files.reduce((sum, { entry }) => sum + entry.size, 0),
    packs: 2,
    storedBytes: contentPack.sizeBytes + treePack.sizeBytes + index.sizeBytes,
    group: snapshotGroup(chunkerSeed, { paths: ['/test'] }),
    labels: {},
  });
  const root = sealDocument(
    await createEnvelope(recipients),
    encodeSnapshotRoot({
      repository: id,
      snapshot,
      host: 'test-host',
      paths: ['/test'],
      tags: [],
      started: started.toISOString(),
      finished: started.toISOString(),
      statistics: { files: files.length },
      indexKey: 'AGE-SECRET-KEY-1TEST',
      chunkerSeed,
      segments: segments.map((segment) => ({ pack: treePack.id, ...segment })),
    }),
  );
  const checksums = encodeChecksums(snapshot, {
    snapshotJson: checksumsDigest(snapshotJson),
    root: root.id,
    indexes: [index.id],
    packs: [contentPack.id, treePack.id],
  });
  await storage.create(repositoryName, [encodeRepositoryJson(id, started)]);
  await storage.create(snapshotFileName(snapshot, 'snapshot.json'), [snapshotJson]);
  await storePack(storage, snapshotFileName(snapshot, 'root.age'), root);
  await storage.create(snapshotFileName(snapshot, 'SHA256SUMS'), [checksums]);
  await storage.settle();
  return { id, snapshot, checksums };
}

async function storePack(storage: Storage, name: string, pack: FinishedPack): Promise<void> {
  await storage.create(name, pack.parts);
}
