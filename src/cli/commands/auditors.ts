import type { Command } from 'commander';
import { asBuffer } from '../../bytes/bytes.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { readPublicFile } from '../../keys/key-file.ts';
import { readRepositoryJson } from '../../operation/open-repository.ts';
import type { HostConfiguration } from '../../repository/host-configuration.ts';
import {
  fingerprint,
  formatPublicKey,
  parsePublicKeyFile,
  parsePublicKeyLine,
  type PublicKey,
} from '../../ssh/public-key.ts';
import { escapeForTerminal } from '../../ui/escape.ts';
import type { CliContext } from '../context.ts';
import {
  addRepositoryFlag,
  hostConfigurations,
  openRepositoryStorage,
  type RepositoryFlag,
} from '../repository-options.ts';

export const examples: readonly string[] = [
  'salvage auditors add auditor.pub --repo /backup/web-1',
  'salvage auditors list --repo /backup/web-1',
  'salvage auditors remove auditor.pub --repo /backup/web-1',
];

const mostAuditors = 64;
const maxFileBytes = 64 * 1024;

export function register(program: Command, context: CliContext): void {
  program
    .argument('<action>', 'list; add: act on requests for healing by these keys; remove: no longer')
    .argument('[file...]', 'public keys of auditors: files such as auditor-key.pub');
  addRepositoryFlag(program);
  program.action((action: string, files: string[], options: RepositoryFlag) =>
    run(action, files, options, context),
  );
}

async function run(
  action: string,
  files: readonly string[],
  options: RepositoryFlag,
  context: CliContext,
): Promise<void> {
  if (!['list', 'add', 'remove'].includes(action))
    throw new SalvageError('usage', `Cannot do "${action}" with auditors: it is list, add or remove`, {
      hint: 'salvage auditors --help shows how they are used',
    });
  if ((action === 'list') !== (files.length === 0))
    throw new SalvageError(
      'usage',
      action === 'list'
        ? 'Cannot use a file with "auditors list"'
        : `Cannot ${action} an auditor: no file with a public key is named`,
    );
  const { storage } = await openRepositoryStorage(options, context);
  const { id } = await readRepositoryJson(storage, context.signal);
  const configurations = hostConfigurations(context);
  const configuration = configurations.require(id, storage.description);
  if (action === 'list') {
    for (const text of configuration.auditors ?? []) await context.stdout.write(`${describe(text)}\n`);
    return;
  }
  const keys = files.flatMap((file) => readKeys(file));
  const changed = action === 'add' ? add(configuration, keys) : remove(configuration, keys);
  configurations.write({ ...configuration, auditors: changed });
  for (const key of keys)
    context.terminal.info(`${action === 'add' ? 'Trusts' : 'No longer trusts'} ${fingerprint(key)}`);
}

function readKeys(file: string): PublicKey[] {
  const keys = parsePublicKeyFile(asBuffer(readPublicFile(file, maxFileBytes)).toString('utf8'));
  if (keys.length > 0) return keys.map(({ key }) => key);
  throw new SalvageError('bad-key', `Cannot find a public key in "${file}": there is none`);
}

function add({ auditors = [] }: HostConfiguration, keys: readonly PublicKey[]): string[] {
  const changed = [...new Set([...auditors, ...keys.map((key) => formatPublicKey(key))])];
  if (changed.length <= mostAuditors) return changed;
  throw new SalvageError('usage', `Cannot trust ${changed.length} auditors: ${mostAuditors} at most`);
}

function remove({ auditors = [] }: HostConfiguration, keys: readonly PublicKey[]): string[] {
  const texts = new Set(keys.map((key) => formatPublicKey(key)));
  for (const key of keys)
    if (!auditors.includes(formatPublicKey(key)))
      throw new SalvageError('usage', `Cannot remove ${fingerprint(key)}: this host does not trust it`, {
        hint: 'salvage auditors list shows whom it trusts.',
      });
  return auditors.filter((text) => !texts.has(text));
}

function describe(text: string): string {
  const key = parsePublicKeyLine(text)?.key;
  return key ? `${fingerprint(key)} ${escapeForTerminal(text)}` : escapeForTerminal(text);
}
