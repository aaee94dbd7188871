import { describeRecipient } from '../../age/describe-recipient.ts';
import { generateIdentity } from '../../age/generate.ts';
import { createEnvelope } from '../../age/envelope.ts';
import type { RecipientPlugins } from '../../age/recipient.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import type { HostConfiguration } from '../../repository/host-configuration.ts';
import { sequenceOf } from '../../repository/ids.ts';
import type { Storage } from '../../storage/storage.ts';
import { listSnapshots } from '../open-repository.ts';
import { checkRecipients } from './check-recipients.ts';

export interface RecipientsChange {
  readonly storage: Storage;
  readonly configuration: HostConfiguration;
  /** As written for -r. */
  readonly add: readonly string[];
  /** Each a recipient as written, its fingerprint, or the beginning of one. */
  readonly retire: readonly string[];
  /** Retire whatever is not added. */
  readonly retireOthers?: boolean;
  readonly plugins?: RecipientPlugins;
  readonly signal: AbortSignal;
}

export interface ChangedRecipients {
  /** To be written. */
  readonly configuration: HostConfiguration;
  readonly added: readonly string[];
  readonly retired: readonly string[];
  /** The number of the first snapshot that will be for the new ones. */
  readonly since: number;
  /** Post-quantum instead of classic recipients, or the other way round: the host's index key is a new one as well. */
  readonly isOtherKind: boolean;
}

/**
 * Works out the configuration with which the next backup encrypts everything that it stores to another set of recipients.
 * Nothing that is stored changes.
 * @throws usage if nothing or nobody would be left, or a recipient to retire is not there; bad-key for recipients that cannot
 *   stand together; failed
 */
export async function changeRecipients({
  storage,
  configuration,
  add,
  retire,
  retireOthers = false,
  plugins,
  signal,
}: RecipientsChange): Promise<ChangedRecipients> {
  const before = configuration.recipients;
  const added = [...new Set(add)].filter((text) => !before.includes(text));
  const retired = retireOthers
    ? before.filter((text) => !add.includes(text))
    : [...new Set(retire.map((selector) => findRecipient(before, selector)))];
  if (added.length + retired.length === 0)
    throw new SalvageError('usage', 'Cannot change the recipients: all of them are listed already', {
      hint: 'salvage recipients list shows them.',
    });
  const recipients = [...before.filter((text) => !retired.includes(text)), ...added];
  if (recipients.length === 0)
    throw new SalvageError('usage', 'Cannot retire every recipient: nobody could restore what comes after', {
      hint: 'Add the new one first: salvage recipients add -r RECIPIENT',
    });
  const checked = await checkRecipients(recipients, plugins);
  const isOtherKind = (checked.kind === 'hybrid') !== configuration.indexKey.startsWith('AGE-SECRET-KEY-PQ-');
  const indexKey = isOtherKind ? generateIdentity(checked.kind) : undefined;
  if (indexKey) await createEnvelope([...checked.recipients, indexKey.recipient]);
  const { committed } = await listSnapshots(storage, signal);
  const newest = committed.at(-1);
  const since = (newest ? sequenceOf(newest.id) : 0) + 1;
  return {
    configuration: {
      ...configuration,
      recipients,
      recipientChanges: [...(configuration.recipientChanges ?? []), { since, added, retired }],
      ...(indexKey && { indexKey: indexKey.toSecretString() }),
    },
    added,
    retired,
    since,
    isOtherKind,
  };
}

function findRecipient(recipients: readonly string[], selector: string): string {
  const found = recipients.filter(
    (text) =>
      text === selector ||
      text.startsWith(`${selector} `) ||
      (selector.length >= 8 && text.startsWith(selector)) ||
      isFingerprint(describeRecipient(text).fingerprint, selector),
  );
  if (found.length === 1) return found[0]!;
  throw new SalvageError(
    'usage',
    `Cannot retire the recipient "${selector.slice(0, 100)}": ${found.length === 0 ? 'there is none' : 'it could be more than one'}`,
    { hint: 'salvage recipients list shows them with their fingerprints.' },
  );
}

function isFingerprint(fingerprint: string, selector: string): boolean {
  const bare = selector.replace(/^SHA256:/, '');
  return bare.length >= 6 && fingerprint.slice('SHA256:'.length).startsWith(bare);
}

/** A recipient and when it was one. */
export interface RecipientPeriod {
  readonly text: string;
  /** The number of the first snapshot for it. */
  readonly since: number;
  /** The number of the first snapshot that is not for it any more. */
  readonly until: number | undefined;
}

/** Everybody for whom snapshots of this host are or were, the present ones first. */
export function recipientPeriods({
  recipients,
  recipientChanges = [],
}: HostConfiguration): RecipientPeriod[] {
  const since = new Map<string, number>();
  const past: RecipientPeriod[] = [];
  for (const change of recipientChanges) {
    for (const text of change.retired) {
      past.push({ text, since: since.get(text) ?? 1, until: change.since });
      since.delete(text);
    }
    for (const text of change.added) since.set(text, change.since);
  }
  return [...recipients.map((text) => ({ text, since: since.get(text) ?? 1, until: undefined })), ...past];
}
