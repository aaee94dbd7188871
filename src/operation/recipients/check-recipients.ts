import { describeRecipient } from '../../age/describe-recipient.ts';
import { createEnvelope } from '../../age/envelope.ts';
import { parseRecipient } from '../../age/parse-recipient.ts';
import type { Recipient, RecipientPlugins } from '../../age/recipient.ts';
import { randomBytes } from '../../clock/random.ts';
import { SalvageError } from '../../errors/salvage-error.ts';

export interface CheckedRecipients {
  readonly recipients: readonly Recipient[];
  /** What an identity must be that is to open the same files: age does not mix the two. */
  readonly kind: 'x25519' | 'hybrid';
}

/**
 * The recipients that a repository is for.
 * @param texts as written for -r
 * @throws bad-key if one cannot encrypt, or if age does not let them stand together in one file
 */
export async function checkRecipients(
  texts: readonly string[],
  plugins: RecipientPlugins | undefined,
): Promise<CheckedRecipients> {
  const recipients = texts.map((text) => parseUsable(text, plugins));
  refuseMixture(texts);
  await createEnvelope(recipients);
  const { labels } = await recipients[0]!.wrapFileKey(randomBytes(16));
  return { recipients, kind: labels.includes('postquantum') ? 'hybrid' : 'x25519' };
}

/** Says what age's label rule means for these keys; what plugins make of it is left to age. */
function refuseMixture(texts: readonly string[]): void {
  const described = texts.map(describeRecipient).filter(({ kind }) => kind !== 'plugin');
  const classic = described.find(({ postQuantum }) => !postQuantum);
  if (!classic || !described.some(({ postQuantum }) => postQuantum)) return;
  const what = classic.kind.startsWith('ssh-') ? 'an SSH key' : `a classic key (${classic.kind})`;
  throw new SalvageError(
    'bad-key',
    `Cannot use these recipients together: a post-quantum repository cannot also list ${what}: whoever breaks the weaker key has the file, so age does not let both stand in one`,
    {
      hint: 'Make post-quantum keys for everybody who restores (salvage keygen --pq), or for nobody.',
      details: { fingerprint: classic.fingerprint },
    },
  );
}

function parseUsable(text: string, plugins: RecipientPlugins | undefined): Recipient {
  const recipient = parseRecipient(text, plugins);
  if (recipient) return recipient;
  throw new SalvageError(
    'bad-key',
    'Cannot encrypt to this recipient: it is an SSH key of a type that cannot encrypt',
    {
      hint: 'Use an ssh-ed25519 or ssh-rsa key, or make an age key with salvage keygen.',
    },
  );
}
