import { SalvageError } from '../errors/salvage-error.ts';
import { HybridIdentity } from './hybrid.ts';
import type { Identity, IdentityPlugins } from './recipient.ts';
import { parseLine, readTextLines } from './text-lines.ts';
import { X25519Identity } from './x25519.ts';

/** The identity that a line of text holds; a plugin's where `plugins` are given. @throws bad-key, without repeating the text */
export function parseIdentity(text: string, plugins?: IdentityPlugins): Identity {
  if (text.startsWith('AGE-SECRET-KEY-PQ-1')) return HybridIdentity.parse(text);
  if (text.startsWith('AGE-SECRET-KEY-1')) return X25519Identity.parse(text);
  if (text.startsWith('AGE-PLUGIN-')) {
    if (plugins) return plugins.identity(text);
    throw new SalvageError('bad-key', 'Cannot use the identity: no plugins are run here');
  }
  if (text.startsWith('age1') || text.startsWith('ssh-'))
    throw new SalvageError('bad-key', 'Cannot decrypt with this identity: it is a public key', {
      hint: 'Name the file with the private half.',
    });
  throw new SalvageError('bad-key', 'Cannot read the identity: it is not an age secret key', {
    hint: 'An identity file has one AGE-SECRET-KEY-… to a line, or it is an SSH private key as a whole.',
  });
}

/** The identities of an identity file that is not encrypted. @throws bad-key */
export function parseIdentityLines(bytes: Uint8Array, name: string, plugins?: IdentityPlugins): Identity[] {
  const what = `identity file "${name}"`;
  const identities = readTextLines(bytes, what).map((line) =>
    parseLine(line, what, (text) => parseIdentity(text, plugins)),
  );
  if (identities.length === 0)
    throw new SalvageError('bad-key', `Cannot use the ${what}: it holds no identity`);
  return identities;
}
