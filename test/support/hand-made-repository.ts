// A repository made by the writers directly, snapshot by snapshot, with packs as small as a test wants them: for tests of
// what reads repositories. Whatever a hostile host could store, a test can store with it.
import { createHash } from 'node:crypto';
import { createEnvelope } from '../../src/age/envelope.ts';
import { X25519Identity } from '../../src/age/x25519.ts';
import { Chunker, wholeFileBytes } from '../../src/chunker/chunker.ts';
import type { FileEntry } from '../../src/posix/file-entry.ts';
import { dataExtents } from '../../src/posix/holes.ts';
import {
  newRepositoryId,
  newSnapshotId,
  type IndexId,
  type ObjectDigest,
  type PackId,
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
import { SourceFile } from '../../src/source/source-file.ts';
import { planRoots } from '../../src/source/source-roots.ts';
import { Walk } from '../../src/source/walk.ts';
import { generateEd25519Key } from '../../src/ssh/encode-private-key.ts';
import { parseAllowedSigners, type AllowedSigner } from '../../src/ssh/allowed-signers.ts';
import { formatPublicKey } from '../../src/ssh/public-key.ts';
import { privateKeySigner, type Signer } from '../../src/ssh/signer.ts';
import type { Storage } from '../../src/storage/storage.ts';

/** One entry in tree order; `content` is the data outside the holes. */
export interface HandMadeFile {
  readonly entry: FileEntry;
  readonly content?: Uint8Array;
}

export interface SnapshotSettings {
  /** Stored size at which a pack is full. Default: 64 KiB, so that files span packs. */
  readonly packBytes?: number;
  /** Every file in packs of its own. */
  readonly packPerFile?: boolean;
  readonly sequence?: number;
  readonly previous?: ObjectDigest | null;
  readonly time?: Date;
  readonly signer?: Signer;
  readonly tags?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  /** Tree segments in place of those that the files give: what a hostile host may write. */
  readonly segments?: (
    packs: readonly PackId[],
  ) => readonly { readonly bytes: Uint8Array; readonly first: Buffer }[];
  /** Listed besides what is needed. */
  readonly alsoListed?: readonly PackId[];
}

export interface HandMadeSnapshot {
  readonly id: SnapshotId;
  readonly digest: ObjectDigest;
  readonly contentPacks: readonly PackId[];
  readonly treePack: PackId;
  readonly index: IndexId;
}

export const handMadePrincipal = 'test-host';

/** Adds snapshots to a storage. One recipient, one signer, one chain. */
export class HandMadeRepository {
  readonly storage: Storage;
  readonly id: RepositoryId = newRepositoryId();
  readonly identity: X25519Identity = X25519Identity.generate();
  readonly signer: Signer;
  readonly publicKey: string;
  readonly chunkerSeed: Uint8Array = new Uint8Array(32).fill(3);
  #sequence = 0;
  #previous: ObjectDigest | null = null;

  private constructor(storage: Storage) {
    this.storage = storage;
    const key = generateEd25519Key('test');
    this.signer = privateKeySigner(key);
    this.publicKey = formatPublicKey(key.publicKey);
  }

  static async create(storage: Storage): Promise<HandMadeRepository> {
    const made = new HandMadeRepository(storage);
    await storage.create(repositoryName, [encodeRepositoryJson(made.id, new Date('2026-11-23T10:00:00Z'))]);
    return made;
  }

  get allowedSignersText(): string {
    return `${handMadePrincipal} namespaces="salvage-snapshot" ${this.publicKey}\n`;
  }

  get allowedSigners(): AllowedSigner[] {
    return parseAllowedSigners(this.allowedSignersText);
  }

  /** Stores a snapshot of these entries, which are in tree order. */
  async snapshot(files: readonly HandMadeFile[], settings: SnapshotSettings = {}): Promise<HandMadeSnapshot> {
    const sequence = settings.sequence ?? this.#sequence + 1;
    const time = settings.time ?? new Date(Date.UTC(2026, 10, 23, 10, 0, sequence));
    const id = newSnapshotId(sequence, time);
    const recipients = [this.identity.recipient];
    const packs = new PackTable();
    const stored: { readonly kind: 'content' | 'tree'; readonly pack: FinishedPack }[] = [];
    const targetBytes = settings.packBytes ?? 64 * 1024;

    const chunker = new Chunker(this.chunkerSeed);
    let writer = new PackWriter(await createEnvelope(recipients), { targetBytes });
    let number = packs.reserve();
    const finishContent = async (): Promise<void> => {
      const pack = writer.finish('last');
      packs.name(number, pack.id);
      stored.push({ kind: 'content', pack });
      await this.storage.create(packName(pack.id), pack.parts);
    };
    const lines: { entry: FileEntry; ranges: Buffer }[] = [];
    for (const { entry, content = new Uint8Array(0) } of files) {
      const found: ContentRange[] = [];
      for (let start = 0; start < content.length;) {
        if (writer.isFull || (settings.packPerFile && start === 0 && !writer.isEmpty)) {
          await finishContent();
          writer = new PackWriter(await createEnvelope(recipients), { targetBytes });
          number = packs.reserve();
        }
        const isWhole = content.length <= wholeFileBytes;
        const length = isWhole ? content.length : chunker.cut(content, start, content.length);
        const blob = content.subarray(start, start + length);
        const digest = createHash('sha256').update(blob).digest();
        found.push({ pack: number, offset: writer.add(blob, digest), length, digest });
        start += length;
      }
      lines.push({ entry, ranges: encodeRanges(found) });
    }
    if (!writer.isEmpty) await finishContent();

    const encoder = new TreeEncoder(packs);
    const treeWriter = new PackWriter(await createEnvelope(recipients));
    const segments: Omit<SegmentReference, 'pack'>[] = [];
    const take = (segment: Pick<TreeSegment, 'bytes' | 'first'>): void => {
      const digest = createHash('sha256').update(segment.bytes).digest();
      const offset = treeWriter.add(segment.bytes, digest);
      segments.push({ offset, length: segment.bytes.length, digest, first: segment.first });
    };
    if (settings.segments) settings.segments(stored.map(({ pack }) => pack.id)).forEach(take);
    else {
      for (const { entry, ranges } of lines)
        for (const line of treeLines(entry, ranges)) encoder.add(line).forEach(take);
      const last = encoder.finish();
      if (last) take(last);
    }
    const contentPacks = stored.map(({ pack }) => pack.id);
    const treePack = treeWriter.finish('last');
    stored.push({ kind: 'tree', pack: treePack });
    await this.storage.create(packName(treePack.id), treePack.parts);

    const index = sealDocument(
      await createEnvelope(recipients),
      Buffer.concat(
        stored.flatMap(({ kind, pack }) => [...encodeIndexedPack({ pack: pack.id, kind, ...pack })]),
      ),
    );
    await this.storage.create(indexName(index.id), index.parts);
    const listed = [...contentPacks, treePack.id, ...(settings.alsoListed ?? [])];
    const snapshotJson = encodeSnapshotJson({
      format: 'salvage-snapshot',
      version: 1,
      repository: this.id,
      id,
      sequence,
      time: time.toISOString(),
      previous: settings.previous === undefined ? this.#previous : settings.previous,
      entries: files.length,
      sizeBytes: files.reduce((sum, { entry }) => sum + entry.size, 0),
      packs: listed.length,
      storedBytes: stored.reduce((sum, { pack }) => sum + pack.sizeBytes, index.sizeBytes),
      group: snapshotGroup(this.chunkerSeed, { paths: ['/test'] }),
      labels: settings.labels ?? {},
    });
    const root = sealDocument(
      await createEnvelope(recipients),
      encodeSnapshotRoot({
        repository: this.id,
        snapshot: id,
        host: handMadePrincipal,
        paths: ['/test'],
        tags: settings.tags ?? [],
        started: time.toISOString(),
        finished: time.toISOString(),
        statistics: { files: files.length },
        indexKey: 'AGE-SECRET-KEY-1TEST',
        chunkerSeed: this.chunkerSeed,
        segments: segments.map((segment) => ({ pack: treePack.id, ...segment })),
      }),
    );
    const checksums = encodeChecksums(id, {
      snapshotJson: checksumsDigest(snapshotJson),
      root: root.id,
      indexes: [index.id],
      packs: listed,
    });
    await this.storage.create(snapshotFileName(id, 'snapshot.json'), [snapshotJson]);
    await this.storage.create(snapshotFileName(id, 'root.age'), root.parts);
    await this.storage.create(snapshotFileName(id, 'SHA256SUMS'), [checksums]);
    await this.sign(id, checksums, settings.signer);
    await this.storage.settle();
    this.#sequence = sequence;
    this.#previous = checksumsDigest(checksums);
    return { id, digest: this.#previous, contentPacks, treePack: treePack.id, index: index.id };
  }

  async sign(id: SnapshotId, checksums: Uint8Array, signer: Signer = this.signer): Promise<void> {
    const digest = createHash('sha512').update(checksums).digest();
    const armored = await signer.sign({ namespace: 'salvage-snapshot', hash: 'sha512', digest });
    await this.storage.create(snapshotFileName(id, 'SHA256SUMS.sig'), [Buffer.from(armored)]);
  }
}

/** The entries of a folder with their content, as a backup from inside it would have them. */
export function entriesOf(folder: string): HandMadeFile[] {
  const problems: string[] = [];
  const walk = new Walk({
    roots: planRoots([folder]),
    onProblem: ({ path, message }) => problems.push(`${path.toString()}: ${message}`),
  });
  const source = new SourceFile();
  const prefix = Buffer.from(`${folder.replace(/^\//, '')}/`);
  const relative = (path: Buffer): Buffer => path.subarray(prefix.length);
  const files: HandMadeFile[] = [];
  while (walk.next()) {
    if (walk.type !== 'file') {
      add(walk.entry()!, undefined);
      continue;
    }
    source.open(walk.realPath);
    const holes = source.holes();
    const xattrs = source.xattrs();
    const { size } = source.status;
    const parts: Buffer[] = [];
    for (const [offset, length] of dataExtents(size, holes)) {
      const part = Buffer.alloc(length);
      source.read(part, offset);
      parts.push(part);
    }
    add(walk.entry({ status: source.status, holes, xattrs })!, Buffer.concat(parts));
    source.close();
  }
  if (problems.length > 0) throw new Error(problems.join('\n'));
  return files;

  function add(entry: FileEntry, content: Buffer | undefined): void {
    const path = relative(entry.path);
    if (path.length === 0) return;
    const moved: FileEntry = {
      ...entry,
      path,
      ...(entry.type === 'hardlink' && { target: relative(entry.target!) }),
    };
    files.push({ entry: moved, ...(content && { content }) });
  }
}
