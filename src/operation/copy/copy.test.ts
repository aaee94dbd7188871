import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { CountingStorage } from '../../../test/support/counting-storage.ts';
import { FaultyStorage } from '../../../test/support/faulty-storage.ts';
import {
  handMadePrincipal,
  HandMadeRepository,
  type HandMadeFile,
  type HandMadeSnapshot,
} from '../../../test/support/hand-made-repository.ts';
import { systemClock } from '../../clock/clock.ts';
import { randomBytes } from '../../clock/random.ts';
import type { RepositoryId, SnapshotId } from '../../repository/ids.ts';
import type { KeeperAct } from '../../repository/keeper-record.ts';
import {
  indexName,
  packName,
  readmeName,
  repositoryName,
  snapshotFileName,
} from '../../repository/layout.ts';
import { parseAllowedSigners } from '../../ssh/allowed-signers.ts';
import { generateEd25519Key } from '../../ssh/encode-private-key.ts';
import { formatPublicKey } from '../../ssh/public-key.ts';
import { privateKeySigner, type Signer } from '../../ssh/signer.ts';
import { MemoryStorage } from '../../storage/memory/memory-storage.ts';
import type { Storage } from '../../storage/storage.ts';
import { readHandovers, writeHandover } from '../handover.ts';
import {
  readKeeperHistory,
  writeKeeperRecord,
  type KeeperHistory,
  type TrustedRecord,
} from '../keeper/keeper-records.ts';
import type { TrustedSigners } from '../reading/signed-snapshot.ts';
import { verify } from '../verify/verify.ts';
import { copy, type CopyOptions, type CopyResult } from './copy.ts';

type Settings = Partial<Omit<CopyOptions, 'source' | 'target'>>;

interface Report extends CopyResult {
  readonly kinds: readonly string[];
  readonly notices: readonly string[];
}

async function run(
  repository: HandMadeRepository,
  target: Storage,
  { source = repository.storage, ...settings }: Settings & { readonly source?: Storage } = {},
): Promise<Report> {
  const told: unknown[] = [];
  const notices: string[] = [];
  let total = 0;
  let done = 0;
  const result = await copy(
    {
      source,
      target,
      trusted: { allowedSigners: repository.allowedSigners, principal: handMadePrincipal },
      ...settings,
    },
    {
      onTrouble: (trouble) => told.push(trouble),
      onNotice: (message) => notices.push(message),
      onTotal: (bytes) => (total += bytes),
      onProgress: (bytes) => (done += bytes),
      onSnapshot: () => {},
    },
  );
  assert.deepEqual(told, result.troubles);
  if (!settings.dryRun) assert.equal(done, total);
  return { ...result, kinds: result.troubles.map(({ kind }) => kind), notices };
}

/** Kinds of what a verifier finds in a copy. */
async function verifyCopy(
  { allowedSigners }: HandMadeRepository,
  target: Storage,
  trusted: TrustedSigners = { allowedSigners, principal: handMadePrincipal },
): Promise<string[]> {
  const { troubles } = await verify(
    target,
    {
      trusted,
      remembered: () => undefined,
      seenHere: [],
      readShare: 1,
      threads: 1,
    },
    { onTrouble: () => {}, onTotal: () => {}, onProgress: () => {} },
  );
  return troubles.map(({ kind }) => kind);
}

function fileOf(name: string, size = 200_000): HandMadeFile {
  const path = Buffer.from(name);
  const entry = {
    path,
    type: 'file',
    mode: 0o644,
    uid: 0,
    gid: 0,
    user: '',
    group: '',
    mtimeNs: 0n,
    size,
  } as const;
  return { entry, content: randomBytes(size) };
}

const [a, b, c] = [fileOf('a'), fileOf('b'), fileOf('c')];

