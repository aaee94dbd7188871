import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { describeRecipient } from '../../age/describe-recipient.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { keyPaths } from '../../keys/key-paths.ts';
import { loadSigner } from '../../keys/load-signer.ts';
import { makeSigningKey } from '../../keys/make-signing-key.ts';
import { rewrapNamespace } from '../../operation/keeper/keeper-records.ts';
import { KeeperSession } from '../../operation/keeper/keeper-session.ts';
import { readRepositoryJson } from '../../operation/open-repository.ts';
import { changeRecipients, recipientPeriods } from '../../operation/recipients/change-recipients.ts';
import { checkRecipients } from '../../operation/recipients/check-recipients.ts';
import { rewrap, type RewrapResult } from '../../operation/recipients/rewrap.ts';
import type { HostConfiguration } from '../../repository/host-configuration.ts';
import { formatPublicKey } from '../../ssh/public-key.ts';
import type { Storage } from '../../storage/storage.ts';
import { escapeForTerminal } from '../../ui/escape.ts';
import { formatSize } from '../../ui/size.ts';
import { formatTable } from '../../ui/table.ts';
import { agePlugins } from '../age-plugins.ts';
import type { CliContext } from '../context.ts';
import {
  addIdentityFlags,
  addPassphraseFlags,
  addRecipientFlags,
  passphraseRequester,
  type IdentityFlag,
  type PassphraseFlags,
  type RecipientFlags,
} from '../key-flags.ts';
import { addLockFlags, readLockPolicy, type LockFlags } from '../lock-options.ts';
import { readRecipientTexts } from '../recipient-texts.ts';
import {
  addRepositoryFlag,
  hostConfigurations,
  openRepositoryStorage,
  type RepositoryFlag,
} from '../repository-options.ts';
import { resolveIdentities } from '../resolve-keys.ts';
import {
  addKeeperFlag,
  addSignerFlags,
  readTrustedKeeper,
  readTrustedSigners,
  type SignerFlags,
} from '../signer-options.ts';
import { stateFolder } from '../state-folder.ts';
import { parseNumber } from '../option-values.ts';
import { count } from '../../ui/count.ts';

