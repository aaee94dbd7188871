import { toHex } from '../bytes/bytes.ts';
import type { Clock } from '../clock/clock.ts';
import { randomBytes } from '../clock/random.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { decodeHandover, encodeHandover, type Handover } from '../repository/handover.ts';
import { timeStamp, type RepositoryId } from '../repository/ids.ts';
import {
  handoverFileName,
  handoverPrefix,
  roleOf,
  snapshotFileName,
  type HandoverId,
  type KeeperFile,
} from '../repository/layout.ts';
import { limits } from '../repository/limits.ts';
import { checksumsDigest } from '../repository/snapshot/checksums.ts';
import { authorizeSigner } from '../ssh/allowed-signers.ts';
import { fingerprint, formatPublicKey, parsePublicKeyLine, type PublicKey } from '../ssh/public-key.ts';
import { signDocument, type Signer } from '../ssh/signer.ts';
import { maxSshsigBytes } from '../ssh/sshsig.ts';
import type { Storage } from '../storage/storage.ts';
import { listSnapshots } from './open-repository.ts';
import { checkDocumentSignature, type TrustedSigners } from './reading/document-signature.ts';
import { readRequired } from './reading/read-object.ts';
import { snapshotNamespace } from './reading/signed-snapshot.ts';

const handoverNamespace = 'salvage-handover';

/** Nobody has reason to rotate a key so often: what is more is somebody else's. */
const mostHandovers = 64;
/** Whoever may create objects can store any number. */
const mostLooks = 1024;