/** Two snapshots, of which the second needs packs of its own only. */
async function twoSnapshots(): Promise<{
  repository: HandMadeRepository;
  first: HandMadeSnapshot;
  second: HandMadeSnapshot;
}> {
  const repository = await HandMadeRepository.create(new MemoryStorage());
  const first = await repository.snapshot([a, b], { packPerFile: true });
  const second = await repository.snapshot([b, c], { packPerFile: true });
  return { repository, first, second };
}

interface Keeper {
  readonly trusted: TrustedSigners;
  write(
    storage: Storage,
    repository: RepositoryId,
    newest: TrustedRecord | undefined,
    open: readonly number[],
    act: KeeperAct,
    isOpen?: boolean,
  ): Promise<TrustedRecord>;
}

function keeperOf(principal: string): Keeper {
  const key = generateEd25519Key(principal);
  const line = `${principal} namespaces="salvage-keeper" ${formatPublicKey(key.publicKey)}`;
  const time = new Date('2026-11-23T12:00:00Z');
  return {
    trusted: { allowedSigners: parseAllowedSigners(line), principal },
    write: async (storage, repository, newest, open, act, isOpen = false) =>
      await writeKeeperRecord(
        storage,
        { repository, newest, time, open, isOpen, act },
        privateKeySigner(key),
      ),
  };
}

class AddOnlyStorage extends MemoryStorage {
  override readonly capabilities = { exclusiveCreate: true, remove: false };
}

async function moveSnapshot(id: SnapshotId, from: Storage, to: Storage): Promise<void> {
  for (const file of ['snapshot.json', 'root.age', 'SHA256SUMS', 'SHA256SUMS.sig'] as const) {
    const name = snapshotFileName(id, file);
    await to.create(name, [(await from.read(name))!]);
    await from.remove(name);
  }
}

async function contentOf(storage: Storage): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>();
  for await (const { name } of storage.list('')) found.set(name, Buffer.from((await storage.read(name))!));
  return found;
}

async function replace(storage: Storage, name: string, change: (bytes: Buffer) => Buffer): Promise<void> {
  const bytes = change(Buffer.from((await storage.read(name))!));
  await storage.remove(name);
  await storage.create(name, [bytes]);
}

function flip(bytes: Buffer): Buffer {
  bytes[bytes.length >>> 1]! ^= 1;
  return bytes;
}

const half = (bytes: Buffer): Buffer => bytes.subarray(0, bytes.length >>> 1);

