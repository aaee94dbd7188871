import { createEnvelope } from '../../age/envelope.ts';
import { generateIdentity } from '../../age/generate.ts';
import type { RecipientPlugins } from '../../age/recipient.ts';
import { chunkerSeedBytes } from '../../chunker/chunker.ts';
import type { Clock } from '../../clock/clock.ts';
import { randomBytes } from '../../clock/random.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import type { HostConfiguration, LockPolicy } from '../../repository/host-configuration.ts';
import { newRepositoryId, type RepositoryId } from '../../repository/ids.ts';
import { readmeName, recoverName, repositoryName } from '../../repository/layout.ts';
import { readReadme, readRecoverScript } from '../../repository/recovery/recovery-files.ts';
import { encodeRepositoryJson } from '../../repository/repository-json.ts';
import type { Storage } from '../../storage/storage.ts';
import type { HostConfigurations } from '../host-configurations.ts';
import { checkLockPolicy, requireObjectLock, retentionFrom } from '../lock/lock-policy.ts';
import { listSnapshots, readRepositoryJson } from '../open-repository.ts';
import { checkRecipients } from '../recipients/check-recipients.ts';

export interface InitOptions {
  readonly storage: Storage;
  readonly configurations: HostConfigurations;
  /** For the host configuration: where the repository is, absolute. */
  readonly url: string;
  /** As written for -r. */
  readonly recipients: readonly string[];
  /** For recipients of age plugins. */
  readonly plugins?: RecipientPlugins;
  /** Absolute path of the host's signing key, which exists. */
  readonly signingKey: string;
  /** The principal under which verifiers are to list it. */
  readonly name: string;
  /** Lock what is stored, here and by every backup. */
  readonly lock?: LockPolicy | undefined;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const hostName = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,252}$/;

/** @throws usage if no host can have this name */
export function checkHostName(name: string): void {
  if (!hostName.test(name))
    throw new SalvageError(
      'usage',
      `Cannot name this host ${JSON.stringify(name.slice(0, 300))}: letters, digits and ._@- make a name`,
      {
        hint: 'Give another with --name HOST.',
      },
    );
}

/**
 * Makes a new repository and sets this host up for it.
 * @throws bad-key for recipients that cannot stand together; failed if there is a repository, or on storage's failure
 */
export async function init(options: InitOptions): Promise<HostConfiguration> {
  const { storage, configurations, clock, signal } = options;
  const configuration = await configure(newRepositoryId(), options);
  if (await storage.stat(repositoryName, signal)) throw existing(storage);
  if (options.lock) requireObjectLock(storage).lockNew(retentionFrom(options.lock, clock.now()));
  configurations.write(configuration);
  try {
    await storage.create(readmeName, [readReadme()], signal);
    await storage.create(recoverName, [readRecoverScript()], signal);
    const facts = encodeRepositoryJson(configuration.repositoryId, clock.now());
    if ((await storage.create(repositoryName, [facts], signal)) === 'exists') throw existing(storage);
    await storage.settle(signal);
  } catch (error) {
    configurations.remove(configuration.repositoryId);
    throw error;
  }
  return configuration;
}

export interface Adoption {
  readonly configuration: HostConfiguration;
  /** Snapshots that the repository has, which stay as they are. */
  readonly snapshots: number;
}

/**
 * Sets this host up, with new keys, for a repository that exists: its host configuration is lost, or it is another host
 * that goes on. Sequence and chain of the snapshots go on; nothing that is stored changes.
 * @throws no-repository; usage if this host is set up for it; bad-key; failed
 */
export async function adopt(options: InitOptions): Promise<Adoption> {
  const { storage, configurations, signal } = options;
  const { id } = await readRepositoryJson(storage, signal);
  if (isUsable(configurations, id))
    throw new SalvageError(
      'usage',
      `Cannot adopt "${storage.description}": this host is set up for it already`,
      {
        hint: `To begin with new keys all the same, move "${configurations.pathOf(id)}" away first.`,
      },
    );
  const configuration = await configure(id, options);
  const { committed } = await listSnapshots(storage, signal);
  configurations.write(configuration);
  return { configuration, snapshots: committed.length };
}

async function configure(
  repositoryId: RepositoryId,
  { url, recipients: texts, plugins, signingKey, name, lock }: InitOptions,
): Promise<HostConfiguration> {
  checkHostName(name);
  if (lock) checkLockPolicy(lock);
  // Refuses what age does not allow to stand together, long before the first backup.
  const { recipients, kind } = await checkRecipients(texts, plugins);
  const indexKey = generateIdentity(kind);
  await createEnvelope([...recipients, indexKey.recipient]);
  return {
    repository: url,
    repositoryId,
    name,
    recipients: texts,
    signingKey,
    indexKey: indexKey.toSecretString(),
    chunkerSeed: randomBytes(chunkerSeedBytes),
    ...(lock && { lock }),
  };
}

function isUsable(configurations: HostConfigurations, id: RepositoryId): boolean {
  try {
    return configurations.read(id) !== undefined;
  } catch (error) {
    if (error instanceof SalvageError && error.code === 'usage') return false;
    throw error;
  }
}

function existing(storage: Storage): SalvageError {
  return new SalvageError(
    'failed',
    `Cannot make a repository at "${storage.description}": there is one already`,
    {
      hint: 'Back up to it with salvage backup; salvage init --adopt sets up a host whose configuration is lost.',
    },
  );
}
