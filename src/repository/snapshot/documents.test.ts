import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { SalvageError } from '../../errors/salvage-error.ts';
import {
  decodeHostConfiguration,
  encodeHostConfiguration,
  type HostConfiguration,
} from '../host-configuration.ts';
import { isSnapshotId, newRepositoryId, newSnapshotId, sequenceOf, type ObjectDigest } from '../ids.ts';
import { encodeIndexedPack, IndexDecoder, type IndexedPack } from '../index-object.ts';
import { packName, roleOf } from '../layout.ts';
import { BlobList } from '../pack/blob-list.ts';
import { decodeRepositoryJson, encodeRepositoryJson } from '../repository-json.ts';
import { checksumsDigest, decodeChecksums, encodeChecksums } from './checksums.ts';
import { decodeSnapshotRoot, encodeSnapshotRoot, segmentsOf, type SnapshotRoot } from './root-json.ts';
import { decodeSnapshotJson, encodeSnapshotJson, snapshotGroup, type SnapshotJson } from './snapshot-json.ts';

const digest = (text: string): ObjectDigest =>
  createHash('sha256').update(text).digest('hex') as ObjectDigest;
const isDamage = (error: unknown): boolean => error instanceof SalvageError && error.code === 'damaged';
const id = newSnapshotId(7, new Date('2026-11-23T10:15:00.999Z'));
const repository = newRepositoryId();

const snapshot: SnapshotJson = {
  format: 'salvage-snapshot',
  version: 1,
  repository,
  id,
  sequence: 7,
  time: '2026-11-23T10:15:00.999Z',
  previous: digest('previous'),
  entries: 1,
  sizeBytes: 2,
  packs: 3,
  storedBytes: 4,
  group: snapshotGroup(new Uint8Array(32), { paths: ['/b', '/a'] }),
  labels: { stage: 'production' },
};
const root: SnapshotRoot = {
  repository,
  snapshot: id,
  host: 'web1',
  paths: ['/etc'],
  tags: ['nightly'],
  started: '2026-11-23T10:15:00Z',
  finished: '2026-11-23T10:15:01Z',
  statistics: { files: 3 },
  indexKey: 'AGE-SECRET-KEY-1ABC',
  chunkerSeed: randomBytes(32),
  segments: ['a', 'b/c', 'b/c', 'x'].map((first, index) => ({
    pack: digest(`pack ${index % 2}`),
    offset: index,
    length: 1,
    digest: randomBytes(32),
    first: Buffer.from(first),
  })),
};

/** Changes one place of valid bytes: what comes out is a value or damage. */
function fuzz(
  valid: Uint8Array,
  decode: (bytes: Uint8Array) => unknown,
  allowed: (error: unknown) => boolean = isDamage,
): void {
  const bytes = fc
    .tuple(fc.nat(valid.length), fc.uint8Array({ maxLength: 3 }), fc.nat(5))
    .map(([at, inserted, removed]) =>
      Buffer.concat([valid.subarray(0, at), inserted, valid.subarray(at + removed)]),
    );
  fc.assert(
    fc.property(
      fc.oneof(
        { weight: 5, arbitrary: bytes },
        { weight: 1, arbitrary: fc.uint8Array() },
        { weight: 1, arbitrary: fc.json().map((text) => Buffer.from(text)) },
      ),
      (changed) => {
        try {
          decode(changed);
        } catch (error) {
          if (!allowed(error)) throw error;
        }
      },
    ),
    { seed: 7, numRuns: 500 },
  );
}

test('snapshot ids: form, order, limits', () => {
  assert.match(id, /^00000007-20261123T101500Z-[0-9a-f]{8}$/);
  assert.equal(sequenceOf(id), 7);
  assert.throws(() => newSnapshotId(0, new Date(0)), RangeError);
  assert.throws(() => newSnapshotId(100_000_000, new Date(0)), RangeError);
  for (const bad of ['', '../..', `${id}x`, id.toUpperCase(), `00000000${id.slice(8)}`])
    assert.ok(!isSnapshotId(bad));
});

