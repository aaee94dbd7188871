import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { CountingStorage } from '../../../test/support/counting-storage.ts';
import {
  entriesOf,
  handMadePrincipal,
  HandMadeRepository,
  type HandMadeFile,
  type HandMadeSnapshot,
} from '../../../test/support/hand-made-repository.ts';
import type { PackId } from '../../repository/ids.ts';
import { indexName, packName, snapshotFileName } from '../../repository/layout.ts';
import { parseAllowedSigners, type AllowedSigner } from '../../ssh/allowed-signers.ts';
import { generateEd25519Key } from '../../ssh/encode-private-key.ts';
import { formatPublicKey } from '../../ssh/public-key.ts';
import { privateKeySigner } from '../../ssh/signer.ts';
import { LocalStorage } from '../../storage/local/local-storage.ts';
import { MemoryStorage } from '../../storage/memory/memory-storage.ts';
import type { Shard } from '../shard.ts';
import type { RememberedHead } from './remembered-heads.ts';
import { RememberedHeads } from './remembered-heads.ts';
import { verify, type VerifyResult } from './verify.ts';

const scratch = mkdtempSync(join(tmpdir(), 'salvage-verify-'));
after(() => rmSync(scratch, { recursive: true, force: true }));
let files: HandMadeFile[];
before(() => {
  const tree = join(scratch, 'tree');
  mkdirSync(tree);
  for (const name of ['a', 'b', 'c']) writeFileSync(join(tree, name), randomBytes(300_000));
  files = entriesOf(tree);
});

interface Settings {
  readonly readShare?: number;
  readonly shard?: Shard;
  readonly opens?: boolean;
  readonly remembered?: RememberedHead;
  readonly seenHere?: readonly RememberedHead[];
  readonly principal?: string;
  readonly signers?: readonly AllowedSigner[];
}

async function verifyAll(repository: HandMadeRepository, settings: Settings = {}): Promise<VerifyResult> {
  const { readShare = 1, shard, opens = false, remembered, seenHere = [] } = settings;
  const { principal = handMadePrincipal } = settings;
  const allowedSigners = settings.signers ?? repository.allowedSigners;
  const told: unknown[] = [];
  const result = await verify(
    repository.storage,
    {
      trusted: { allowedSigners, principal },
      remembered: () => remembered,
      seenHere,
      readShare,
      ...(shard && { shard }),
      ...(opens && { identities: [repository.identity] }),
      threads: 1,
    },
    { onTrouble: (trouble) => told.push(trouble), onTotal: () => {}, onProgress: () => {} },
  );
  assert.deepEqual(told, result.troubles);
  return result;
}

function kinds({ troubles }: VerifyResult): string[] {
  return troubles.map(({ kind }) => kind).sort();
}

let folders = 0;

/** A repository in a folder, so that its objects can be damaged as files. */
async function inFolder(): Promise<{ repository: HandMadeRepository; path: (name: string) => string }> {
  const root = join(scratch, `repository${folders++}`);
  return {
    repository: await HandMadeRepository.create(new LocalStorage(root)),
    path: (name) => join(root, name),
  };
}

function rewrite(path: string, change: (bytes: Buffer) => Buffer): void {
  const bytes = change(readFileSync(path));
  rmSync(path);
  writeFileSync(path, bytes);
}

function headOf(repository: HandMadeRepository, { id, digest }: HandMadeSnapshot): RememberedHead {
  return { repository: repository.id, snapshot: id, sequence: Number(id.slice(0, 8)), digest, places: [] };
}