export interface HandoverOptions {
  readonly storage: Storage;
  readonly repository: RepositoryId;
  readonly host: string;
  readonly oldSigner: Signer;
  readonly newKey: PublicKey;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Stores, signed with the old key, that the host signs with the new one from now on. @throws bad-key, failed */
export async function writeHandover(options: HandoverOptions): Promise<Handover> {
  const { storage, repository, host, oldSigner, newKey, clock, signal } = options;
  const newest = (await listSnapshots(storage, signal)).committed.at(-1)?.id;
  const list =
    newest && (await readRequired(storage, snapshotFileName(newest, 'SHA256SUMS'), limits.checksums, signal));
  const time = new Date(Math.floor(clock.now().getTime() / 1000) * 1000);
  const handover: Handover = {
    repository,
    host,
    time: time.toISOString(),
    after: newest && list ? { id: newest, checksums: checksumsDigest(list) } : null,
    oldKey: formatPublicKey(oldSigner.publicKey),
    newKey: formatPublicKey(newKey),
  };
  const document = encodeHandover(handover);
  const armored = await signDocument(oldSigner, handoverNamespace, document);
  const id = `${timeStamp(time)}-${toHex(randomBytes(4))}`;
  await storage.create(handoverFileName(id, 'json'), [document], signal);
  await storage.settle(signal);
  await storage.create(handoverFileName(id, 'json.sig'), [armored], signal);
  await storage.settle(signal);
  return handover;
}

/** A hand-over that was signed with its old key. It is something to be told, and nothing to be believed by itself. */
export interface FoundHandover extends Handover {
  readonly oldFingerprint: string;
  readonly newFingerprint: string;
  /** The verifier lists the old key for this host, and it was valid then. */
  readonly isOldTrusted: boolean;
  /** The verifier lists the new key for this host already. */
  readonly isNewTrusted: boolean;
  /** What would make a verifier take the old key up to the hand-over, and the new one from then on. */
  readonly allowedSigners: readonly string[];
}

/** With the bytes of its two objects. */
export interface StoredHandover {
  readonly id: HandoverId;
  readonly handover: FoundHandover;
  readonly document: Uint8Array;
  readonly armored: Uint8Array;
}

/**
 * The hand-overs of this repository, in order; what is none, or is not signed with its old key, is passed over. Those of a
 * key that the verifier does not list take no room from the others.
 * @throws failed
 */
export async function readHandovers(
  storage: Storage,
  repository: RepositoryId,
  trusted: TrustedSigners,
  signal?: AbortSignal,
): Promise<FoundHandover[]> {
  const found = await readStoredHandovers(storage, repository, trusted, signal);
  return found.map(({ handover }) => handover);
}

/** As `readHandovers`. @throws failed */
export async function readStoredHandovers(
  storage: Storage,
  repository: RepositoryId,
  trusted: TrustedSigners,
  signal?: AbortSignal,
): Promise<StoredHandover[]> {
  const files = new Map<HandoverId, Set<KeeperFile>>();
  for await (const { name } of storage.list(handoverPrefix, signal)) {
    const role = roleOf(name);
    if (role?.kind === 'handover')
      files.set(role.id, (files.get(role.id) ?? new Set<KeeperFile>()).add(role.file));
  }
  const found: StoredHandover[] = [];
  const room = { trusted: mostHandovers, unknown: mostHandovers };
  const whole = [...files].filter(([, there]) => there.size === 2).map(([id]) => id);
  for (const id of whole.slice(0, mostLooks)) {
    try {
      const stored = await readHandover(storage, id, trusted, signal);
      const { repository: of, host, isOldTrusted } = stored.handover;
      if (of !== repository || host !== trusted.principal) continue;
      if (room[isOldTrusted ? 'trusted' : 'unknown']-- > 0) found.push(stored);
    } catch (error) {
      if (!(error instanceof SalvageError) || !['damaged', 'bad-signature', 'bad-key'].includes(error.code))
        throw error;
    }
  }
  return found;
}

async function readHandover(
  storage: Storage,
  id: HandoverId,
  trusted: TrustedSigners,
  signal: AbortSignal | undefined,
): Promise<StoredHandover> {
  const [document, armored] = await Promise.all([
    readRequired(storage, handoverFileName(id, 'json'), limits.handover, signal),
    readRequired(storage, handoverFileName(id, 'json.sig'), 2 * maxSshsigBytes, signal),
  ]);
  const handover = decodeHandover(document, id);
  const time = new Date(handover.time);
  const oldKey = parseKey(handover.oldKey);
  const newKey = parseKey(handover.newKey);
  const { principal } = trusted;
  const itself = {
    principals: principal,
    key: oldKey,
    certAuthority: false,
    namespaces: undefined,
    validAfter: undefined,
    validBefore: undefined,
    line: 0,
  };
  checkDocumentSignature(
    {
      what: `the hand-over "${handoverFileName(id, 'json')}"`,
      signatureName: handoverFileName(id, 'json.sig'),
      namespace: handoverNamespace,
      document,
      armored,
    },
    { allowedSigners: [itself], principal, ...(trusted.revoked && { revoked: trusted.revoked }) },
    time,
  );
  const stamp = timeStamp(time).replace('T', '');
  const found: FoundHandover = {
    ...handover,
    oldFingerprint: fingerprint(oldKey),
    newFingerprint: fingerprint(newKey),
    isOldTrusted: mayAlreadySign(trusted, oldKey, time),
    isNewTrusted: mayAlreadySign(trusted, newKey, time),
    allowedSigners: [
      `${principal} namespaces="${snapshotNamespace}",valid-before="${stamp}" ${handover.oldKey}`,
      `${principal} namespaces="${snapshotNamespace}",valid-after="${stamp}" ${handover.newKey}`,
    ],
  };
  return { id, handover: found, document, armored };
}

function mayAlreadySign(
  { allowedSigners, principal }: TrustedSigners,
  publicKey: PublicKey,
  time: Date,
): boolean {
  try {
    authorizeSigner(allowedSigners, { publicKey, principal, namespace: snapshotNamespace, time });
    return true;
  } catch (error) {
    if (error instanceof SalvageError && error.code === 'bad-signature') return false;
    throw error;
  }
}

function parseKey(text: string): PublicKey {
  const line = parsePublicKeyLine(text);
  if (!line) throw new SalvageError('damaged', 'Cannot read a hand-over: it names no key');
  return line.key;
}
