import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ObjectDigest, RepositoryId, SnapshotId } from './ids.ts';
import { decodeKeeperRecord, encodeKeeperRecord, type KeeperRecord } from './keeper-record.ts';

const digest = 'ab'.repeat(32) as ObjectDigest;
const id = { number: 3, stamp: '20261123T101500Z' };
const common = {
  format: 'salvage-keeper',
  version: 1,
  repository: 'cd'.repeat(16) as RepositoryId,
  number: 3,
  time: '2026-11-23T10:15:00.250Z',
  previous: digest,
  open: [2, 3],
} as const;
const snapshot = '00000001-20261123T100000Z-00000000' as SnapshotId;
const records: readonly KeeperRecord[] = [
  { ...common, action: 'forget', snapshots: [{ id: snapshot, checksums: digest, previous: null }] },
  { ...common, action: 'mark', packs: [digest], indexes: [], unfinished: [snapshot] },
  { ...common, action: 'sweep', mark: 2, packs: [], indexes: [digest], unfinished: [] },
];

test('records come back as they were written', () => {
  for (const record of records) assert.deepEqual(decodeKeeperRecord(encodeKeeperRecord(record), id), record);
});

test('what is not a record is refused by name', () => {
  const [forget, mark, sweep] = records as [KeeperRecord, KeeperRecord, KeeperRecord];
  const refused: readonly object[] = [
    { ...mark, number: 4 },
    { ...mark, time: '2026-11-23T10:15:01Z' },
    { ...mark, previous: null },
    { ...mark, open: [3, 2] },
    { ...mark, open: [2, 2] },
    { ...mark, open: [4] },
    { ...mark, open: [0] },
    { ...mark, packs: ['../../etc/passwd'] },
    { ...mark, packs: [digest.toUpperCase()] },
    { ...mark, unfinished: ['00000000-20261123T100000Z-00000000'] },
    { ...mark, snapshots: [] },
    { ...mark, action: 'wipe' },
    { ...mark, more: 1 },
    { ...mark, version: 2 },
    { ...sweep, mark: 3 },
    { ...forget, snapshots: [{ id: snapshot, checksums: digest, previous: digest }] },
    { ...forget, snapshots: [{ id: snapshot, checksums: digest }] },
    { ...forget, snapshots: 'all' },
  ];
  for (const record of refused)
    assert.throws(
      () => decodeKeeperRecord(encodeKeeperRecord(record as KeeperRecord), id),
      /Cannot trust "keeper\/00000003-20261123T101500Z\.json"/,
      JSON.stringify(record),
    );
  assert.throws(() => decodeKeeperRecord(Buffer.alloc(33 * 2 ** 20, ' '), id), /bytes where/);
});
