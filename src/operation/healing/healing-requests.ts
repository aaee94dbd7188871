import { toHex } from '../../bytes/bytes.ts';
import { randomBytes } from '../../clock/random.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { damagedObject } from '../../repository/damage.ts';
import {
  decodeHealingRequest,
  encodeHealingRequest,
  mostPacksInRequest,
  type HealingRequest,
} from '../../repository/healing-request.ts';
import { timeStamp, type PackId, type RepositoryId } from '../../repository/ids.ts';
import { healingFileName, healingPrefix, roleOf, type HealingRequestId } from '../../repository/layout.ts';
import { limits } from '../../repository/limits.ts';
import { parsePublicKeyLine } from '../../ssh/public-key.ts';
import { signDocument, type Signer } from '../../ssh/signer.ts';
import { maxSshsigBytes } from '../../ssh/sshsig.ts';
import type { Storage } from '../../storage/storage.ts';
import { checkDocumentSignature, type TrustedSigners } from '../reading/document-signature.ts';
import { readRequired } from '../reading/read-object.ts';

const healingNamespace = 'salvage-healing';

/** A host looks at so many, the newest first: whoever may create objects could store any number. */
const mostRequests = 256;

/** A request as it is stored: two objects of the repository, wherever they are carried through. */
export interface SignedRequest {
  readonly name: string;
  readonly document: Uint8Array;
  readonly signatureName: string;
  readonly armored: Uint8Array;
}

/** Requests that name these packs, as few as there can be. @throws bad-key */
export async function signHealingRequests(
  repository: RepositoryId,
  packs: readonly PackId[],
  time: Date,
  signer: Signer,
): Promise<SignedRequest[]> {
  const requests: SignedRequest[] = [];
  for (let first = 0; first < packs.length; first += mostPacksInRequest) {
    const named = packs.slice(first, first + mostPacksInRequest);
    const id = { stamp: timeStamp(time), random: toHex(randomBytes(4)) };
    const document = encodeHealingRequest({ repository, time: time.toISOString(), packs: named });
    const armored = await signDocument(signer, healingNamespace, document);
    requests.push({
      name: healingFileName(id, 'json'),
      document,
      signatureName: healingFileName(id, 'json.sig'),
      armored,
    });
  }
  return requests;
}

/** Durable when this returns. @throws failed */
export async function storeHealingRequest(
  storage: Storage,
  { name, document, signatureName, armored }: SignedRequest,
  signal?: AbortSignal,
): Promise<void> {
  await storage.create(name, [document], signal);
  await storage.settle(signal);
  await storage.create(signatureName, [armored], signal);
  await storage.settle(signal);
}

/** What trusted auditors have asked for. */
export interface RequestedHealing {
  readonly packs: ReadonlySet<PackId>;
  /** Why requests are not acted on, one sentence each. */
  readonly refused: readonly string[];
}

/**
 * Reads the requests in a repository, believing those that one of `auditors` has signed: public keys as in a .pub file.
 * Asks storage for nothing if there are none.
 * A request that cannot be read keeps no host from backing up.
 * @throws failed if storage cannot list
 */
export async function readHealingRequests(
  storage: Storage,
  repository: RepositoryId,
  auditors: readonly string[],
  now: Date,
  signal?: AbortSignal,
): Promise<RequestedHealing> {
  const packs = new Set<PackId>();
  const refused: string[] = [];
  if (auditors.length === 0) return { packs, refused };
  const trusted = trustedAuditors(auditors);
  const ids = await listRequests(storage, signal);
  if (ids.length > mostRequests)
    refused.push(
      `${ids.length - mostRequests} of ${ids.length} requests for healing were not looked at: the ${mostRequests} newest are`,
    );
  for (const id of ids.slice(-mostRequests).toReversed()) {
    try {
      const request = await readRequest(storage, id, trusted, now, signal);
      if (request.repository !== repository)
        throw damagedObject(
          healingFileName(id, 'json'),
          `it is for another repository, ${request.repository}`,
        );
      for (const pack of request.packs) packs.add(pack);
    } catch (error) {
      if (!(error instanceof SalvageError) || error.code === 'interrupted') throw error;
      refused.push(error.message);
    }
  }
  return { packs, refused };
}

function trustedAuditors(auditors: readonly string[]): TrustedSigners {
  const principal = 'auditor';
  const allowedSigners = auditors.flatMap((text, index) => {
    const key = parsePublicKeyLine(text)?.key;
    if (!key) return [];
    return [
      {
        principals: principal,
        key,
        certAuthority: false,
        namespaces: healingNamespace,
        validAfter: undefined,
        validBefore: undefined,
        line: index + 1,
      },
    ];
  });
  return { allowedSigners, principal };
}

/** Those that have a signature, the oldest first. */
async function listRequests(storage: Storage, signal: AbortSignal | undefined): Promise<HealingRequestId[]> {
  const documents = new Set<string>();
  const signed: HealingRequestId[] = [];
  for await (const { name } of storage.list(healingPrefix, signal)) {
    const role = roleOf(name);
    if (role?.kind !== 'healing') continue;
    if (role.file === 'json') documents.add(name);
    else signed.push(role.id);
  }
  return signed
    .filter((id) => documents.has(healingFileName(id, 'json')))
    .sort((a, b) => (healingFileName(a, 'json') < healingFileName(b, 'json') ? -1 : 1));
}

async function readRequest(
  storage: Storage,
  id: HealingRequestId,
  trusted: TrustedSigners,
  now: Date,
  signal: AbortSignal | undefined,
): Promise<HealingRequest> {
  const name = healingFileName(id, 'json');
  const signatureName = healingFileName(id, 'json.sig');
  const [document, armored] = await Promise.all([
    readRequired(storage, name, limits.healingRequest, signal),
    readRequired(storage, signatureName, 2 * maxSshsigBytes, signal),
  ]);
  checkDocumentSignature(
    {
      what: `the request for healing "${name}"`,
      signatureName,
      namespace: healingNamespace,
      document,
      armored,
    },
    trusted,
    now,
  );
  return decodeHealingRequest(document, id);
}
