import * as v from 'valibot';
import { SalvageError } from '../errors/salvage-error.ts';
import { chunkerSeedBytes } from '../chunker/chunker.ts';
import type { RepositoryId } from './ids.ts';
import { encodeJson, decodeJson, repositoryIdSchema } from './json-document.ts';

/** How long what a snapshot needs stays locked after it was made, where storage has locks. */
export interface LockPolicy {
  /** Compliance: nobody can end a lock before its time. Governance: whoever holds a special right can. */
  readonly mode: 'compliance' | 'governance';
  /** Whole ones, from 1 on. */
  readonly days: number;
}

/** The recipients were others before. */
export interface RecipientChange {
  /** The number of the first snapshot that was made after it. */
  readonly since: number;
  /** As written for -r. */
  readonly added: readonly string[];
  readonly retired: readonly string[];
}

/**
 * What a host knows of a repository that it backs up to; a file of mode 0600 on the host, never in the repository. Its
 * secrets (index key, chunker seed, and the signing key that it names) open no content.
 */
export interface HostConfiguration {
  /** URL of the storage. */
  readonly repository: string;
  readonly repositoryId: RepositoryId;
  /** The principal under which verifiers list this host's signing key. */
  readonly name: string;
  /** As written for -r: age1…, ssh-ed25519 …. All of one label set. */
  readonly recipients: readonly string[];
  /** In order; of the first recipients nothing is said. */
  readonly recipientChanges?: readonly RecipientChange[];
  /** Absolute path of an OpenSSH private key. */
  readonly signingKey: string;
  /** AGE-SECRET-KEY-…: of the recipients' kind, since age does not mix post-quantum and classic ones in one file. */
  readonly indexKey: string;
  readonly chunkerSeed: Uint8Array;
  /** Public keys, as in a .pub file, of whose requests for healing this host acts on. */
  readonly auditors?: readonly string[];
  /** In no object of the repository: what an attacker can write must not shorten a lock. */
  readonly lock?: LockPolicy;
}

const maxBytes = 16 * 1024 * 1024;
const line = v.pipe(v.string(), v.regex(/^[^\n\r\0]+$/));
const schema = v.strictObject({
  format: v.literal('salvage-host'),
  version: v.literal(1),
  repository: line,
  repositoryId: repositoryIdSchema,
  name: v.pipe(v.string(), v.regex(/^[A-Za-z0-9][A-Za-z0-9._@-]{0,252}$/)),
  recipients: v.pipe(v.array(line), v.minLength(1)),
  recipientChanges: v.optional(
    v.array(
      v.strictObject({
        since: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
        added: v.array(line),
        retired: v.array(line),
      }),
    ),
  ),
  signingKey: line,
  indexKey: v.pipe(v.string(), v.regex(/^AGE-SECRET-KEY-[A-Z0-9-]+$/)),
  chunkerSeed: v.pipe(v.string(), v.regex(/^[A-Za-z0-9+/]{43}=$/)),
  auditors: v.optional(v.pipe(v.array(line), v.maxLength(64))),
  lock: v.optional(
    v.strictObject({
      mode: v.picklist(['compliance', 'governance']),
      days: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
    }),
  ),
});

export function encodeHostConfiguration(configuration: HostConfiguration): Uint8Array<ArrayBuffer> {
  const { repository, repositoryId, name, recipients, recipientChanges, signingKey, indexKey, chunkerSeed } =
    configuration;
  const { auditors, lock } = configuration;
  if (chunkerSeed.length !== chunkerSeedBytes) throw new RangeError('a chunker seed has 32 bytes');
  return encodeJson({
    format: 'salvage-host',
    version: 1,
    repository,
    repositoryId,
    name,
    recipients,
    ...(recipientChanges && { recipientChanges }),
    signingKey,
    indexKey,
    chunkerSeed: Buffer.from(chunkerSeed).toString('base64'),
    ...(auditors && { auditors }),
    ...(lock && { lock }),
  });
}

/** @throws usage if this is no host configuration; its content is not echoed, for it holds secrets */
export function decodeHostConfiguration(bytes: Uint8Array, path: string): HostConfiguration {
  try {
    const decoded = decodeJson(schema, bytes, maxBytes, path);
    const { format: _, version: __, chunkerSeed, lock, recipientChanges, auditors, ...rest } = decoded;
    return {
      ...rest,
      chunkerSeed: Buffer.from(chunkerSeed, 'base64'),
      ...(recipientChanges && { recipientChanges }),
      ...(auditors && { auditors }),
      ...(lock && { lock }),
    };
  } catch (error) {
    if (!(error instanceof SalvageError)) throw error;
    // A schema's message quotes what it found, a JSON parser's too.
    throw new SalvageError('usage', `Cannot use the host configuration "${path}": it is not a valid one`, {
      hint: 'Write it anew with salvage init --adopt.',
    });
  }
}
