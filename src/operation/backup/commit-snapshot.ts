import type { Envelope } from '../../age/envelope.ts';
import type { HostConfiguration } from '../../repository/host-configuration.ts';
import type { IndexId, ObjectDigest, PackId, SnapshotId } from '../../repository/ids.ts';
import { snapshotFileName } from '../../repository/layout.ts';
import { sealDocument } from '../../repository/pack/pack-writer.ts';
import { checksumsDigest, encodeChecksums } from '../../repository/snapshot/checksums.ts';
import { encodeSnapshotRoot, type SegmentReference } from '../../repository/snapshot/root-json.ts';
import { encodeSnapshotJson } from '../../repository/snapshot/snapshot-json.ts';
import { utf8Bytes } from '../../bytes/bytes.ts';
import type { Signer } from '../../ssh/signer.ts';
import type { Storage } from '../../storage/storage.ts';
import { snapshotNamespace } from '../reading/signed-snapshot.ts';
import { createHash } from 'node:crypto';

/** A snapshot whose packs and index objects are all stored, or on their way. */
export interface SnapshotToCommit {
  readonly id: SnapshotId;
  readonly sequence: number;
  readonly previous: ObjectDigest | null;
  readonly started: Date;
  readonly finished: Date;
  readonly paths: readonly string[];
  readonly tags: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly group: string;
  readonly entries: number;
  readonly sizeBytes: number;
  readonly storedBytes: number;
  readonly statistics: Readonly<Record<string, number>>;
  readonly segments: readonly SegmentReference[];
  readonly packs: readonly PackId[];
  readonly indexes: readonly IndexId[];
}

export interface CommitOptions {
  readonly storage: Storage;
  readonly host: HostConfiguration;
  readonly createEnvelope: () => Promise<Envelope>;
  readonly signer: Signer;
  /** Resolves when the packs and index objects are stored. */
  readonly stored?: () => Promise<void>;
  /** The last look before the snapshot exists, when its list is durable. What it throws leaves the snapshot unfinished. */
  readonly confirm: () => Promise<void>;
  readonly signal: AbortSignal;
}

/**
 * Makes the snapshot exist (docs/design/format.md, rule 2): everything it needs is made durable first, the signature is
 * stored last. Returns the digest of its SHA256SUMS.
 */
export async function commitSnapshot(
  snapshot: SnapshotToCommit,
  { storage, host, createEnvelope, signer, stored, confirm, signal }: CommitOptions,
): Promise<ObjectDigest> {
  const { id, sequence, previous, started, finished, paths, tags, labels, group, statistics } = snapshot;
  const { entries, sizeBytes, storedBytes, segments, packs, indexes } = snapshot;
  const { repositoryId: repository, indexKey, chunkerSeed } = host;
  const json = encodeSnapshotJson({
    format: 'salvage-snapshot',
    version: 1,
    repository,
    id,
    sequence,
    time: started.toISOString(),
    previous,
    entries,
    sizeBytes,
    packs: packs.length,
    storedBytes,
    group,
    labels,
  });
  const root = sealDocument(
    await createEnvelope(),
    encodeSnapshotRoot({
      repository,
      snapshot: id,
      host: host.name,
      paths,
      tags,
      started: started.toISOString(),
      finished: finished.toISOString(),
      statistics,
      indexKey,
      chunkerSeed,
      segments,
    }),
  );
  const checksums = encodeChecksums(id, {
    snapshotJson: checksumsDigest(json),
    root: root.id,
    indexes,
    packs,
  });
  // Signed before anything is stored: a key that is not to be had must not leave half a snapshot.
  const digest = createHash('sha512').update(checksums).digest();
  const signature = utf8Bytes(await signer.sign({ namespace: snapshotNamespace, hash: 'sha512', digest }));
  await Promise.all([
    storage.create(snapshotFileName(id, 'snapshot.json'), [json], signal),
    storage.create(snapshotFileName(id, 'root.age'), root.parts, signal),
    stored?.(),
  ]);
  // What is there by now is made durable meanwhile: there may be many packs, and far away they may take a while.
  await Promise.all([
    storage.create(snapshotFileName(id, 'SHA256SUMS'), [checksums], signal),
    storage.settle(signal),
  ]);
  await storage.settle(signal);
  await confirm();
  await storage.create(snapshotFileName(id, 'SHA256SUMS.sig'), [signature], signal);
  await storage.settle(signal);
  return checksumsDigest(checksums);
}
