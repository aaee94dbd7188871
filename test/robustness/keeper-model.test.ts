// Backups, copies, forget, prune and its shares on one storage, interleaved call by call in random order, with failures and crashes.
// Whatever happens: an object that a committed snapshot lists is never lost.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createEnvelope } from '../../src/age/envelope.ts';
import { X25519Identity } from '../../src/age/x25519.ts';
import type { Clock } from '../../src/clock/clock.ts';
import { SalvageError } from '../../src/errors/salvage-error.ts';
import { commitSnapshot } from '../../src/operation/backup/commit-snapshot.ts';
import { executeForget, planForget } from '../../src/operation/forget/forget.ts';
import { KeeperSession, type KeeperOptions } from '../../src/operation/keeper/keeper-session.ts';
import { RemovalMarks } from '../../src/operation/keeper/removal-marks.ts';
import { listSnapshots } from '../../src/operation/open-repository.ts';
import { prune } from '../../src/operation/prune/prune.ts';
import type { HostConfiguration } from '../../src/repository/host-configuration.ts';
import {
  newRepositoryId,
  newSnapshotId,
  sequenceOf,
  type ObjectDigest,
  type PackId,
  type SnapshotId,
} from '../../src/repository/ids.ts';
import { decodeKeeperRecord } from '../../src/repository/keeper-record.ts';
import {
  indexName,
  keeperFileName,
  packName,
  repositoryName,
  roleOf,
  snapshotFileName,
} from '../../src/repository/layout.ts';
import { encodeRepositoryJson } from '../../src/repository/repository-json.ts';
import { decodeChecksums } from '../../src/repository/snapshot/checksums.ts';
import { generateEd25519Key } from '../../src/ssh/encode-private-key.ts';
import { privateKeySigner } from '../../src/ssh/signer.ts';
import { MemoryStorage } from '../../src/storage/memory/memory-storage.ts';
import { StorageDecorator } from '../../src/storage/storage-decorator.ts';
import type { ObjectStat, Storage } from '../../src/storage/storage.ts';
import { Turns, TurnTakingStorage } from '../support/turn-taking-storage.ts';

const never = new AbortController().signal;
const hourMs = 3_600_000;
const hostKey = generateEd25519Key('host');
const hostSigner = privateKeySigner(hostKey);
const keeperSigner = privateKeySigner(generateEd25519Key('keeper'));
const recipient = X25519Identity.generate().recipient;
const trusted = {
  allowedSigners: [
    {
      principals: 'host',
      key: hostKey.publicKey,
      certAuthority: false,
      namespaces: undefined,
      validAfter: undefined,
      validBefore: undefined,
      line: 1,
    },
  ],
  principal: 'host',
};

/** mulberry32 */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let word = Math.imul(state ^ (state >>> 15), 1 | state);
    word = (word + Math.imul(word ^ (word >>> 7), 61 | word)) ^ word;
    return ((word ^ (word >>> 14)) >>> 0) % below;
  };
}

class World {
  readonly random: (below: number) => number;
  readonly turns = new Turns();
  readonly storage: MemoryStorage;
  readonly clock: Clock;
  readonly host: HostConfiguration;
  readonly folder: string;
  nowMs = Date.UTC(2026, 0, 1);
  /** What the host knows of: packs that it has stored, or tried to. */
  readonly known = new Set<PackId>();
  head: { sequence: number; digest: ObjectDigest | null } = { sequence: 0, digest: null };
  lastUsed: readonly PackId[] = [];
  commits = 0;
  refusals = 0;
  removals = 0;
  sharedRemovals = 0;
  forgets = 0;
  #packs = 0;

  constructor(seed: number, folder: string) {
    this.random = randomFrom(seed);
    this.folder = folder;
    this.clock = { now: () => new Date(this.nowMs), monotonicMs: () => this.nowMs };
    this.storage = new MemoryStorage(this.clock);
    this.host = {
      repositoryId: newRepositoryId(),
      name: 'host',
      indexKey: 'AGE-SECRET-KEY-1TEST',
      chunkerSeed: new Uint8Array(32),
    } as unknown as HostConfiguration;
  }

