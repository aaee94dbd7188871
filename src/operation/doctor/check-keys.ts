import { readFileSync, statSync } from 'node:fs';
import { BinaryInput } from '../../age/binary-input.ts';
import {
  describeRecipient,
  describeSshKey,
  type RecipientDescription,
} from '../../age/describe-recipient.ts';
import { looksLikeAgeFile } from '../../age/encrypted-identity-file.ts';
import { parseHeader } from '../../age/header.ts';
import { HybridIdentity } from '../../age/hybrid.ts';
import { parseIdentityLines } from '../../age/identity-lines.ts';
import { parseRecipient } from '../../age/parse-recipient.ts';
import { parseLine, readTextLines } from '../../age/text-lines.ts';
import { X25519Identity } from '../../age/x25519.ts';
import { asBuffer, concatBytes } from '../../bytes/bytes.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { checkMode } from '../../keys/key-file.ts';
import { looksLikePrivateKey, parsePrivateKey } from '../../ssh/private-key.ts';
import { fingerprint, modulusBits, type PublicKey } from '../../ssh/public-key.ts';

/** What a key is for. */
export type KeyRole =
  | 'signs snapshots'
  | 'signs as keeper'
  | 'signs as restorer'
  | 'restores'
  | 'encrypts to';

/** A file of keys that somebody has set up. */
export interface ConfiguredKey {
  readonly role: KeyRole;
  readonly path: string;
  /** When a drill was last passed with it alone. RFC 3339. */
  readonly lastDrill: string | undefined;
}

/** What is known of a key without using it. */
export interface CheckedKey extends ConfiguredKey {
  readonly kind: string;
  readonly fingerprint: string | undefined;
  readonly strength: string;
  readonly traceable: RecipientDescription['traceable'] | undefined;
  /** "none", or what a guess costs: "bcrypt, 256 rounds", "scrypt, 2^18". Undefined for a public key. */
  readonly passphrase: string | undefined;
  /** Four octal digits. */
  readonly mode: string;
  /** Sentences that say what is wrong, and what mends it. */
  readonly problems: readonly string[];
}

type Facts = Pick<CheckedKey, 'kind' | 'strength'> &
  Partial<Pick<CheckedKey, 'fingerprint' | 'traceable' | 'passphrase'>> & {
    readonly problems?: readonly string[];
  };

const maxBytes = 1024 * 1024;
/** What ssh-keygen takes when it is not told otherwise is 16 to 24. */
const fewRounds = 64;

/** Looks at one key file; asks for no passphrase. One row for each key in it. What is wrong is told, not thrown. */
export function checkKeys(configured: ConfiguredKey): CheckedKey[] {
  const { path, role } = configured;
  const unknown = { fingerprint: undefined, traceable: undefined, passphrase: undefined, problems: [] };
  let mode = '';
  try {
    const status = statSync(path);
    mode = (status.mode & 0o7777).toString(8).padStart(4, '0');
    if (status.size > maxBytes) throw new SalvageError('bad-key', `"${path}" is too large for a key`);
    const bytes = readFileSync(path);
    const facts = readFacts(bytes, path, role);
    // As where keys are used: what age itself has encrypted may lie about.
    const mayLieAbout = facts.every(({ passphrase = 'scrypt' }) => passphrase.startsWith('scrypt'));
    const unsafe = mayLieAbout ? [] : problemsOf(() => checkMode(path, status));
    return facts.map((fact) => ({
      ...unknown,
      ...configured,
      ...fact,
      mode,
      problems: [...unsafe, ...(fact.problems ?? [])],
    }));
  } catch (error) {
    const isOurs = error instanceof SalvageError;
    if (!isOurs && (error as NodeJS.ErrnoException).code === undefined) throw error;
    const message = `${(error as Error).message}.`;
    return [{ ...unknown, ...configured, kind: 'unusable', strength: '', mode, problems: [message] }];
  }
}

function problemsOf(check: () => void): string[] {
  try {
    check();
    return [];
  } catch (error) {
    if (!(error instanceof SalvageError)) throw error;
    return [`${error.message}. ${error.hint ?? ''}`.trim()];
  }
}

