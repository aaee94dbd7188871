// How often a backup waits for storage, without a clock: requests that a run makes at the same time are one wave, and a
// storage that answers none of a wave before all of it has been asked for shows that they do not wait for one another.
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { SalvageError } from '../../src/errors/salvage-error.ts';
import { newRepositoryId } from '../../src/repository/ids.ts';
import { StorageDecorator } from '../../src/storage/storage-decorator.ts';
import type { StagedObject } from '../../src/storage/staged-object.ts';
import type { CreateResult, ObjectStat, Storage } from '../../src/storage/storage.ts';
import { createBackupHost, runBackup, type BackupHost } from '../support/backup-host.ts';

/** The waves of a first backup with one content pack. The first two go by while the sources are read. */
const wavesOfFirstBackup = [
  ['read repository.json', 'list keeper/', 'list snapshots/'],
  ['list packs/'],
  ['create pack', 'create pack', 'create index', 'create snapshot.json', 'create root.age'],
  ['create SHA256SUMS', 'settle'],
  ['settle'],
  ['list keeper/'],
  ['create SHA256SUMS.sig'],
  ['settle'],
];

/** Answers a request when its whole wave has been asked for. A run that asks for less at a time waits for ever. */
class WaveStorage extends StorageDecorator {
  readonly #waves: string[][];
  readonly #whole: PromiseWithResolvers<void>[];
  readonly #mayAnswer: Promise<unknown>;
  /** Requests that belong to no wave. */
  readonly others: string[] = [];
  /** Waves of which something has been asked before the one before was answered. */
  readonly early: number[] = [];
  #answered = -1;

  constructor(inner: Storage, waves: readonly (readonly string[])[], mayAnswer: Promise<unknown>) {
    super(inner);
    this.#waves = waves.map((wave) => [...wave]);
    this.#whole = waves.map(() => Promise.withResolvers<void>());
    this.#mayAnswer = mayAnswer;
  }

  /** What has not been asked for. */
  get left(): string[] {
    return this.#waves.flat();
  }

  async #take(request: string): Promise<void> {
    const wave = this.#waves.findIndex((requests) => requests.includes(request));
    if (wave < 0) {
      this.others.push(request);
      return;
    }
    if (wave > this.#answered + 1) this.early.push(wave);
    const requests = this.#waves[wave]!;
    requests.splice(requests.indexOf(request), 1);
    if (requests.length === 0) this.#whole[wave]!.resolve();
    await this.#whole[wave]!.promise;
    await this.#mayAnswer;
    this.#answered = Math.max(this.#answered, wave);
  }

  override async create(
    name: string,
    body: readonly Uint8Array[],
    signal?: AbortSignal,
  ): Promise<CreateResult> {
    await this.#take(`create ${name.slice(name.lastIndexOf('/') + 1)}`);
    return await this.inner.create(name, body, signal);
  }

  override async createStaged(staged: StagedObject, signal?: AbortSignal): Promise<CreateResult> {
    await this.#take(staged.name.startsWith('packs/') ? 'create pack' : 'create index');
    return await this.inner.createStaged(staged, signal);
  }

  override async settle(signal?: AbortSignal): Promise<void> {
    await this.#take('settle');
    await this.inner.settle(signal);
  }

  override async read(name: string): Promise<Uint8Array | undefined> {
    await this.#take(`read ${name}`);
    return await this.inner.read(name);
  }

  override async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<ObjectStat> {
    await this.#take(`list ${prefix}`);
    yield* this.inner.list(prefix, signal);
  }
}

async function prepare(t: TestContext): Promise<BackupHost> {
  const host = await createBackupHost(t);
  for (let index = 0; index < 10; index++)
    writeFileSync(join(host.folder, 'src', `f${index}`), `content ${index}`.repeat(5000));
  return host;
}

async function namesIn(storage: Storage): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of storage.list('')) names.push(name);
  return names;
}

test('a first backup waits for storage eight times, and reads its sources before the first answer', async (t) => {
  const host = await prepare(t);
  const read = Promise.withResolvers<void>();
  const storage = new WaveStorage(host.storage, wavesOfFirstBackup, read.promise);
  await runBackup(host, { storage, onProgress: () => read.resolve() });
  assert.deepEqual([storage.left, storage.others, storage.early], [[], [], []]);
});

test('what is read before it is known to be another repository is not stored', async (t) => {
  const host = await prepare(t);
  const before = await namesIn(host.storage);
  const read = Promise.withResolvers<void>();
  const storage = new WaveStorage(host.storage, wavesOfFirstBackup, read.promise);
  const another = { ...host, host: { ...host.host, repositoryId: newRepositoryId() } };
  await assert.rejects(
    runBackup(another, { storage, onProgress: () => read.resolve() }),
    (error) => error instanceof SalvageError && error.message.includes('another repository'),
  );
  assert.deepEqual(await namesIn(host.storage), before);
});

test('a host that has forgotten its backups begins once more when it hears of them', async (t) => {
  const host = await prepare(t);
  await runBackup(host);
  const packs = (await namesIn(host.storage)).filter((name) => name.startsWith('packs/'));
  rmSync(join(host.folder, 'cache'), { recursive: true });
  const read = Promise.withResolvers<void>();
  const storage = new WaveStorage(host.storage, [['list snapshots/']], read.promise);
  const { counts, snapshot } = await runBackup(host, { storage, onProgress: () => read.resolve() });
  assert.match(snapshot!, /^00000002-/);
  assert.deepEqual([counts.bytesNew, counts.filesNew], [0, 10]);
  const after = (await namesIn(host.storage)).filter((name) => name.startsWith('packs/'));
  assert.deepEqual(after, packs);
});
