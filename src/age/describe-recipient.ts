import { createHash } from 'node:crypto';
import { SalvageError } from '../errors/salvage-error.ts';
import { fingerprint, modulusBits, parsePublicKeyLine, type PublicKey } from '../ssh/public-key.ts';

/** What can be told of a recipient by its text. */
export interface RecipientDescription {
  /** `SHA256:…`: of an SSH key as ssh-keygen shows it, of others over their text. */
  readonly fingerprint: string;
  readonly kind:
    | 'X25519'
    | 'post-quantum hybrid'
    | 'P-256 tag'
    | 'post-quantum tag'
    | 'ssh-ed25519'
    | 'ssh-rsa'
    | 'plugin';
  readonly postQuantum: boolean;
  /** One phrase. */
  readonly strength: string;
  /** Who can tell that a file is for it: by a tag that is the same in all of them, by knowing the public key, or nobody. */
  readonly traceable: 'by anybody' | 'by the public key' | 'no' | 'ask the plugin';
}

const native: readonly (readonly [prefix: string, Omit<RecipientDescription, 'fingerprint'>])[] = [
  [
    'age1pq1',
    {
      kind: 'post-quantum hybrid',
      postQuantum: true,
      strength: 'ML-KEM-768 and X25519, also against quantum computers',
      traceable: 'no',
    },
  ],
  [
    'age1tagpq1',
    {
      kind: 'post-quantum tag',
      postQuantum: true,
      strength: 'ML-KEM-768 and P-256, also against quantum computers',
      traceable: 'by the public key',
    },
  ],
  [
    'age1tag1',
    { kind: 'P-256 tag', postQuantum: false, strength: 'P-256, 128 bits', traceable: 'by the public key' },
  ],
];

/** @param text as written for -r, and valid */
export function describeRecipient(text: string): RecipientDescription {
  const ssh = /(?:^|\s)ssh-/.test(text) ? parsePublicKeyLine(text)?.key : undefined;
  if (ssh) return describeSshKey(ssh);
  const print = `SHA256:${createHash('sha256').update(text).digest('base64').replace(/=+$/, '')}`;
  const found = native.find(([prefix]) => text.startsWith(prefix));
  if (found) return { fingerprint: print, ...found[1] };
  if (/^age1[a-z0-9+._-]+1/.test(text))
    return {
      fingerprint: print,
      kind: 'plugin',
      postQuantum: false,
      strength: 'as its plugin has it',
      traceable: 'ask the plugin',
    };
  return {
    fingerprint: print,
    kind: 'X25519',
    postQuantum: false,
    strength: 'X25519, 128 bits',
    traceable: 'no',
  };
}

/** Of a key that can decrypt age files. @throws bad-key if it cannot */
export function describeSshKey(key: PublicKey): RecipientDescription {
  const common = { fingerprint: fingerprint(key), postQuantum: false, traceable: 'by anybody' } as const;
  if (key.type === 'ssh-ed25519') return { ...common, kind: 'ssh-ed25519', strength: 'Ed25519, 128 bits' };
  if (key.type === 'ssh-rsa' && 'modulus' in key)
    return { ...common, kind: 'ssh-rsa', strength: `RSA, ${modulusBits(key.modulus)} bits` };
  throw new SalvageError('bad-key', `Cannot encrypt to a key of the type "${key.type}"`);
}
