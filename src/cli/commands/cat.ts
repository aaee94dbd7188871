import type { Command } from 'commander';
import { readContent } from '../../operation/browse/read-content.ts';
import { storedPath } from '../../operation/restore/selection.ts';
import type { CliContext } from '../context.ts';
import type { IdentityFlag } from '../key-flags.ts';
import { PrintableText } from '../printable-text.ts';
import { addReadingFlags, RepositoryReader, type ReadingFlags } from '../reading-options.ts';

export const examples: readonly string[] = [
  'salvage cat latest etc/fstab --repo /backup/web-1 -i ~/.ssh/id_ed25519',
  'salvage cat latest app.sql --repo /backup/web-1 -i ~/.ssh/id_ed25519 | psql app',
];

export function register(program: Command, context: CliContext): void {
  program
    .argument('<snapshot>', '"latest", "latest:LABEL", a number, an id or the beginning of one')
    .argument('<path>', 'a file in the snapshot, as "salvage ls" shows it');
  const identities = addReadingFlags(program);
  program.action((snapshot: string, path: string, options: ReadingFlags) =>
    run(snapshot, path, options, identities, context),
  );
}

async function run(
  selector: string,
  path: string,
  options: ReadingFlags,
  flags: readonly IdentityFlag[],
  context: CliContext,
): Promise<void> {
  const file = storedPath(path);
  const reader = await RepositoryReader.open(options, flags, context);
  const snapshot = await reader.open(selector);
  // A terminal obeys what it is shown: only text goes there.
  const text = context.stdout.isTerminal ? new PrintableText() : undefined;
  for await (const piece of readContent(snapshot, reader.objects, file, context.signal)) {
    text?.check(piece);
    await context.stdout.write(piece);
  }
  text?.finish();
}