interface Options extends RepositoryFlag, RecipientFlags, PassphraseFlags, SignerFlags, LockFlags {
  readonly only?: boolean;
  readonly before?: number;
  readonly signingKey?: string;
  readonly state?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

interface Call {
  readonly args: readonly string[];
  readonly options: Options;
  readonly identities: readonly IdentityFlag[];
  readonly context: CliContext;
}

export const examples: readonly string[] = [
  'salvage recipients list --repo /backup/web-1',
  'salvage recipients add --repo /backup/web-1 -R new.pub',
  'salvage recipients retire --repo /backup/web-1 SHA256:n4bQgYhM',
  'salvage recipients rewrap --repo /backup/web-1 -i old.key -R new.pub --allowed-signers allowed_signers',
];

const actions: Readonly<Record<string, (call: Call) => Promise<void>>> = {
  list,
  add,
  retire,
  rewrap: rewrapObjects,
};

export function register(program: Command, context: CliContext): void {
  program
    .argument(
      '<action>',
      'list; add: encrypt to more keys; retire: to fewer; rewrap: make what is stored readable for other keys (restorer)',
    )
    .argument('[recipient...]', 'retire: which, by fingerprint or as written');
  addRepositoryFlag(program);
  addRecipientFlags(program);
  program.option('--only', 'add: retire all others');
  const identities = addIdentityFlags(
    program,
    'rewrap: open with the private keys in FILE: an age identity file or an SSH private key; "-" is standard input (repeatable)',
  );
  program
    .addOption(
      new Option(
        '--before <number>',
        'rewrap: only what snapshots before this one need; what came later is for the new keys already',
      ).argParser((text) => parseNumber(text, '--before', 1, 99_999_999)),
    )
    .option(
      '--signing-key <file>',
      'rewrap: sign the record with this key (default: the restorer key of salvage, made if there is none)',
    )
    .option(
      '--state <folder>',
      'rewrap: where is remembered which records were seen (default: $XDG_STATE_HOME/salvage/keeper)',
    );
  addSignerFlags(program);
  addKeeperFlag(program);
  addLockFlags(program);
  addPassphraseFlags(program);
  program
    .option('-n, --dry-run', 'say what would be done')
    .option('--json', 'list, rewrap: print JSON')
    .action(async (action: string, args: string[], options: Options) => {
      const run = Object.hasOwn(actions, action) ? actions[action] : undefined;
      if (!run)
        throw new SalvageError(
          'usage',
          `Cannot do "${action}" with recipients: it is list, add, retire or rewrap`,
          { hint: 'salvage recipients --help shows how they are used' },
        );
      if (args.length > 0 && action !== 'retire')
        throw new SalvageError('usage', `Cannot use "${args[0]}" with "recipients ${action}"`, {
          hint: 'Name recipients with -r, or in a file with -R.',
        });
      await run({ args, options, identities, context });
    });
}

// ---- The host's configuration

async function openConfiguration({
  options,
  context,
}: Call): Promise<{ storage: Storage; configuration: HostConfiguration }> {
  const { storage } = await openRepositoryStorage(options, context);
  const { id } = await readRepositoryJson(storage, context.signal);
  return { storage, configuration: hostConfigurations(context).require(id, storage.description) };
}

async function list(call: Call): Promise<void> {
  const { options, context } = call;
  const { configuration } = await openConfiguration(call);
  const rows = recipientPeriods(configuration).map(({ text, since, until }) => ({
    recipient: text,
    ...describeRecipient(text),
    since,
    ...(until !== undefined && { until }),
  }));
  if (options.json) {
    await context.stdout.write(rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    return;
  }
  const columns = ['FINGERPRINT', 'KIND', 'SNAPSHOTS', 'TRACEABLE', 'RECIPIENT'].map((title) => ({ title }));
  await context.stdout.write(
    formatTable(
      columns,
      rows.map(({ fingerprint, kind, since, until, traceable, recipient }) => [
        fingerprint,
        kind,
        until === undefined ? `from ${since} on` : since === until ? 'none' : `${since} to ${until - 1}`,
        traceable,
        shorten(recipient),
      ]),
    ),
  );
}

async function add(call: Call): Promise<void> {
  const { options, context } = call;
  const texts = readRecipientTexts(options, context);
  if (texts.length === 0)
    throw new SalvageError('usage', 'Cannot add a recipient: none is given', {
      hint: 'Name its public key with -r, or in a file with -R.',
    });
  await change(call, texts, [], options.only ?? false);
}

async function retire(call: Call): Promise<void> {
  const { args, options } = call;
  const selectors = [...args, ...readRecipientTexts(options, call.context)];
  if (selectors.length === 0)
    throw new SalvageError('usage', 'Cannot retire a recipient: none is named', {
      hint: 'salvage recipients list shows their fingerprints.',
    });
  await change(call, [], selectors, false);
}

async function change(
  call: Call,
  texts: readonly string[],
  selectors: readonly string[],
  only: boolean,
): Promise<void> {
  const { options, context } = call;
  const { terminal, signal } = context;
  const { storage, configuration } = await openConfiguration(call);
  const changed = await changeRecipients({
    storage,
    configuration,
    add: texts,
    retire: selectors,
    retireOthers: only,
    plugins: agePlugins(passphraseRequester({}, context), context),
    signal,
  });
  if (!options.dryRun) hostConfigurations(context).write(changed.configuration);
  const did = options.dryRun ? 'Would have ' : '';
  for (const text of changed.added) terminal.info(`${did}${did ? 'a' : 'A'}dded ${nameRecipient(text)}`);
  for (const text of changed.retired) terminal.info(`${did}${did ? 'r' : 'R'}etired ${nameRecipient(text)}`);
  terminal.info(`What is stored from snapshot ${changed.since} on is encrypted to:`);
  for (const text of changed.configuration.recipients) terminal.info(`  ${nameRecipient(text)}`);
  if (changed.isOtherKind)
    terminal.info(
      'The index key of this host is a new one, of the kind of the recipients: should its cache be lost, what is stored by now is stored anew.',
    );
  if (changed.since > 1) {
    terminal.info(
      'What is stored already stays as it is, and later snapshots refer to it: until it is rewrapped, restoring takes a key of the earlier recipients as well.',
    );
    terminal.hint(
      `where such a key is: salvage recipients rewrap --before ${changed.since} -i KEY -R NEW --repo "${storage.description}"`,
    );
  }
}

function nameRecipient(text: string): string {
  const { fingerprint, kind } = describeRecipient(text);
  return `${fingerprint} (${kind}) ${shorten(text)}`;
}

function shorten(text: string): string {
  const [first = '', second, ...comment] = text.split(/\s+/);
  if (second === undefined) return first.length > 24 ? `${first.slice(0, 20)}…` : first;
  return escapeForTerminal(
    comment.length > 0 ? comment.join(' ').slice(0, 40) : `${first} …${second.slice(-8)}`,
  );
}

// ---- What is stored

async function rewrapObjects(call: Call): Promise<void> {
  const { options, identities: flags, context } = call;
  const { terminal, clock, signal } = context;
  const { dryRun = false } = options;
  const lock = readLockPolicy(options);
  const requestPassphrase = passphraseRequester(options, context);
  const trusted = readTrustedSigners(options, context);
  if (!trusted)
    throw new SalvageError('usage', 'Cannot rewrap: nobody said whose snapshots to trust', {
      hint: 'Give --allowed-signers FILE and --signer HOST: what is rewrapped is vouched for with your own signature.',
    });
  const identities = resolveIdentities(flags, requestPassphrase, context);
  if (identities.length === 0)
    throw new SalvageError('usage', 'Cannot rewrap: no identity is given', {
      hint: 'Name a private key that opens what is stored, with -i FILE.',
    });
  const { storage } = await openRepositoryStorage(options, context);
  const recipientTexts = await chooseRecipients(storage, call);
  const plugins = agePlugins(requestPassphrase, context);
  const { recipients } = await checkRecipients(recipientTexts, plugins);
  const keeper = readTrustedKeeper(options, context);
  const principal = keeper?.principal ?? options.keeper ?? 'keeper';
  const signer = await loadSigner(
    options.signingKey === undefined ? await ensureRestorerKey(context) : resolve(options.signingKey),
    { requestPassphrase, agentSocket: context.env['SSH_AUTH_SOCK'] },
  );
  using session = await KeeperSession.open({
    storage,
    signer,
    trusted: keeper,
    stateFolder: options.state ?? stateFolder('keeper', context),
    clock,
    signal,
    onNotice: (message) => terminal.warning(message),
  });
  const progress = terminal.startProgress('rewrapping');
  let result: RewrapResult;
  try {
    result = await rewrap(
      {
        storage,
        session,
        trusted,
        identities,
        recipientTexts,
        recipients,
        before: options.before,
        lock,
        dryRun,
        clock,
        signal,
      },
      {
        onTrouble: (message) => terminal.warning(message),
        onNotice: (message) => terminal.warning(message),
        onTotal: (bytes, objects) => progress.setTotal(bytes, objects),
        onProgress: (bytes, objects) => progress.advance(bytes, objects),
      },
    );
  } finally {
    progress.end();
  }
  const line = `${principal} namespaces="${rewrapNamespace}" ${formatPublicKey(signer.publicKey)}`;
  if (options.json)
    await context.stdout.write(`${JSON.stringify({ dryRun, ...result, allowedSigner: line })}\n`);
  else report(result, line, dryRun, context);
  if (result.troubles > 0)
    throw new SalvageError(
      'damaged',
      `Cannot rewrap everything: ${result.troubles} ${result.troubles === 1 ? 'thing is' : 'things are'} damaged or not to be trusted, each named above`,
      { hint: 'salvage verify tells more. What could be rewrapped is, and is recorded.' },
    );
}

/** The key of salvage for restorers, made if there is none. What verifiers need of it is told at the end. */
async function ensureRestorerKey({ env, terminal }: CliContext): Promise<string> {
  const { restorerKey: path } = keyPaths(env);
  if (existsSync(path) || existsSync(`${path}.pub`)) return path;
  await makeSigningKey(path, { comment: 'salvage restorer' });
  terminal.info(`Made the restorer's signing key "${path}"`);
  return path;
}

/** Those that are named; on the host itself, those that it encrypts to. */
async function chooseRecipients(storage: Storage, { options, context }: Call): Promise<readonly string[]> {
  const texts = readRecipientTexts(options, context);
  if (texts.length > 0) return texts;
  const { id } = await readRepositoryJson(storage, context.signal);
  const configured = hostConfigurations(context).read(id)?.recipients;
  if (configured) return configured;
  throw new SalvageError('usage', 'Cannot rewrap: no recipient is given', {
    hint: 'Name all that are to read it from now on, with -r or in a file with -R.',
  });
}

function report(result: RewrapResult, line: string, dryRun: boolean, { terminal }: CliContext): void {
  const { objects, bytes, already, unopened } = result;
  terminal.info(
    `${dryRun ? 'Would rewrap' : 'Rewrapped'} ${count(objects, 'object')} (${formatSize(bytes)})`,
  );
  if (already > 0)
    terminal.info(`${count(already, 'object')} had been rewrapped for these recipients before`);
  if (unopened > 0)
    terminal.info(
      `${count(unopened, 'object')} left as they are: none of the identities opens them, so they are for others already`,
    );
  if (objects === 0 || dryRun) return;
  terminal.info(
    'The old objects are still there, and their keys still open them. Whoever has copied one and holds such a key reads it for ever: rewrapping cannot take that back.',
  );
  terminal.info('Whoever reads or keeps this repository needs this line in a file of allowed signers:');
  terminal.info(line);
}
