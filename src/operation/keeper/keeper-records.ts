import { SalvageError } from '../../errors/salvage-error.ts';
import { damagedObject } from '../../repository/damage.ts';
import { sequenceOf, timeStamp, type ObjectDigest, type RepositoryId } from '../../repository/ids.ts';
import {
  decodeKeeperRecord,
  encodeKeeperRecord,
  type ForgottenSnapshot,
  type KeeperAct,
  type KeeperRecord,
} from '../../repository/keeper-record.ts';
import { keeperFileName, type KeeperRecordId } from '../../repository/layout.ts';
import { limits } from '../../repository/limits.ts';
import { checksumsDigest } from '../../repository/snapshot/checksums.ts';
import { signDocument, type Signer } from '../../ssh/signer.ts';
import { maxSshsigBytes, parseSshsig } from '../../ssh/sshsig.ts';
import type { Storage } from '../../storage/storage.ts';
import { checkDocumentSignature, type TrustedSigners } from '../reading/document-signature.ts';
import { prefetch } from '../copy/prefetch.ts';
import { readRequired } from '../reading/read-object.ts';
import { listKeeperRecords } from './removal-marks.ts';

export const keeperNamespace = 'salvage-keeper';
/** What a restorer signs: its key need not be one that may sign away snapshots. */
export const rewrapNamespace = 'salvage-rewrap';

/** Records that are on their way while one is looked at. Few are large. */
const recordsAhead = 4;

/** A record that a trusted keeper signed. */
export interface TrustedRecord {
  readonly id: KeeperRecordId;
  readonly record: KeeperRecord;
  /** SHA-256 of the record: the next one names it as `previous`. */
  readonly digest: ObjectDigest;
}

/** Something about the records that is not as it should be. */
export interface KeeperProblem {
  readonly kind: 'forged' | 'damaged' | 'missing' | 'forked' | 'unreadable';
  /** One whole sentence. */
  readonly message: string;
  readonly object?: string;
}

/** What trusted keepers say they did with a repository. */
export interface KeeperHistory {
  /** In order. One for each number, where there are more: the one that goes on from the record before. */
  readonly records: readonly TrustedRecord[];
  readonly problems: readonly KeeperProblem[];
}

/**
 * Reads the records, believing only what a trusted keeper signed, and checks that they form one chain. Problems are
 * collected, they do not stop it.
 * @throws failed if storage cannot list; interrupted
 */
export async function readKeeperHistory(
  storage: Storage,
  repository: RepositoryId,
  trusted: TrustedSigners,
  signal?: AbortSignal,
): Promise<KeeperHistory> {
  const problems: KeeperProblem[] = [];
  const found: TrustedRecord[] = [];
  let notBefore = new Date(0);
  const ids = await listKeeperRecords(storage, signal);
  const load = (id: KeeperRecordId): Promise<StoredRecord | SalvageError> =>
    readStoredRecord(storage, id, signal);
  for await (const [id, stored] of prefetch(ids, recordsAhead, load)) {
    signal?.throwIfAborted();
    try {
      if (stored instanceof SalvageError) throw stored;
      const record = checkRecord(stored, id, repository, trusted, notBefore);
      found.push(record);
      const time = new Date(record.record.time);
      if (time > notBefore) notBefore = time;
    } catch (error) {
      problems.push(asProblem(error, keeperFileName(id, 'json')));
    }
  }
  return { records: chainOf(found, problems), problems };
}

interface StoredRecord {
  readonly document: Uint8Array;
  readonly armored: Uint8Array;
}

/** An error of this record is a value: it is told when its turn comes. @throws what is no error of ours */
async function readStoredRecord(
  storage: Storage,
  id: KeeperRecordId,
  signal: AbortSignal | undefined,
): Promise<StoredRecord | SalvageError> {
  try {
    const [document, armored] = await Promise.all([
      readRequired(storage, keeperFileName(id, 'json'), limits.keeperRecord, signal),
      readRequired(storage, keeperFileName(id, 'json.sig'), 2 * maxSshsigBytes, signal),
    ]);
    return { document, armored };
  } catch (error) {
    if (error instanceof SalvageError && error.code !== 'interrupted') return error;
    throw error;
  }
}

/** @throws bad-signature, damaged */
function checkRecord(
  { document, armored }: StoredRecord,
  id: KeeperRecordId,
  repository: RepositoryId,
  trusted: TrustedSigners,
  notBefore: Date,
): TrustedRecord {
  const name = keeperFileName(id, 'json');
  const signatureName = keeperFileName(id, 'json.sig');
  // As with snapshots: whoever stole a key that has run out cannot date a forgery back.
  const time = stampTime(id);
  // What it says is looked at once the signature is known to be good for that.
  const namespace = namespaceOfSignature(armored);
  checkDocumentSignature(
    { what: `the keeper's record "${name}"`, signatureName, namespace, document, armored },
    trusted,
    time > notBefore ? time : notBefore,
  );
  const record = decodeKeeperRecord(document, id);
  if (namespaceOf(record) !== namespace)
    throw new SalvageError(
      'bad-signature',
      `Cannot trust the keeper's record "${name}": its signature was made for "${namespace}" and not for "${namespaceOf(record)}"`,
      { details: { object: signatureName } },
    );
  if (record.repository !== repository)
    throw damagedObject(name, `it is of another repository, ${record.repository}`);
  return { id, record, digest: checksumsDigest(document) };
}