function readFacts(bytes: Uint8Array, path: string, role: KeyRole): Facts[] {
  if (looksLikePrivateKey(bytes)) return [readSshKey(bytes, path, role)];
  if (looksLikeAgeFile(bytes)) return [readEncryptedIdentity(bytes)];
  if (/^AGE-(?:SECRET-KEY|PLUGIN)-/m.test(asBuffer(bytes).toString('latin1')))
    return readIdentities(bytes, path, role);
  return readTextLines(bytes, `recipients file "${path}"`).map((line) => {
    parseLine(
      line,
      `recipients file "${path}"`,
      (text) => /^age1[a-z0-9+._-]+1/.test(text) || parseRecipient(text),
    );
    const { postQuantum: _, ...described } = describeRecipient(line.text);
    return { ...described, problems: weaknesses(described) };
  });
}

function readSshKey(bytes: Uint8Array, path: string, role: KeyRole): Facts {
  const { publicKey, encrypted, bcryptRounds } = parsePrivateKey(bytes, path);
  const passphrase = !encrypted
    ? 'none'
    : bcryptRounds === undefined
      ? 'old PEM: one round'
      : `bcrypt, ${bcryptRounds} round${bcryptRounds === 1 ? '' : 's'}`;
  const described = publicKey
    ? describeAnySshKey(publicKey)
    : ({ kind: 'SSH key', strength: 'hidden' } satisfies Facts as Facts);
  const problems = weaknesses(described);
  if (encrypted && (bcryptRounds ?? 0) < fewRounds)
    problems.push(`Its passphrase is cheap to guess. Run: ssh-keygen -p -a 256 -f "${path}"`);
  if (!encrypted && role === 'restores') problems.push(openIdentity);
  const { traceable, ...rest } = described;
  // Only what encrypts leaves tags.
  return { ...rest, ...(role === 'restores' && traceable && { traceable }), passphrase, problems };
}

const openIdentity =
  'Whoever reads the file can restore. salvage encrypt -p keeps an identity file, ssh-keygen -p an SSH key under a passphrase.';

function describeAnySshKey(key: PublicKey): Facts {
  if (key.type === 'ssh-ed25519' || key.type === 'ssh-rsa') {
    const { postQuantum: _, ...described } = describeSshKey(key);
    return described;
  }
  const strength = 'modulus' in key ? `${modulusBits(key.modulus)} bits` : key.type.replace(/^.*nistp/, 'P-');
  return { kind: key.type, fingerprint: fingerprint(key), strength };
}

function weaknesses({ kind, strength }: Pick<Facts, 'kind' | 'strength'>): string[] {
  const bits = kind === 'ssh-rsa' ? Number(/\d+/.exec(strength)?.[0]) : Infinity;
  return bits < 3072
    ? [`RSA keys of ${bits} bits are too short for what is kept for years: make a new key.`]
    : [];
}

function readEncryptedIdentity(bytes: Uint8Array): Facts {
  const input = new BinaryInput();
  const { stanzas } = parseHeader(concatBytes([...input.push(bytes), ...input.finish()]));
  const [stanza] = stanzas;
  const logN = stanza?.type === 'scrypt' ? Number(stanza.args[1]) : Number.NaN;
  if (!Number.isSafeInteger(logN))
    throw new SalvageError('bad-key', 'It is encrypted, but not with a passphrase');
  return {
    kind: 'age identity, encrypted',
    strength: 'hidden by the passphrase',
    passphrase: `scrypt, 2^${logN}`,
    problems: logN < 15 ? ['Its passphrase is cheap to guess: encrypt it anew with salvage encrypt -p.'] : [],
  };
}

function readIdentities(bytes: Uint8Array, path: string, role: KeyRole): Facts[] {
  const plugin = { unwrapFileKey: () => undefined };
  const plugins = { identity: () => plugin };
  return parseIdentityLines(bytes, path, plugins).map((identity): Facts => {
    if (!(identity instanceof X25519Identity) && !(identity instanceof HybridIdentity))
      return {
        kind: 'plugin',
        strength: 'as its plugin has it',
        traceable: 'ask the plugin',
        passphrase: 'as its plugin has it',
      };
    const { postQuantum: _, ...described } = describeRecipient(identity.recipient.toString());
    return { ...described, passphrase: 'none', problems: role === 'restores' ? [openIdentity] : [] };
  });
}
