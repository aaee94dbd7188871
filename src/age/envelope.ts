import { SalvageError } from '../errors/salvage-error.ts';
import { fileKeyBytes, generateFileKey } from './file-key.ts';
import { encodeHeader, verifyHeaderMac } from './header.ts';
import type { Header } from './header.ts';
import type { Identity, Recipient } from './recipient.ts';
import { checkScryptStandsAlone } from './scrypt.ts';
import type { Stanza } from './stanza.ts';

/** The secret of a new file and the header that hands it to the recipients. */
export interface Envelope {
  /** For one payload only. */
  readonly fileKey: Uint8Array;
  readonly header: Uint8Array;
}

/**
 * A new file key, wrapped for every recipient.
 * @throws bad-key if there is no recipient, or if they may not stand in one file (C2SP age-plugin.md "labels")
 */
export async function createEnvelope(recipients: readonly Recipient[]): Promise<Envelope> {
  const fileKey = generateFileKey();
  return { fileKey, header: await wrapAgain(fileKey, recipients) };
}

/**
 * A header that hands the secret of a file to these recipients; before the payload of the same file it makes a file of the
 * same content for them. @throws as `createEnvelope`
 */
export async function wrapAgain(
  fileKey: Uint8Array,
  recipients: readonly Recipient[],
): Promise<Uint8Array<ArrayBuffer>> {
  if (recipients.length === 0)
    throw new SalvageError('bad-key', 'Cannot encrypt: no recipient is given', {
      hint: 'Name at least one public key, with -r or in a file with -R.',
    });
  const stanzas: Stanza[] = [];
  let labels: string[] | undefined;
  for (const recipient of recipients) {
    const wrapped = await recipient.wrapFileKey(fileKey);
    const own = [...new Set(wrapped.labels)].sort();
    labels ??= own;
    if (own.join('\n') !== labels.join('\n')) throw incompatible(labels, own);
    stanzas.push(...wrapped.stanzas);
  }
  return encodeHeader(stanzas, fileKey);
}

/**
 * The file key, or undefined if no identity fits. Identities that may ask a human are tried last. One
 * that cannot be used (bad-key) counts only if no other fits.
 * @throws age-header if a stanza meant for an identity is malformed, age-hmac if the header was altered, and whatever an
 *   identity throws that cannot be used
 */
export async function openEnvelope(
  header: Header,
  identities: readonly Identity[],
): Promise<Uint8Array | undefined> {
  checkScryptStandsAlone(header.stanzas);
  const quietFirst = identities.toSorted(
    (a, b) => Number(a.interactive ?? false) - Number(b.interactive ?? false),
  );
  let unusable: SalvageError | undefined;
  for (const identity of quietFirst) {
    let fileKey: Uint8Array | undefined;
    try {
      fileKey = await identity.unwrapFileKey(header.stanzas);
    } catch (error) {
      // A plugin that is missing or a token that was left at home must not keep the next identity from being tried.
      if (!(error instanceof SalvageError) || error.code !== 'bad-key') throw error;
      unusable ??= error;
      continue;
    }
    if (!fileKey) continue;
    if (fileKey.length !== fileKeyBytes)
      throw new SalvageError(
        'age-header',
        `Cannot read the age header: its file key has not ${fileKeyBytes} bytes`,
      );
    if (!verifyHeaderMac(header, fileKey))
      throw new SalvageError('age-hmac', 'Cannot trust the age header: it was changed after it was written');
    return fileKey;
  }
  if (unusable) throw unusable;
  return undefined;
}

/** `openEnvelope` where nothing can be done without a key. @throws no-identity-match as well */
export async function openEnvelopeOrThrow(
  header: Header,
  identities: readonly Identity[],
): Promise<Uint8Array> {
  const fileKey = await openEnvelope(header, identities);
  if (fileKey) return fileKey;
  throw new SalvageError('no-identity-match', 'Cannot decrypt the file: no identity opens it', {
    hint: 'Name the private key that belongs to one of its recipients, with -i; for a passphrase, check its spelling.',
    details: { stanzaTypes: [...new Set(header.stanzas.map(({ type }) => type))].join(' ') },
  });
}

function incompatible(a: readonly string[], b: readonly string[]): SalvageError {
  const state = [...a, ...b].some((label) => label.startsWith('scrypt '))
    ? 'a passphrase must be the only recipient of its file'
    : [a, b].some((labels) => labels.includes('postquantum'))
      ? 'post-quantum (age1pq…, age1tagpq…) and classic ones cannot be mixed in one file, which would be only as safe as the weaker of them'
      : 'their plugins demand that they are not mixed';
  return new SalvageError('bad-key', `Cannot encrypt to these recipients together: ${state}`, {
    hint: 'Use recipients of one kind, or encrypt twice.',
  });
}