  /** One run of a host as `operation/backup` makes it, without files: what it refers to is chosen by chance. */
  async backUp(storage: Storage): Promise<void> {
    const listing = listSnapshots(storage);
    listing.catch(() => {});
    const marks = await RemovalMarks.read(storage);
    const [{ committed }, stored] = await Promise.all([listing, listPackIds(storage)]);
    const newest = committed.at(-1);
    if (newest && sequenceOf(newest.id) > this.head.sequence)
      this.head = { sequence: sequenceOf(newest.id), digest: await digestOf(storage, newest.id) };
    const usable = [...this.known].filter((id) => stored.has(id) && !marks.has(id));
    const used = usable.filter((id) =>
      this.lastUsed.includes(id) ? this.random(2) > 0 : this.random(6) === 0,
    );
    for (let count = this.random(3); count > 0; count--) used.push(await this.#storePack(storage));
    const index = await this.#storeIndex(storage);
    const sequence = this.head.sequence + 1;
    const started = this.clock.now();
    const id = newSnapshotId(sequence, started);
    this.head = {
      sequence,
      digest: await commitSnapshot(
        {
          id,
          sequence,
          previous: this.head.digest,
          started,
          finished: started,
          paths: ['/src'],
          tags: [],
          labels: {},
          group: 'ab'.repeat(16),
          entries: 1,
          sizeBytes: 1,
          storedBytes: 1,
          statistics: {},
          segments: [],
          packs: used,
          indexes: [index],
        },
        {
          storage,
          host: this.host,
          createEnvelope: () => createEnvelope([recipient]),
          signer: hostSigner,
          confirm: () => marks.confirm(id, used),
          signal: never,
        },
      ),
    };
    this.lastUsed = used;
    this.commits++;
  }

  /** A run of `copy` into this storage, of one snapshot that another place has. */
  async copy(storage: Storage, source: Storage): Promise<void> {
    const marks = await RemovalMarks.read(storage);
    const there = new Set((await listSnapshots(storage)).committed.map(({ id }) => id));
    const missing = (await listSnapshots(source)).committed.find(({ id }) => !there.has(id));
    if (!missing) return;
    const { id } = missing;
    const list = (await source.read(snapshotFileName(id, 'SHA256SUMS')))!;
    const { packs, indexes } = decodeChecksums(list, id);
    if (packs.some((pack) => marks.has(pack))) return;
    for (const name of [
      ...packs.map(packName),
      ...indexes.map(indexName),
      snapshotFileName(id, 'snapshot.json'),
      snapshotFileName(id, 'root.age'),
      snapshotFileName(id, 'SHA256SUMS'),
    ])
      if (!(await storage.stat(name))) await storage.create(name, [(await source.read(name))!]);
    await storage.settle();
    await marks.confirm(id, packs);
    const name = snapshotFileName(id, 'SHA256SUMS.sig');
    await storage.create(name, [(await source.read(name))!]);
    this.commits++;
  }

  async keep(storage: Storage): Promise<void> {
    // A keeper that has lost its state goes on without.
    if (this.random(12) === 0) rmSync(this.#stateFile, { force: true });
    using session = await KeeperSession.open({ ...this.#sessionOptions(storage), signer: keeperSigner });
    const common = { storage, session, now: this.clock.now(), signal: never };
    if (this.random(3) === 0) {
      const none = { hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, withinMs: 0, labels: [] };
      const policy = { ...none, last: 1 + this.random(3) };
      const options = { ...common, trusted, policy, maxRemove: 1 };
      const plan = await planForget(options);
      assert.deepEqual(plan.untrusted, []);
      this.forgets += (await executeForget(plan, options)).length;
    } else {
      const graceMs = this.random(2) * 24 * hourMs;
      const { removed } = await prune({ ...common, graceMs, recordOnly: this.random(2) === 0 });
      this.removals += removed.objects;
    }
  }

  /** A run of `prune --shard`, beside others. */
  async removeShare(storage: Storage, number: number): Promise<void> {
    const trustedKeeper = {
      allowedSigners: [{ ...trusted.allowedSigners[0]!, key: keeperSigner.publicKey, principals: 'keeper' }],
      principal: 'keeper',
    };
    using session = await KeeperSession.open({
      ...this.#sessionOptions(storage),
      signer: undefined,
      trusted: trustedKeeper,
      shared: true,
    });
    const shard = { number, count: 2 };
    const { removed } = await prune({
      storage,
      session,
      shard,
      graceMs: 0,
      now: this.clock.now(),
      signal: never,
    });
    this.sharedRemovals += removed.objects;
  }

  get #stateFile(): string {
    return join(this.folder, 'state', `${this.host.repositoryId}.json`);
  }

  #sessionOptions(storage: Storage): Omit<KeeperOptions, 'signer'> {
    return {
      storage,
      stateFolder: join(this.folder, 'state'),
      clock: this.clock,
      signal: never,
      onNotice: (message) => assert.fail(message),
    };
  }

  /** What every committed snapshot lists is there, unless a signed record says that the snapshot goes. */
  async check(): Promise<void> {
    const names = new Set<string>();
    for await (const { name } of this.storage.list('')) names.add(name);
    const forgotten = new Set<SnapshotId>();
    for (const name of names) {
      const role = roleOf(name);
      if (role?.kind !== 'keeper' || role.file !== 'json.sig') continue;
      const record = decodeKeeperRecord((await this.storage.read(keeperFileName(role.id, 'json')))!, role.id);
      if (record.action === 'forget') for (const { id } of record.snapshots) forgotten.add(id);
    }
    for (const name of names) {
      const role = roleOf(name);
      if (role?.kind !== 'snapshot' || role.file !== 'SHA256SUMS.sig' || forgotten.has(role.id)) continue;
      for (const file of ['snapshot.json', 'root.age', 'SHA256SUMS'] as const)
        assert.ok(names.has(snapshotFileName(role.id, file)), `${role.id} has lost ${file}`);
      const list = (await this.storage.read(snapshotFileName(role.id, 'SHA256SUMS')))!;
      const { packs, indexes } = decodeChecksums(list, role.id);
      for (const object of [...packs.map(packName), ...indexes.map(indexName)])
        assert.ok(names.has(object), `${role.id} has lost ${object}`);
    }
  }

  /** Lets the actors run against each other. */
  async run(steps: number, writer: (storage: Storage) => Promise<void>, faults: boolean): Promise<void> {
    const actors: Record<string, (storage: Storage) => Promise<void>> = {
      writer,
      keeper: (storage) => this.keep(storage),
      'share 1': (storage) => this.removeShare(new FewLists(storage, this.storage), 1),
      'share 2': (storage) => this.removeShare(new FewLists(storage, this.storage), 2),
    };
    const shares = ['share 1', 'share 2'];
    const all = Object.keys(actors);
    const running = new Set<string>();
    const bugs: unknown[] = [];
    const start = (actor: string): void => {
      running.add(actor);
      void this.turns.start(async () => {
        try {
          await actors[actor]!(new TurnTakingStorage(this.storage, this.turns, actor));
        } catch (error) {
          if (!(error instanceof SalvageError) || !['failed', 'busy'].includes(error.code)) bugs.push(error);
          else if (/a keeper has marked/.test(error.message)) this.refusals++;
        } finally {
          running.delete(actor);
        }
      });
    };
    let slow = 'none';
    for (let step = 0; step < steps || !this.turns.isIdle; step++) {
      if (step < steps) {
        if (!running.has('writer')) start('writer');
        // Shares lock the keeper out, and it locks out them; at times somebody comes in between all the same.
        const isFree = [...running].every((actor) => actor === 'writer');
        const next = isFree ? (this.random(3) > 0 ? ['keeper'] : shares) : this.random(100) === 0 ? all : [];
        for (const actor of next) if (!running.has(actor)) start(actor);
      }
      await this.turns.settle();
      if (bugs.length > 0) throw bugs[0];
      // For a while one of them hardly gets on: that is when the other does a lot.
      if (this.random(25) === 0) slow = ['none', 'writer', 'keeper', 'share 1'][this.random(4)]!;
      if (this.turns.waiting.length === 0) continue;
      let index = this.random(this.turns.waiting.length);
      if (this.turns.waiting[index]!.actor === slow && this.random(50) > 0)
        index = (index + 1) % this.turns.waiting.length;
      const chance = faults && step < steps ? this.random(150) : 999;
      const outcome = chance === 0 ? 'crash' : chance === 1 ? 'error' : chance === 2 ? 'lost-reply' : 'done';
      this.nowMs += this.random(20) === 0 ? this.random(30) * hourMs : 1 + this.random(60_000);
      const { call } = this.turns.take(index, outcome);
      await this.turns.settle();
      if (/^remove |\.sig$/.test(call)) await this.check();
    }
  }

  async #storePack(storage: Storage): Promise<PackId> {
    const bytes = Buffer.from(`pack ${this.#packs++}`);
    const id = sha256(bytes);
    this.known.add(id);
    await storage.create(packName(id), [bytes]);
    return id;
  }

  async #storeIndex(storage: Storage): Promise<ObjectDigest> {
    const bytes = Buffer.from(`index ${this.#packs++}`);
    const id = sha256(bytes);
    await storage.create(indexName(id), [bytes]);
    return id;
  }
}