describe('copy', () => {
  it('brings everything, byte by byte, and the second time nothing', async () => {
    const { repository } = await twoSnapshots();
    const target = new MemoryStorage();
    const { snapshots, objects, kinds } = await run(repository, target);
    assert.deepEqual([snapshots.length, objects, kinds], [2, 8, []]);
    const copied = await contentOf(target);
    for (const [name, bytes] of await contentOf(repository.storage))
      assert.deepEqual(copied.get(name), bytes);
    assert.ok(copied.has(readmeName));
    assert.deepEqual(await verifyCopy(repository, target), []);
    const counted = new CountingStorage(target);
    const again = await run(repository, counted);
    assert.deepEqual([again.snapshots, again.present, again.objects], [[], 2, 0]);
    assert.deepEqual(
      counted.requests.filter((request) => /^(?:create|stat|remove)|read packs/.test(request)),
      [],
    );
  });

  it('carries what is new, after looking at both sides once', async () => {
    const { repository } = await twoSnapshots();
    const target = new MemoryStorage();
    await run(repository, target);
    const third = await repository.snapshot([a], { packPerFile: true });
    const source = new CountingStorage(repository.storage);
    const { snapshots, objects } = await run(repository, target, { source });
    assert.deepEqual([snapshots, objects], [[third.id], 3]);
    const reads = source.requests.filter((request) => request.startsWith('read packs'));
    assert.equal(reads.length, 2);
    assert.equal(source.requests.filter((request) => request.startsWith('list')).length, 5);
    assert.deepEqual(await verifyCopy(repository, target), []);
  });

  it('stores the signature last, and in order of the chain', async () => {
    const { repository } = await twoSnapshots();
    const target = new CountingStorage(new MemoryStorage());
    const { snapshots } = await run(repository, target, { memoryBytes: 1 });
    const order = target.requests
      .filter((request) => request.startsWith('create'))
      .map((request) => request.slice('create '.length));
    assert.equal(order[0], repositoryName);
    for (const id of snapshots) {
      const signature = order.indexOf(snapshotFileName(id, 'SHA256SUMS.sig'));
      const list = order.indexOf(snapshotFileName(id, 'SHA256SUMS'));
      const text = Buffer.from((await target.read(order[list]!))!).toString();
      for (const line of text.trim().split('\n')) assert.ok(order.indexOf(line.slice(66)) < list, line);
      assert.ok(list < signature);
    }
    const signatures = order.filter((name) => name.endsWith('.sig'));
    assert.deepEqual(
      signatures,
      snapshots.map((id) => snapshotFileName(id, 'SHA256SUMS.sig')),
    );
  });

  it('selects by id, number, time and count, and says what will be missing', async () => {
    const { repository, first, second } = await twoSnapshots();
    const select = async (selection: CopyOptions['selection']): Promise<readonly SnapshotId[]> => {
      const { snapshots } = await run(repository, new MemoryStorage(), {
        selection: selection!,
        dryRun: true,
      });
      return snapshots;
    };
    assert.deepEqual(await select({ snapshots: ['1', second.id] }), [first.id, second.id]);
    assert.deepEqual(await select({ latest: 1 }), [second.id]);
    assert.deepEqual(await select({ since: new Date('2026-11-23T10:00:02Z') }), [second.id]);
    assert.deepEqual(await select({ since: new Date('2027-01-01') }), []);
    await assert.rejects(select({ snapshots: ['9'] }), { code: 'usage' });
    const target = new MemoryStorage();
    const { notices } = await run(repository, target, { selection: { latest: 1 } });
    assert.match(notices.join(), /1 earlier snapshot is not selected/);
    assert.deepEqual(await verifyCopy(repository, target), ['missing-snapshot']);
    await run(repository, target);
    assert.deepEqual(await verifyCopy(repository, target), []);
  });

  it('stores nothing in a dry run', async () => {
    const { repository } = await twoSnapshots();
    const target = new MemoryStorage();
    const { snapshots, wantedObjects, objects } = await run(repository, target, { dryRun: true });
    assert.deepEqual([snapshots.length, wantedObjects, objects], [2, 8, 0]);
    assert.equal((await contentOf(target)).size, 0);
  });

  it('splits the packs among shards, which commit nothing; a run without ends the work', async () => {
    const { repository } = await twoSnapshots();
    const target = new MemoryStorage();
    const shards = [1, 2, 3].map((number) => run(repository, target, { shard: { number, count: 3 } }));
    const carried = await Promise.all(shards);
    assert.equal(
      carried.reduce((sum, { objects }) => sum + objects, 0),
      6,
    );
    assert.ok([...(await contentOf(target)).keys()].every((name) => !name.startsWith('snapshots/')));
    const last = await run(repository, target);
    assert.deepEqual([last.snapshots.length, last.objects], [2, 2]);
    assert.deepEqual(await verifyCopy(repository, target), []);
  });

  it('refuses a place that holds another repository', async () => {
    const { repository } = await twoSnapshots();
    const { repository: other } = await twoSnapshots();
    const before = await contentOf(other.storage);
    await assert.rejects(run(repository, other.storage), {
      code: 'failed',
      message: /holds another repository/,
    });
    assert.deepEqual(await contentOf(other.storage), before);
    const nothing = run(repository, new MemoryStorage(), { source: new MemoryStorage() });
    await assert.rejects(nothing, { code: 'no-repository' });
  });

  it('refuses a forked chain before it carries anything', async () => {
    const { repository, first, second } = await twoSnapshots();
    const target = new MemoryStorage();
    await run(repository, target, { selection: { latest: 1 } });
    await moveSnapshot(second.id, target, new MemoryStorage());
    // The host goes on from an old state: there is another second snapshot, and later a third one after that.
    const other = await repository.snapshot([c], { sequence: 2, previous: first.digest });
    await assert.rejects(run(repository, new MemoryStorage()), /two snapshots have the number 2.*forked/);
    await moveSnapshot(other.id, repository.storage, target);
    await repository.snapshot([a], { sequence: 3, previous: second.digest });
    const counted = new CountingStorage(target);
    for (const selection of [{}, { latest: 1 }]) {
      const refused = run(repository, counted, { selection });
      await assert.rejects(refused, { code: 'damaged', message: /forked|does not go on from/ });
    }
    assert.ok(counted.requests.every((request) => !request.startsWith('create')));
  });

  it('refuses a snapshot that is there under the same name with other content', async () => {
    const { repository, second } = await twoSnapshots();
    const target = new MemoryStorage();
    await run(repository, target);
    const name = snapshotFileName(second.id, 'SHA256SUMS');
    const list = Buffer.from((await target.read(name))!);
    const other = Buffer.from(list.toString().replace(/^.*packs.*\n/m, ''));
    await target.remove(name);
    await target.remove(`${name}.sig`);
    await target.create(name, [other]);
    const digest = createHash('sha512').update(other).digest();
    const armored = await repository.signer.sign({ namespace: 'salvage-snapshot', hash: 'sha512', digest });
    await target.create(`${name}.sig`, [Buffer.from(armored)]);
    await assert.rejects(run(repository, target), { code: 'damaged', message: /is another one there/ });
  });

  const damages: readonly (readonly [
    string,
    (storage: Storage, first: HandMadeSnapshot) => Promise<unknown>,
    string,
  ])[] = [
    [
      'a changed pack',
      (storage, { contentPacks }) => replace(storage, packName(contentPacks[0]!), flip),
      'changed-object',
    ],
    [
      'a missing pack',
      (storage, { contentPacks }) => storage.remove(packName(contentPacks[0]!)),
      'missing-object',
    ],
    [
      'an empty pack',
      (storage, { treePack }) => replace(storage, packName(treePack), () => Buffer.alloc(0)),
      'truncated-object',
    ],
    ['a changed index', (storage, { index }) => replace(storage, indexName(index), flip), 'changed-object'],
    [
      'a changed root',
      (storage, { id }) => replace(storage, snapshotFileName(id, 'root.age'), flip),
      'changed-object',
    ],
    [
      'a changed list',
      (storage, { id }) => replace(storage, snapshotFileName(id, 'SHA256SUMS'), flip),
      'bad-signature',
    ],
    [
      'a changed snapshot.json',
      (storage, { id }) => replace(storage, snapshotFileName(id, 'snapshot.json'), flip),
      'damaged-snapshot',
    ],
    [
      'half a signature',
      (storage, { id }) => replace(storage, snapshotFileName(id, 'SHA256SUMS.sig'), half),
      'bad-signature',
    ],
  ];
  for (const [what, damage, kind] of damages)
    it(`names ${what}, and commits only what does not need it`, async () => {
      const { repository, first, second } = await twoSnapshots();
      await damage(repository.storage, first);
      const target = new MemoryStorage();
      const { snapshots, kinds } = await run(repository, target);
      assert.deepEqual([snapshots, kinds], [[second.id], [kind]]);
      assert.deepEqual(await verifyCopy(repository, target), ['missing-snapshot']);
    });

  it('does not copy what a stranger signed, unless nobody says whom to trust', async () => {
    const { repository, second } = await twoSnapshots();
    const signer = privateKeySigner(generateEd25519Key('stranger'));
    const third = await repository.snapshot([a], { signer });
    const { snapshots, kinds } = await run(repository, new MemoryStorage());
    assert.deepEqual([snapshots.at(-1), kinds], [second.id, ['bad-signature']]);
    const unchecked = await run(repository, new MemoryStorage(), { trusted: undefined });
    assert.deepEqual([unchecked.snapshots.at(-1), unchecked.kinds], [third.id, []]);
  });

  it('replaces what was stored in part, and completes what a run left', async () => {
    const { repository, first, second } = await twoSnapshots();
    const target = new MemoryStorage();
    await run(repository, target);
    await target.remove(snapshotFileName(second.id, 'SHA256SUMS.sig'));
    await replace(target, snapshotFileName(second.id, 'root.age'), flip);
    await replace(target, packName(second.contentPacks[0]!), half);
    await replace(target, snapshotFileName(first.id, 'SHA256SUMS.sig'), half);
    const { snapshots, objects, kinds } = await run(repository, target);
    assert.deepEqual([snapshots, objects, kinds], [[first.id, second.id], 1, []]);
    assert.deepEqual(await verifyCopy(repository, target), []);
  });

  it('brings back what the target has lost, of old snapshots only when asked', async () => {
    const { repository, first, second } = await twoSnapshots();
    const target = new MemoryStorage();
    await run(repository, target);
    await target.remove(packName(second.contentPacks[0]!));
    await target.remove(packName(first.contentPacks[0]!));
    assert.equal((await run(repository, target)).objects, 1);
    assert.deepEqual(await verifyCopy(repository, target), ['missing-object']);
    assert.equal((await run(repository, target, { repair: true })).objects, 1);
    assert.deepEqual(await verifyCopy(repository, target), []);
  });

  it('leaves alone what is right in the target and damaged in the source', async () => {
    const { repository, second } = await twoSnapshots();
    const target = new MemoryStorage();
    await run(repository, target);
    const before = await contentOf(target);
    for (const pack of second.contentPacks) await replace(repository.storage, packName(pack), half);
    assert.deepEqual((await run(repository, target)).kinds, ['changed-object', 'changed-object']);
    assert.deepEqual(await contentOf(target), before);
  });

  it('leaves alone what may not be removed', async () => {
    const { repository, first, second } = await twoSnapshots();
    const target = new AddOnlyStorage();
    await target.create(packName(first.contentPacks[0]!), [randomBytes(10)]);
    const { snapshots, kinds } = await run(repository, target);
    assert.deepEqual([snapshots, kinds], [[second.id], ['changed-object']]);
  });

  it('lets a new target take over why snapshots are not there, and copies nothing that was forgotten', async () => {
    const { repository, first, second } = await twoSnapshots();
    const keeper = keeperOf('keeper');
    const { storage, id } = repository;
    const act = {
      action: 'forget',
      snapshots: [{ id: first.id, checksums: first.digest, previous: null }],
    } as const;
    await keeper.write(storage, id, undefined, [], act);
    const target = new MemoryStorage();
    const { snapshots, notices } = await run(repository, target, { keeper: keeper.trusted });
    assert.deepEqual([snapshots, notices], [[second.id], []]);
    const records = (storage: Storage): Promise<KeeperHistory> =>
      readKeeperHistory(storage, id, keeper.trusted);
    assert.deepEqual(await records(target), await records(storage));
    // From now on the target has a keeper of its own.
    const more = { ...act, snapshots: [{ id: second.id, checksums: second.digest, previous: first.digest }] };
    await keeper.write(storage, id, (await records(storage)).records[0], [], more);
    await run(repository, target, { keeper: keeper.trusted });
    assert.equal((await records(target)).records.length, 1);
    const stranger = keeperOf('stranger');
    const unbelieved = await run(repository, new MemoryStorage(), { keeper: stranger.trusted });
    assert.equal(unbelieved.snapshots.length, 2);
    assert.match(unbelieved.notices.join(), /keeper's record/);
  });

  it('carries what the host says of its keys, if it says so with one that is trusted', async () => {
    const { repository } = await twoSnapshots();
    const { storage, id } = repository;
    const target = new MemoryStorage();
    await run(repository, target);

    const next = privateKeySigner(generateEd25519Key('next'));
    const handOver = async (oldSigner: Signer): Promise<void> => {
      const newKey = next.publicKey;
      const common = { storage, repository: id, host: handMadePrincipal, clock: systemClock };
      await writeHandover({ ...common, oldSigner, newKey, signal: new AbortController().signal });
    };
    await handOver(privateKeySigner(generateEd25519Key('stranger')));
    await handOver(repository.signer);
    const third = await repository.snapshot([c], { signer: next });
    const both = `${repository.allowedSignersText}${handMadePrincipal} ${formatPublicKey(next.publicKey)}\n`;
    const trusted = { allowedSigners: parseAllowedSigners(both), principal: handMadePrincipal };
    const { snapshots, kinds } = await run(repository, target, { trusted });
    assert.deepEqual([snapshots, kinds], [[third.id], []]);

    const told = await readHandovers(target, id, trusted);
    const real = (await readHandovers(storage, id, trusted)).filter(({ isOldTrusted }) => isOldTrusted);
    assert.equal(real.length, 1);
    assert.deepEqual(told, real);
    assert.deepEqual(await verifyCopy(repository, target, trusted), []);

    // What came of it in the target is mended, and what is as it should be left alone.
    const names = (await Array.fromAsync(target.list('handover/'))).map(({ name }) => name);
    assert.equal(names.length, 2);
    await target.remove(names[0]!);
    await target.create(names[0]!, [randomBytes(10)]);
    await run(repository, target, { trusted });
    assert.deepEqual(await readHandovers(target, id, trusted), real);
    const counted = new CountingStorage(target);
    await run(repository, counted, { trusted });
    assert.deepEqual(
      counted.requests.filter((request) => /^create|handover\/./.test(request)),
      [],
    );
    const unchecked = new MemoryStorage();
    await run(repository, unchecked, { trusted: undefined });
    assert.deepEqual(await readHandovers(unchecked, id, trusted), []);
  });

  it('does not finish what needs a pack that a keeper is about to remove', async () => {
    const { repository, first, second } = await twoSnapshots();
    const target = new MemoryStorage();
    await run(repository, target, { selection: { snapshots: ['1'] } });
    const pack = second.contentPacks[1]!;
    await target.create(packName(pack), [(await repository.storage.read(packName(pack)))!]);
    const keeper = keeperOf('keeper');
    const mark = { action: 'mark', packs: [pack], indexes: [], unfinished: [] } as const;
    const marked = await keeper.write(target, repository.id, undefined, [], mark, true);
    const { snapshots, kinds } = await run(repository, target);
    assert.deepEqual([snapshots, kinds], [[], ['marked-object']]);
    assert.deepEqual(await verifyCopy(repository, target), []);
    // The keeper has seen the list of the unfinished snapshot, and removes nothing.
    const sweep = { action: 'sweep', mark: 1, packs: [], indexes: [], unfinished: [] } as const;
    await keeper.write(target, repository.id, marked, [], sweep);
    const again = await run(repository, target);
    assert.deepEqual([again.snapshots, again.objects], [[second.id], 0]);
    assert.ok(first.id < second.id);
  });

  it('gives up on a source that does not answer at all', async () => {
    const repository = await HandMadeRepository.create(new MemoryStorage());
    await repository.snapshot(
      Array.from({ length: 200 }, (_, index) => fileOf(`f${index + 100}`, 100)),
      {
        packPerFile: true,
      },
    );
    let reads = 0;
    const source = new FaultyStorage(repository.storage, {
      ofObject: true,
      plan: (_, call, name) =>
        call === 'read' && name.startsWith('packs/') && ++reads > 2 ? 'error' : undefined,
    });
    await assert.rejects(run(repository, new MemoryStorage(), { source }), { code: 'failed' });
    assert.ok(reads > 32 && reads < 150, String(reads));
  });
});
