import { Option, type Command } from 'commander';
import { asBuffer, utf8Bytes } from '../../bytes/bytes.ts';
import { readPublicFile } from '../../keys/key-file.ts';
import { readRepositoryJson } from '../../operation/open-repository.ts';
import { recoveryKitHtml, recoveryKitText, type RecoveryFacts } from '../../operation/recovery-kit.ts';
import type { HostConfiguration } from '../../repository/host-configuration.ts';
import { formatPublicKey, parsePublicKeyLine } from '../../ssh/public-key.ts';
import { escapeForTerminal } from '../../ui/escape.ts';
import type { CliContext } from '../context.ts';
import { namesFile, OutputFile } from '../output-file.ts';
import {
  addRepositoryFlag,
  hostConfigurations,
  openRepositoryStorage,
  type RepositoryFlag,
} from '../repository-options.ts';

interface Options extends RepositoryFlag {
  readonly format: 'text' | 'html';
  readonly output?: string;
}

const maxKeyBytes = 64 * 1024;

export const examples: readonly string[] = [
  'salvage recovery-kit --repo /backup/web-1',
  'salvage recovery-kit --repo /backup/web-1 --format html -o recovery-kit.html',
];

export function register(program: Command, context: CliContext): void {
  addRepositoryFlag(program);
  program
    .addOption(
      new Option('--format <format>', 'html prints well from a browser')
        .choices(['text', 'html'])
        .default('text'),
    )
    .option('-o, --output <file>', 'write to FILE; "-" is standard output')
    .action((options: Options) => run(options, context));
}

async function run(options: Options, context: CliContext): Promise<void> {
  const { storage } = await openRepositoryStorage(options, context);
  const { id, created } = await readRepositoryJson(storage, context.signal);
  const host = hostConfigurations(context).read(id);
  if (!host)
    context.terminal.warning(
      'This machine is not set up for the repository: recipients and signer are left blank',
    );
  const signer = host && allowedSignerLine(host);
  if (host && signer === undefined)
    context.terminal.warning(
      `The public half of the signing key "${host.signingKey}" is not beside it: left blank`,
    );
  const facts: RecoveryFacts = {
    place: storage.description,
    repository: id,
    created,
    printed: context.clock.now(),
    recipients: host?.recipients,
    allowedSigner: signer,
    host: host?.name,
  };
  const text = options.format === 'html' ? recoveryKitHtml(facts) : printable(recoveryKitText(facts));
  if (!namesFile(options.output)) return await context.stdout.write(text);
  using file = new OutputFile(options.output);
  file.write(utf8Bytes(text));
  file.commit();
}

/** From the public key that stands beside the private one, which is not opened. */
function allowedSignerLine({ signingKey, name }: HostConfiguration): string | undefined {
  try {
    const text = asBuffer(readPublicFile(`${signingKey}.pub`, maxKeyBytes))
      .toString('utf8')
      .trim();
    const key = parsePublicKeyLine(text)?.key;
    return key && `${name} namespaces="salvage-snapshot" ${formatPublicKey(key)}`;
  } catch {
    return undefined;
  }
}

function printable(text: string): string {
  return text
    .split('\n')
    .map((line) => escapeForTerminal(line))
    .join('\n');
}