/** A share lists folder by folder: most of them in no turn, or it would never come to its end. */
class FewLists extends StorageDecorator {
  readonly #without: Storage;

  constructor(inner: Storage, withoutTurns: Storage) {
    super(inner);
    this.#without = withoutTurns;
  }

  override list(prefix: string): AsyncIterable<ObjectStat> {
    return (/^packs\/(?!00)./.test(prefix) ? this.#without : this.inner).list(prefix);
  }
}

async function listPackIds(storage: Storage): Promise<Set<PackId>> {
  const ids = new Set<PackId>();
  for await (const { name } of storage.list('packs/')) {
    const role = roleOf(name);
    if (role?.kind === 'pack') ids.add(role.id);
  }
  return ids;
}

async function digestOf(storage: Storage, id: SnapshotId): Promise<ObjectDigest> {
  return sha256((await storage.read(snapshotFileName(id, 'SHA256SUMS')))!);
}

function sha256(bytes: Uint8Array): ObjectDigest {
  return createHash('sha256').update(bytes).digest('hex') as ObjectDigest;
}

const [runs, steps] = process.env['SLOW'] ? [1000, 600] : [8, 900];
const lucky = ['refusals', 'sharedRemovals'];
const firstSeed = Number(process.env['SEED'] ?? 1);

for (const what of ['backup', 'copy'] as const)
  test(`no interleaving of ${what}, forget, prune and crashes loses an object that is needed`, async () => {
    const totals = { commits: 0, refusals: 0, removals: 0, sharedRemovals: 0, forgets: 0 };
    for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
      const folder = mkdtempSync(join(tmpdir(), 'salvage-keeper-'));
      try {
        const world = new World(seed, folder);
        const created = [encodeRepositoryJson(world.host.repositoryId, world.clock.now())];
        await world.storage.create(repositoryName, created);
        let writer = (storage: Storage): Promise<void> => world.backUp(storage);
        if (what === 'copy') {
          const source = new MemoryStorage(world.clock);
          for (let snapshot = 0; snapshot < 20; snapshot++) await world.backUp(source);
          world.commits = 0;
          writer = (storage) => world.copy(storage, source);
        }
        await world.run(steps, writer, true);
        for (const name of Object.keys(totals) as (keyof typeof totals)[]) totals[name] += world[name];
      } catch (error) {
        throw new Error(`with SEED=${seed}`, { cause: error });
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    }
    // Each of the things that can happen did; some of them need more luck than a few runs have.
    for (const [name, total] of Object.entries(totals))
      assert.ok(total > 0 || (lucky.includes(name) && runs < 100), `${name}: ${total}`);
  });