test('the role of an object by its name', () => {
  const pack = digest('pack');
  assert.deepEqual(roleOf(packName(pack)), { kind: 'pack', id: pack });
  assert.deepEqual(roleOf(`snapshots/${id}/root.age`), { kind: 'snapshot', id, file: 'root.age' });
  assert.deepEqual(roleOf('keeper/00000001-20261123T101500Z.json.sig'), {
    kind: 'keeper',
    id: { number: 1, stamp: '20261123T101500Z' },
    file: 'json.sig',
  });
  for (const name of [
    '',
    'packs',
    `packs/00/${pack}.age`,
    `packs/${pack}.age`,
    `${packName(pack)}/x`,
    `index/${pack}`,
    'snapshots/x/root.age',
    `snapshots/${id}/other`,
    'README',
    'x/../repository.json',
  ])
    assert.equal(roleOf(name), undefined, name);
});

test('repository.json', () => {
  const bytes = encodeRepositoryJson(repository, new Date(0));
  assert.deepEqual(decodeRepositoryJson(bytes), {
    format: 'salvage-repository',
    version: 1,
    id: repository,
    created: '1970-01-01T00:00:00.000Z',
  });
  const later = Buffer.from(Buffer.from(bytes).toString().replace('"version": 1', '"version": 2'));
  assert.throws(
    () => decodeRepositoryJson(later),
    (error) => error instanceof SalvageError && error.code === 'failed',
  );
  fuzz(bytes, decodeRepositoryJson, (error) => error instanceof SalvageError);
});

test('snapshot.json', () => {
  const bytes = encodeSnapshotJson(snapshot);
  assert.deepEqual(decodeSnapshotJson(bytes, id), snapshot);
  assert.throws(() => decodeSnapshotJson(bytes, newSnapshotId(7, new Date(0))), isDamage);
  assert.throws(() => decodeSnapshotJson(encodeSnapshotJson({ ...snapshot, sequence: 8 }), id), isDamage);
  fuzz(bytes, (changed) => decodeSnapshotJson(changed, id));
});

test('groups: the same for the same set of paths, and only with the same seed', () => {
  const seed = randomBytes(32);
  const group = snapshotGroup(seed, { paths: ['/a', '/b'] });
  assert.equal(snapshotGroup(seed, { paths: ['/b', '/a', '/a'] }), group);
  assert.notEqual(snapshotGroup(seed, { paths: ['/a'] }), group);
  assert.notEqual(snapshotGroup(seed, { job: '/a\0/b' }), group);
  assert.notEqual(snapshotGroup(randomBytes(32), { paths: ['/a', '/b'] }), group);
});

test('the root comes back, and is refused elsewhere', () => {
  const bytes = encodeSnapshotRoot(root);
  assert.deepEqual(decodeSnapshotRoot(bytes, repository, id), root);
  assert.throws(() => decodeSnapshotRoot(bytes, newRepositoryId(), id), isDamage);
  assert.throws(() => decodeSnapshotRoot(bytes, repository, newSnapshotId(7, new Date(0))), isDamage);
  const disordered = encodeSnapshotRoot({ ...root, segments: root.segments.toReversed() });
  assert.throws(() => decodeSnapshotRoot(disordered, repository, id), isDamage);
  fuzz(bytes, (changed) => decodeSnapshotRoot(changed, repository, id));
});

test('what is wrong in a root is named without its value, which may be a secret', () => {
  const bytes = Buffer.from(
    Buffer.from(encodeSnapshotRoot(root)).toString().replace('AGE-SECRET-KEY-1ABC', 'AGE-SECRET-KEY-1abc'),
  );
  assert.throws(
    () => decodeSnapshotRoot(bytes, repository, id),
    (error) => isDamage(error) && !String(error).includes('1abc') && String(error).includes('indexKey'),
  );
});

test('the segments of a path', () => {
  const find = (path: string): readonly [number, number] => segmentsOf(root.segments, Buffer.from(path));
  assert.deepEqual(find('a'), [0, 1]);
  assert.deepEqual(find('b'), [0, 3], 'the directory itself may be in the segment before');
  assert.deepEqual(find('b/c'), [0, 3], 'a file may go on in several');
  assert.deepEqual(find('b/d'), [2, 3]);
  assert.deepEqual(find('zz'), [3, 4]);
  assert.deepEqual(segmentsOf([], Buffer.from('a')), [0, 0]);
});

