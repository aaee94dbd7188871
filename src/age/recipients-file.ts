import { SalvageError } from '../errors/salvage-error.ts';
import { parseRecipient } from './parse-recipient.ts';
import type { Recipient, RecipientPlugins } from './recipient.ts';
import { parseLine, readTextLines } from './text-lines.ts';

export interface RecipientsFile {
  readonly recipients: readonly Recipient[];
  /** One sentence for each valid key that cannot encrypt and was passed over. */
  readonly warnings: readonly string[];
}

/**
 * The recipients in a file: one to a line, `#` comments, SSH public keys as in authorized_keys and GitHub's .keys lists.
 * `name` stands for the file in messages.
 * @throws bad-key if a line is malformed or a private key, or no recipient is left; the line is not repeated
 */
export function parseRecipientsFile(
  bytes: Uint8Array,
  name: string,
  plugins?: RecipientPlugins,
): RecipientsFile {
  const what = `recipients file "${name}"`;
  const recipients: Recipient[] = [];
  const warnings: string[] = [];
  for (const line of readTextLines(bytes, what)) {
    const recipient = parseLine(line, what, (text) => parseRecipient(text, plugins));
    if (recipient) recipients.push(recipient);
    else
      warnings.push(
        `line ${line.number} of the ${what} is an SSH key of a type that cannot encrypt; it is passed over`,
      );
  }
  if (recipients.length === 0)
    throw new SalvageError('bad-key', `Cannot encrypt to the ${what}: it holds no recipient`, {
      hint: 'Put one public key to a line: age1…, ssh-ed25519 … or ssh-rsa ….',
    });
  return { recipients, warnings };
}
