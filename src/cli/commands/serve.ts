import type { Command } from 'commander';
import { SalvageError } from '../../errors/salvage-error.ts';
import { openServedFolder } from '../../operation/serve/serve-folder.ts';
import type { ServeMode } from '../../operation/serve/serve-rights.ts';
import { serveStorage, usualTimeouts } from '../../storage/serve/serve-connection.ts';
import type { CliContext } from '../context.ts';
import { parseSize } from '../parse-size.ts';
import { openStdioStreams } from '../stdio-streams.ts';
import { parseNumber } from '../option-values.ts';

interface Options {
  readonly stdio?: boolean;
  readonly root?: string;
  readonly appendOnly?: boolean;
  readonly readOnly?: boolean;
  readonly allowRemove?: boolean;
  readonly quota?: string;
  readonly maxObject: string;
  readonly maxConnections: string;
  readonly idleTimeout: string;
}

export const examples: readonly string[] = [
  'salvage serve --stdio --root /srv/backups/web-1 --append-only',
  'salvage serve --stdio --root /srv/backups/web-1 --append-only --quota 200G',
];

export function register(program: Command, context: CliContext): void {
  program
    .option('--stdio', 'talk to one client over standard input and output: what sshd has a key run')
    .option('--root <dir>', 'the folder to serve; the client gets nowhere else')
    .option(
      '--append-only',
      'a host: it may create and list, read what is public, and change or remove nothing',
    )
    .option('--read-only', 'a restorer: it may list and read everything, and create nothing')
    .option('--allow-remove', 'a keeper: it may remove objects as well')
    .option('--quota <size>', 'let the folder hold so much in all, 4 KiB counted for each name')
    .option(
      '--max-object <size>',
      'the largest archive to accept; objects of a repository have the limit of the format, 128M',
      '1T',
    )
    .option('--max-connections <number>', 'clients at a time, with --append-only or --quota', '8')
    .option(
      '--idle-timeout <seconds>',
      'hang up on a client that is silent for so long',
      String(usualTimeouts.idle / 1000),
    )
    .action((options: Options) => run(options, context));
}

async function run(options: Options, context: CliContext): Promise<void> {
  const { root, quota, maxObject } = options;
  if (!options.stdio)
    throw new SalvageError('usage', 'Cannot serve: there is no other way to talk than --stdio', {
      hint: 'A line of authorized_keys: command="salvage serve --stdio --root DIR --append-only",restrict KEY',
    });
  if (root === undefined || root === '')
    throw new SalvageError('usage', 'Cannot serve: no folder is named', { hint: 'Name it with --root DIR.' });
  if ([options.appendOnly, options.readOnly, options.allowRemove].filter((flag) => flag).length > 1)
    throw new SalvageError(
      'usage',
      'Cannot serve: --append-only, --read-only and --allow-remove exclude each other',
    );
  const mode: ServeMode = options.appendOnly
    ? 'append-only'
    : options.readOnly
      ? 'read-only'
      : options.allowRemove
        ? 'remove'
        : 'create';
  const folder = {
    root,
    mode,
    quotaBytes: quota === undefined ? undefined : parseSize(quota, '--quota'),
    largestObjectBytes: parseSize(maxObject, '--max-object'),
    connections: parseNumber(options.maxConnections, '--max-connections', 1, 1000),
  };
  // Clients of ours ping every half minute.
  const idle = parseNumber(options.idleTimeout, '--idle-timeout', 60, 86_400) * 1000;
  const { input, output } = openStdioStreams(context, 'a client');
  await serveStorage({
    input,
    output,
    open: (path) => openServedFolder(folder, path),
    timeouts: {
      hello: Math.min(usualTimeouts.hello, idle),
      frame: Math.min(usualTimeouts.frame, idle),
      idle,
    },
    clock: context.clock,
    signal: context.signal,
  });
}