test('SHA256SUMS', () => {
  const checksums = {
    snapshotJson: digest('s'),
    root: digest('r'),
    indexes: [digest('i')],
    packs: [digest('1'), digest('2'), digest('1')],
  };
  const bytes = encodeChecksums(id, checksums);
  const text = Buffer.from(bytes).toString();
  const packs = [digest('1'), digest('2')].sort();
  assert.deepEqual(decodeChecksums(bytes, id), { ...checksums, packs });
  assert.equal(checksumsDigest(bytes), digest(text));
  const lines = text.split('\n').slice(0, -1);
  const bad = {
    unsorted: [...lines].reverse(),
    'a line twice': [lines[0]!, ...lines],
    'no root.age': lines.filter((line) => !line.endsWith('root.age')),
    'another snapshot': lines.map((line) => line.replace(id, `00000008${id.slice(8)}`)),
    'another digest than the name': lines.map((line) => line.replace(/^[0-9a-f]{4}(?=.*packs)/, '0000')),
    'a path out of the repository': [...lines, `${digest('x')}  ../../etc/passwd`],
    'an escaped name': [`\\${lines[0]!}`, ...lines.slice(1)],
    'binary mode': lines.map((line) => line.replace('  ', ' *')),
    'carriage returns': lines.map((line) => `${line}\r`),
  };
  for (const [what, changed] of Object.entries(bad))
    assert.throws(() => decodeChecksums(Buffer.from(`${changed.join('\n')}\n`), id), isDamage, what);
  assert.throws(() => decodeChecksums(bytes.subarray(0, -1), id), isDamage);
  fuzz(bytes, (changed) => {
    const decoded = decodeChecksums(changed, id);
    assert.deepEqual(Buffer.from(encodeChecksums(id, decoded)), Buffer.from(changed), 'one form only');
  });
});

test('index objects come back from pieces of any size', () => {
  const packs = [0, 1, 1023, 1024, 1025, 3000].map((count, index): IndexedPack => {
    const blobs = new BlobList();
    for (let blob = 0; blob < count; blob++)
      blobs.add(createHash('sha256').update(`${index} ${blob}`).digest(), 1 + blob * 7);
    return {
      pack: digest(`pack ${index}`),
      kind: index % 2 ? 'tree' : 'content',
      sizeBytes: index * 1000,
      blobs,
    };
  });
  const bytes = Buffer.concat(packs.flatMap((pack) => [...encodeIndexedPack(pack)]));
  for (const step of [1000, 65_536, bytes.length]) {
    const found: IndexedPack[] = [];
    const decoder = new IndexDecoder('index', (pack) => found.push(pack));
    for (let at = 0; at < bytes.length; at += step) decoder.push(bytes.subarray(at, at + step));
    decoder.finish();
    assert.deepEqual(
      found.map(({ pack, kind, sizeBytes, blobs }) => [pack, kind, sizeBytes, Buffer.from(blobs.bytes)]),
      packs.map(({ pack, kind, sizeBytes, blobs }) => [pack, kind, sizeBytes, Buffer.from(blobs.bytes)]),
    );
  }
  const decode = (changed: Uint8Array): void => {
    const decoder = new IndexDecoder('index', () => undefined);
    decoder.push(changed);
    decoder.finish();
  };
  assert.throws(() => decode(bytes.subarray(0, -1)), isDamage);
  assert.throws(() => decode(Buffer.alloc(2_000_000, 0x20)), isDamage);
  fuzz(
    Buffer.concat([
      ...encodeIndexedPack({
        ...packs[2]!,
        blobs: BlobList.fromBytes(packs[2]!.blobs.bytes.subarray(0, 36 * 3)),
      }),
    ]),
    decode,
  );
});

test('the host configuration comes back; a wrong one is refused without an echo of its secrets', () => {
  const configuration: HostConfiguration = {
    repository: 'sftp://backup@vault/repo',
    repositoryId: repository,
    name: 'web1.example.org',
    recipients: ['age1xyz', 'ssh-ed25519 AAAA'],
    signingKey: '/root/.config/salvage/signing',
    indexKey: 'AGE-SECRET-KEY-1SECRET',
    chunkerSeed: randomBytes(32),
  };
  const bytes = encodeHostConfiguration(configuration);
  assert.deepEqual(decodeHostConfiguration(bytes, '/x'), configuration);
  for (const changed of [
    Buffer.from(bytes).toString().replace('"AGE-', '"age-'),
    '{"indexKey":"AGE-SECRET-KEY-1SECRET"',
    '{}',
  ])
    assert.throws(
      () => decodeHostConfiguration(Buffer.from(changed), '/x'),
      (error) =>
        error instanceof SalvageError &&
        error.code === 'usage' &&
        !error.message.includes('SECRET') &&
        error.cause === undefined,
    );
});