describe('verify', () => {
  for (const storage of ['folder', 'memory'])
    it(`finds nothing wrong with a good repository in a ${storage}`, async () => {
      const repository =
        storage === 'folder'
          ? (await inFolder()).repository
          : await HandMadeRepository.create(new MemoryStorage());
      const first = await repository.snapshot(files, { packPerFile: true });
      const second = await repository.snapshot(files.slice(1));
      const result = await verifyAll(repository);
      assert.deepEqual(result.troubles, []);
      assert.deepEqual([result.snapshots, result.unlisted, result.unfinished], [2, 0, 0]);
      assert.equal(result.objectsRead, 3 + 1 + 1 + 1 + 1 + 1 + 2);
      const { places: _, ...head } = headOf(repository, second);
      assert.deepEqual(result.head, head);
      const deep = await verifyAll(repository, { opens: true, remembered: headOf(repository, first) });
      assert.deepEqual(deep.troubles, []);
      assert.equal(deep.blobs, 3 + 2 + 2);
    });

  it('reads every content pack once, also with an identity', async () => {
    const large = join(scratch, 'large');
    mkdirSync(large);
    for (const name of ['a', 'b']) writeFileSync(join(large, name), randomBytes(9_500_000));
    const storage = new CountingStorage(new MemoryStorage());
    const repository = await HandMadeRepository.create(storage);
    const { contentPacks } = await repository.snapshot(entriesOf(large), { packBytes: 64 * 2 ** 20 });
    assert.equal(contentPacks.length, 1);
    storage.reset();
    const { troubles, blobs } = await verifyAll(repository, { opens: true });
    assert.deepEqual(troubles, []);
    assert.ok(blobs > 10);
    const name = packName(contentPacks[0]!);
    const { sizeBytes } = (await storage.stat(name))!;
    // And its header, by the thread that has the identities.
    assert.equal(storage.bytesRead.get(name), sizeBytes + 16 * 1024);
  });

  it('counts what harmlessly was left over', async () => {
    const { repository } = await inFolder();
    const { id } = await repository.snapshot(files);
    await repository.storage.create(packName('ab'.repeat(32) as PackId), [randomBytes(100)]);
    const left = id.replace(/^00000001/, '00000002') as typeof id;
    await repository.storage.create(snapshotFileName(left, 'snapshot.json'), [randomBytes(10)]);
    const result = await verifyAll(repository);
    assert.deepEqual([result.troubles, result.unlisted, result.unfinished], [[], 1, 1]);
  });

  const damages: readonly (readonly [
    what: string,
    damage: (path: (name: string) => string, snapshot: HandMadeSnapshot) => void,
    kind: string,
    message: RegExp,
  ])[] = [
    [
      'a missing pack',
      (path, { contentPacks }) => rmSync(path(packName(contentPacks[0]!))),
      'missing-object',
      /is missing/,
    ],
    [
      'a missing index object',
      (path, { index }) => rmSync(path(indexName(index))),
      'missing-object',
      /is missing/,
    ],
    [
      'a truncated pack',
      (path, { contentPacks }) => truncateSync(path(packName(contentPacks[0]!)), 100_001),
      'truncated-object',
      /was cut short: 100001 bytes/,
    ],
    [
      'an empty pack',
      (path, { contentPacks }) => truncateSync(path(packName(contentPacks[0]!)), 0),
      'truncated-object',
      /is empty/,
    ],
    [
      'a flipped bit',
      (path, { contentPacks }) => rewrite(path(packName(contentPacks[0]!)), flip(70_000)),
      'changed-object',
      /was changed/,
    ],
    [
      'a flipped bit in the header',
      (path, { contentPacks }) => rewrite(path(packName(contentPacks[0]!)), flip(30)),
      'changed-object',
      /was changed/,
    ],
    [
      'a flipped bit in root.age',
      (path, { id }) => rewrite(path(snapshotFileName(id, 'root.age')), flip(400)),
      'changed-object',
      /root\.age" was changed/,
    ],
    [
      'no root.age',
      (path, { id }) => rmSync(path(snapshotFileName(id, 'root.age'))),
      'missing-object',
      /is missing/,
    ],
    [
      'no snapshot.json',
      (path, { id }) => rmSync(path(snapshotFileName(id, 'snapshot.json'))),
      'damaged-snapshot',
      /it is missing/,
    ],
    [
      'a changed snapshot.json',
      (path, { id }) => rewrite(path(snapshotFileName(id, 'snapshot.json')), flip(50)),
      'damaged-snapshot',
      /its SHA-256 is/,
    ],
    [
      'a changed list',
      (path, { id }) => rewrite(path(snapshotFileName(id, 'SHA256SUMS')), flip(3)),
      'bad-signature',
      /it does not fit the signed data/,
    ],
    [
      'an unreadable signature',
      (path, { id }) => rewrite(path(snapshotFileName(id, 'SHA256SUMS.sig')), () => Buffer.from('x')),
      'bad-signature',
      /Cannot trust snapshot/,
    ],
  ];
  for (const [what, damage, kind, message] of damages)
    for (const opens of [false, true])
      it(`names ${what}${opens ? ', with the key too' : ''}`, async () => {
        const { repository, path } = await inFolder();
        const snapshot = await repository.snapshot(files);
        damage(path, snapshot);
        const { troubles } = await verifyAll(repository, { opens });
        assert.equal(troubles[0]?.kind, kind, JSON.stringify(troubles));
        assert.match(troubles[0].message, message);
      });

  it('sees a missing or empty object without reading any', async () => {
    const { repository, path } = await inFolder();
    const { contentPacks, treePack } = await repository.snapshot(files);
    rmSync(path(packName(contentPacks[0]!)));
    truncateSync(path(packName(treePack)), 0);
    const result = await verifyAll(repository, { readShare: 0 });
    assert.deepEqual(kinds(result), ['missing-object', 'truncated-object']);
    assert.equal(result.objectsRead, 1);
  });

  it('reads a share', async () => {
    const { repository } = await inFolder();
    await repository.snapshot(files, { packPerFile: true });
    const result = await verifyAll(repository, { readShare: 0.001 });
    assert.deepEqual(result.troubles, []);
    assert.ok(result.objectsRead >= 2 && result.objectsRead < 6);
  });

  it('reads everything in shares, each object in one of them', async () => {
    const { repository, path } = await inFolder();
    const { contentPacks } = await repository.snapshot(files, { packPerFile: true });
    const whole = await verifyAll(repository);
    rewrite(path(packName(contentPacks[1]!)), flip(70_000));
    const shares: VerifyResult[] = [];
    for (const number of [1, 2, 3]) shares.push(await verifyAll(repository, { shard: { number, count: 3 } }));
    assert.deepEqual(shares.flatMap(kinds), ['changed-object']);
    const roots = 1;
    const read = shares.reduce((sum, { objectsRead }) => sum + objectsRead - roots, roots);
    assert.equal(read, whole.objectsRead);
    // What costs little everybody looks at.
    assert.ok(shares.every(({ snapshots, troubles }) => snapshots === 1 || troubles.length > 0));
  });

  it('names another signer', async () => {
    const { repository } = await inFolder();
    await repository.snapshot(files);
    await repository.snapshot(files, { signer: privateKeySigner(generateEd25519Key('other')) });
    const result = await verifyAll(repository);
    assert.deepEqual(kinds(result), ['bad-signature']);
    assert.equal(result.snapshots, 1);
    assert.equal((await verifyAll(repository, { principal: 'somebody-else' })).snapshots, 0);
  });

  it('names a removed snapshot', async () => {
    const { repository, path } = await inFolder();
    await repository.snapshot(files);
    const second = await repository.snapshot(files);
    await repository.snapshot(files);
    rmSync(path(`snapshots/${second.id}`), { recursive: true });
    const result = await verifyAll(repository);
    assert.deepEqual(kinds(result), ['missing-snapshot']);
    assert.match(result.troubles[0]!.message, /^Snapshot number 2 is missing/);
  });

  it('names a rollback, and history that was rewritten', async () => {
    const { repository, path } = await inFolder();
    const first = await repository.snapshot(files);
    const second = await repository.snapshot(files);
    rmSync(path(`snapshots/${second.id}`), { recursive: true });
    assert.deepEqual(kinds(await verifyAll(repository, { remembered: headOf(repository, second) })), [
      'rollback',
    ]);
    const other = await repository.snapshot(files, { sequence: 2, previous: first.digest });
    assert.deepEqual(kinds(await verifyAll(repository, { remembered: headOf(repository, second) })), [
      'rollback',
    ]);
    assert.deepEqual(kinds(await verifyAll(repository, { remembered: headOf(repository, other) })), []);
  });

  it('names a forked chain', async () => {
    const { repository } = await inFolder();
    const first = await repository.snapshot(files);
    await repository.snapshot(files);
    await repository.snapshot(files, { sequence: 2, previous: first.digest });
    assert.deepEqual(kinds(await verifyAll(repository)), ['forked-chain']);
    await repository.snapshot(files, { sequence: 3, previous: first.digest });
    assert.deepEqual(kinds(await verifyAll(repository)), ['forked-chain', 'forked-chain']);
  });

  it('names another repository in the place of the known one, and snapshots from elsewhere', async () => {
    const { repository, path } = await inFolder();
    const snapshot = await repository.snapshot(files);
    const { repository: other } = await inFolder();
    const seenHere = [headOf(other, snapshot)];
    assert.deepEqual(kinds(await verifyAll(repository, { seenHere })), ['foreign']);
    rewrite(path('repository.json'), (bytes) =>
      Buffer.from(bytes.toString().replace(repository.id, other.id)),
    );
    assert.deepEqual(kinds(await verifyAll(repository)), ['foreign']);
  });

  it('takes a key that has run out for older snapshots, and not for one that is dated back', async () => {
    const { repository } = await inFolder();
    const signers = parseAllowedSigners(
      repository.allowedSignersText.replace('namespaces', 'valid-before="20260201Z",namespaces'),
    );
    await repository.snapshot(files, { time: new Date('2026-01-01T00:00:00Z') });
    assert.deepEqual(kinds(await verifyAll(repository, { signers })), []);
    await repository.snapshot(files, { time: new Date('2026-01-02T00:00:00Z') });
    assert.deepEqual(kinds(await verifyAll(repository, { signers })), []);
    const next = privateKeySigner(generateEd25519Key('next'));
    const both = [
      ...signers,
      ...parseAllowedSigners(`${handMadePrincipal} ${formatPublicKey(next.publicKey)}\n`),
    ];
    await repository.snapshot(files, { time: new Date('2026-03-01T00:00:00Z'), signer: next });
    assert.deepEqual(kinds(await verifyAll(repository, { signers: both })), []);
    await repository.snapshot(files, { time: new Date('2026-01-03T00:00:00Z') });
    assert.deepEqual(kinds(await verifyAll(repository, { signers: both })), ['bad-signature']);
  });
});

describe('remembered heads', () => {
  it('come back as they were written, with all places', async () => {
    const { repository } = await inFolder();
    const snapshot = await repository.snapshot(files);
    const heads = new RememberedHeads(join(scratch, 'state', 'heads'));
    assert.equal(heads.read(repository.id), undefined);
    assert.deepEqual(heads.at('/a'), []);
    const head = headOf(repository, snapshot);
    heads.write(head, '/a');
    heads.write(head, '/b');
    assert.deepEqual(heads.read(repository.id), { ...head, places: ['/b', '/a'] });
    assert.equal(heads.at('/a').length, 1);
    writeFileSync(join(scratch, 'state', 'heads', `${repository.id}.json`), '{}');
    assert.throws(() => heads.read(repository.id), /it is not a valid one/);
  });
});

function flip(at: number): (bytes: Buffer) => Buffer {
  return (bytes) => {
    bytes[at]! ^= 1;
    return bytes;
  };
}
