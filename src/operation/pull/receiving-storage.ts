import { concatBytes } from '../../bytes/bytes.ts';
import type { Clock } from '../../clock/clock.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { damagedObject } from '../../repository/damage.ts';
import { sequenceOf, type RepositoryId, type SnapshotId } from '../../repository/ids.ts';
import {
  indexName,
  indexPrefix,
  packName,
  packsPrefix,
  repositoryName,
  roleOf,
  snapshotFileName,
} from '../../repository/layout.ts';
import { limits } from '../../repository/limits.ts';
import { checksumsDigest } from '../../repository/snapshot/checksums.ts';
import { maxSshsigBytes } from '../../ssh/sshsig.ts';
import { errorCodes, Refusal } from '../../storage/serve/messages.ts';
import { stagedParts, type StagedObject, type StageSpec } from '../../storage/staged-object.ts';
import { StorageDecorator } from '../../storage/storage-decorator.ts';
import type { CreateResult, Storage, StorageCapabilities } from '../../storage/storage.ts';
import { listSnapshots, readRepositoryJson } from '../open-repository.ts';
import { checkDigest, readRequired } from '../reading/read-object.ts';
import {
  checkSignedFiles,
  readSnapshotJson,
  type SignedSnapshot,
  type TrustedSigners,
} from '../reading/signed-snapshot.ts';

export interface ReceivingObserver {
  /** A snapshot has been checked and stored: it exists now. */
  onSnapshot(snapshot: SignedSnapshot): void;
  onStored(bytes: number): void;
  onNotice(message: string): void;
}

/**
 * What a keeper puts between its storage and a host that it does not trust: objects go through as they come, and the
 * signature that would make a snapshot exist is stored only if it fits everything that has been stored before.
 */
export class ReceivingStorage extends StorageDecorator {
  readonly #trusted: TrustedSigners | undefined;
  readonly #observer: ReceivingObserver;
  readonly #clock: Clock;
  /** Why a snapshot was refused. */
  refused: SalvageError | undefined;

  constructor(
    inner: Storage,
    trusted: TrustedSigners | undefined,
    observer: ReceivingObserver,
    clock: Clock,
  ) {
    super(inner);
    this.#trusted = trusted;
    this.#observer = observer;
    this.#clock = clock;
  }

  override get capabilities(): StorageCapabilities {
    return { ...this.inner.capabilities, remove: false };
  }

  override get stageSpec(): StageSpec {
    return { kind: 'transfer' };
  }

  override async create(
    name: string,
    body: readonly Uint8Array[],
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    const role = roleOf(name);
    let signed: SignedSnapshot | undefined;
    if (role?.kind === 'snapshot' && role.file === 'SHA256SUMS.sig')
      signed = await this.#check(role.id, concatBytes(body), signal);
    const result = await this.inner.create(name, body, signal);
    this.#observer.onStored(body.reduce((sum, part) => sum + part.length, 0));
    if (signed && result === 'created') this.#observer.onSnapshot(signed);
    return result;
  }

  override async createFromStream(
    name: string,
    body: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    const role = roleOf(name);
    if (role?.kind === 'snapshot' && role.file === 'SHA256SUMS.sig')
      return await this.create(name, await collect(body, 2 * maxSshsigBytes), signal);
    const observer = this.#observer;
    async function* counted(): AsyncGenerator<Uint8Array> {
      for await (const part of body) {
        observer.onStored(part.length);
        yield part;
      }
    }
    return await this.inner.createFromStream(name, counted(), signal);
  }

  override async createStaged(staged: StagedObject, signal?: AbortSignal): Promise<CreateResult> {
    return await this.create(staged.name, stagedParts(staged), signal);
  }

  override async remove(name: string): Promise<'removed' | 'absent'> {
    throw await Promise.resolve(
      new SalvageError('failed', `Cannot remove "${name}": a host that is pulled from removes nothing`),
    );
  }

  /** The storage is its owner's. */
  override async close(): Promise<void> {}

  async #check(id: SnapshotId, armored: Uint8Array, signal?: AbortSignal): Promise<SignedSnapshot> {
    try {
      return await this.#accept(id, armored, signal);
    } catch (error) {
      if (!(error instanceof SalvageError)) throw error;
      this.refused = error;
      throw new Refusal(errorCodes.damaged, `the keeper does not accept the snapshot: ${error.message}`, {
        cause: error,
      });
    }
  }

  async #accept(id: SnapshotId, armored: Uint8Array, signal?: AbortSignal): Promise<SignedSnapshot> {
    const { inner } = this;
    const list = await readRequired(inner, snapshotFileName(id, 'SHA256SUMS'), limits.checksums, signal);
    // A key that has run out cannot sign by giving its snapshot an older date.
    const signed = checkSignedFiles(id, { list, armored }, this.#trusted, this.#clock.now());
    const json = await readSnapshotJson(inner, signed, signal);
    const { id: repository } = await readRepositoryJson(inner, signal);
    checkRepository(id, json.repository, repository);
    const rootName = snapshotFileName(id, 'root.age');
    const root = await readRequired(inner, rootName, limits.storedObject, signal);
    checkDigest(rootName, root, signed.checksums.root);
    await this.#checkPresence(signed, signal);
    await this.#checkChain(id, json.previous, signal);
    return signed;
  }

  /** Their digests were compared with their names when they were stored. */
  async #checkPresence({ checksums }: SignedSnapshot, signal?: AbortSignal): Promise<void> {
    const stored = new Set<string>();
    for (const prefix of [packsPrefix, indexPrefix])
      for await (const { name, sizeBytes } of this.inner.list(prefix, signal))
        if (sizeBytes > 0) stored.add(name);
    for (const name of [...checksums.packs.map(packName), ...checksums.indexes.map(indexName)])
      if (!stored.has(name)) throw damagedObject(name, 'it is missing, and the snapshot needs it');
  }

  async #checkChain(id: SnapshotId, previous: string | null, signal?: AbortSignal): Promise<void> {
    const { committed } = await listSnapshots(this.inner, signal);
    const newest = committed.filter((other) => other.id !== id).at(-1)?.id;
    if (newest === undefined) return;
    const step = sequenceOf(id) - sequenceOf(newest);
    if (step < 1) throw damagedObject(id, `it does not go on from ${newest}, which is there`);
    const name = snapshotFileName(newest, 'SHA256SUMS');
    if (step === 1) {
      const digest = checksumsDigest(await readRequired(this.inner, name, limits.checksums, signal));
      if (previous !== digest)
        throw damagedObject(id, `it names another snapshot before it than ${newest}, which is there`);
    } else
      this.#observer.onNotice(
        `Snapshot ${id} does not follow ${newest}: ${step - 1} between them are not in this repository`,
      );
  }
}

function checkRepository(id: SnapshotId, named: RepositoryId, here: RepositoryId): void {
  if (named !== here) throw damagedObject(id, `it belongs to another repository; see ${repositoryName}`);
}

async function collect(body: AsyncIterable<Uint8Array>, mostBytes: number): Promise<Uint8Array[]> {
  const parts: Uint8Array[] = [];
  let total = 0;
  for await (const part of body) {
    total += part.length;
    if (total > mostBytes) throw new Refusal(errorCodes.tooLarge, 'this is no signature: it is too long');
    parts.push(part);
  }
  return parts;
}
