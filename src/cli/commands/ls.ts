import type { Command } from 'commander';
import { SalvageError } from '../../errors/salvage-error.ts';
import { storedPath } from '../../operation/restore/selection.ts';
import type { CliContext } from '../context.ts';
import { entryJson, longLine, nameText } from '../entry-text.ts';
import type { IdentityFlag } from '../key-flags.ts';
import { addReadingFlags, RepositoryReader, type ReadingFlags } from '../reading-options.ts';

interface Options extends ReadingFlags {
  readonly long?: boolean;
  readonly recursive?: boolean;
  readonly json?: boolean;
}

export const examples: readonly string[] = [
  'salvage ls latest --repo /backup/web-1 -i ~/.ssh/id_ed25519',
  'salvage ls -l --recursive latest etc/ssl --repo /backup/web-1 -i ~/.ssh/id_ed25519',
];

export function register(program: Command, context: CliContext): void {
  program
    .argument('<snapshot>', '"latest", "latest:LABEL", a number, an id or the beginning of one')
    .argument('[path]', 'a path in the snapshot (default: its top)');
  const identities = addReadingFlags(program);
  program
    .option('-l, --long', 'also show type, mode, owner, size and time')
    .option('--recursive', 'show everything below, too')
    .option('--json', 'print one JSON object for each entry')
    .action((snapshot: string, path: string | undefined, options: Options) =>
      run(snapshot, path, options, identities, context),
    );
}

async function run(
  selector: string,
  given: string | undefined,
  options: Options,
  flags: readonly IdentityFlag[],
  context: CliContext,
): Promise<void> {
  const { signal, stdout } = context;
  const snapshot = await (await RepositoryReader.open(options, flags, context)).open(selector);
  const path = given === undefined || /^[/.]*$/.test(given) ? undefined : storedPath(given);
  const depth = path ? parts(path) + 1 : 1;
  let isFound = path === undefined;
  for await (const { records } of snapshot.readTree({ ...(path && { path }), signal })) {
    let lines = '';
    for (const { entry } of records) {
      if (!entry) continue;
      isFound = true;
      // A directory that was named stands for what is in it, as with ls.
      const isNamed = path !== undefined && entry.path.equals(path);
      if (isNamed && entry.type === 'directory') continue;
      if (!options.recursive && !isNamed && parts(entry.path) !== depth) continue;
      lines += `${options.json ? JSON.stringify(entryJson(entry)) : options.long ? longLine(entry) : nameText(entry)}\n`;
    }
    if (lines !== '') await stdout.write(lines);
  }
  if (!isFound)
    throw new SalvageError(
      'usage',
      `Cannot list "${given}": snapshot ${snapshot.signed.id} has no such path`,
    );
}

function parts(path: Buffer): number {
  let count = 1;
  for (const byte of path) if (byte === 0x2f) count++;
  return count;
}