function namespaceOf({ action }: Pick<KeeperAct, 'action'>): string {
  return action === 'rewrapped' ? rewrapNamespace : keeperNamespace;
}

/** One of the two that a record may be signed in; which one it must be is told by the record. */
function namespaceOfSignature(armored: Uint8Array): string {
  try {
    return parseSshsig(armored).namespace === rewrapNamespace ? rewrapNamespace : keeperNamespace;
  } catch (error) {
    // A signature that is none is told of where it is checked.
    if (error instanceof SalvageError) return keeperNamespace;
    throw error;
  }
}

/** The records that follow one another, from the first; what breaks the chain is told. */
function chainOf(found: readonly TrustedRecord[], problems: KeeperProblem[]): TrustedRecord[] {
  const chain: TrustedRecord[] = [];
  for (let at = 0; at < found.length;) {
    const { number } = found[at]!.id;
    const before = chain.at(-1);
    const expected = (before?.id.number ?? 0) + 1;
    if (number > expected)
      problems.push({
        kind: 'missing',
        message:
          number === expected + 1
            ? `The keeper's record number ${expected} is missing.`
            : `The keeper's records number ${expected} to ${number - 1} are missing.`,
      });
    const alike: TrustedRecord[] = [];
    while (found[at]?.id.number === number) alike.push(found[at++]!);
    const next =
      alike.find(({ record }) => number > expected || record.previous === (before?.digest ?? null)) ??
      alike[0]!;
    if (alike.length > 1 || (number === expected && next.record.previous !== (before?.digest ?? null)))
      problems.push({
        kind: 'forked',
        object: keeperFileName(next.id, 'json'),
        message:
          alike.length > 1
            ? `Keepers have signed ${alike.length} records with the number ${number}: their chain is forked.`
            : `The keeper's record number ${number} does not go on from the one before it: their chain is forked.`,
      });
    chain.push(next);
  }
  return chain;
}

function asProblem(error: unknown, object: string): KeeperProblem {
  if (!(error instanceof SalvageError) || error.code === 'interrupted') throw error;
  const { code, message } = error;
  const kind = code === 'bad-signature' ? 'forged' : code === 'damaged' ? 'damaged' : 'unreadable';
  return { kind, object, message };
}

/** What was removed on purpose, by sequence number. */
export function forgottenSnapshots(records: readonly TrustedRecord[]): Map<number, ForgottenSnapshot> {
  const forgotten = new Map<number, ForgottenSnapshot>();
  for (const { record } of records)
    if (record.action === 'forget')
      for (const snapshot of record.snapshots) forgotten.set(sequenceOf(snapshot.id), snapshot);
  return forgotten;
}

export interface RecordToWrite {
  readonly repository: RepositoryId;
  /** The newest record, which this one goes on from. */
  readonly newest: TrustedRecord | undefined;
  readonly time: Date;
  /** Of the records before. */
  readonly open: readonly number[];
  /** True if the new one is to be open as well. */
  readonly isOpen: boolean;
  readonly act: KeeperAct;
}

/**
 * Signs and stores the next record; it is durable when this returns, and what it says may be done.
 * @throws bad-key, failed
 */
export async function writeKeeperRecord(
  storage: Storage,
  { repository, newest, time, open, isOpen, act }: RecordToWrite,
  signer: Signer,
  signal?: AbortSignal,
): Promise<TrustedRecord> {
  const number = (newest?.id.number ?? 0) + 1;
  // A run that was ended here within the same second has left a file without signature under the name.
  for (let second = 0; second < 60; second++) {
    const when = new Date(time.getTime() + second * 1000);
    const id = { number, stamp: timeStamp(when) };
    const record: KeeperRecord = {
      format: 'salvage-keeper',
      version: 1,
      repository,
      number,
      time: when.toISOString(),
      previous: newest?.digest ?? null,
      open: isOpen ? [...open, number] : open,
      ...act,
    };
    const document = encodeKeeperRecord(record);
    const armored = await signDocument(signer, namespaceOf(act), document);
    if ((await storage.create(keeperFileName(id, 'json'), [document], signal)) === 'exists') continue;
    await storage.settle(signal);
    await storage.create(keeperFileName(id, 'json.sig'), [armored], signal);
    await storage.settle(signal);
    return { id, record, digest: checksumsDigest(document) };
  }
  throw new SalvageError(
    'failed',
    `Cannot store the keeper's record number ${number}: records of this time are there already`,
    {
      hint: 'Only one keeper may work on a repository; look at the folder "keeper" in it.',
    },
  );
}

function stampTime({ stamp }: KeeperRecordId): Date {
  const [, year, month, day, hour, minute, second] = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z$/.exec(
    stamp,
  )!;
  const time = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  // A name of no time is refused with the record, which cannot have it either.
  return Number.isNaN(time.getTime()) ? new Date(0) : time;
}
