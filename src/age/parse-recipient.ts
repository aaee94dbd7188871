import { SalvageError } from '../errors/salvage-error.ts';
import { HybridRecipient } from './hybrid.ts';
import type { Recipient, RecipientPlugins } from './recipient.ts';
import { parseSshRecipient } from './ssh-recipient.ts';
import { HybridTagRecipient, TagRecipient } from './tag.ts';
import { X25519Recipient } from './x25519.ts';

/** True for text that looks like the start of a line of a .pub, authorized_keys or GitHub .keys file. */
const sshLine = /(?:^|\s)(?:ssh-|ecdsa-sha2-|sk-)/;
/** `age1name1…`: the 1 that ends a Bech32 prefix is the last one, and the native prefixes have none of their own. */
const pluginRecipient = /^age1[a-z0-9+._-]+1/;

/**
 * The recipient that a line of text names: `age1…`, `age1pq1…`, `age1tag1…`, `age1tagpq1…`, an SSH public key, or
 * `age1name1…` for a plugin where `plugins` are given. Undefined if it is a valid SSH key of a type that cannot encrypt, such as ECDSA.
 * @throws bad-key otherwise, without repeating the text, which may be a private key
 */
export function parseRecipient(text: string, plugins?: RecipientPlugins): Recipient | undefined {
  if (looksPrivate(text))
    throw new SalvageError('bad-key', 'Cannot encrypt to this recipient: it is a private key', {
      hint: 'Private keys belong on the machine that restores. "salvage keygen -y FILE" prints the public half.',
    });
  if (sshLine.test(text)) return parseSshRecipient(text);
  if (text.startsWith('age1pq1')) return HybridRecipient.parse(text);
  if (text.startsWith('age1tagpq1')) return HybridTagRecipient.parse(text);
  if (text.startsWith('age1tag1')) return TagRecipient.parse(text);
  if (pluginRecipient.test(text)) {
    if (plugins) return plugins.recipient(text);
    throw new SalvageError('bad-key', 'Cannot encrypt to this recipient: no plugins are run here');
  }
  if (text.startsWith('age1')) return X25519Recipient.parse(text);
  throw new SalvageError(
    'bad-key',
    'Cannot read the recipient: it is neither an age1… key nor an SSH public key',
    {
      hint: 'To encrypt to the keys in a file, use -R FILE.',
    },
  );
}

/** True for an age identity and for the first line of a private key in PEM, in whatever case. */
function looksPrivate(text: string): boolean {
  return /^\s*(?:AGE-SECRET-KEY-|AGE-PLUGIN-|-----BEGIN [A-Z0-9 ]*PRIVATE KEY)/i.test(text);
}
