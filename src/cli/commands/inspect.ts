import type { Command } from 'commander';
import { inspectAgeFile, type AgeInspection } from '../../age/inspect.ts';
import { escapeForTerminal } from '../../ui/escape.ts';
import type { CliContext } from '../context.ts';
import { openInput, readPieces } from '../input-file.ts';

export const examples: readonly string[] = [
  'salvage inspect data.tar.age',
  'salvage inspect --json < data.tar.age',
];
export const flagStyle = 'go';

export function register(program: Command, context: CliContext): void {
  program
    .argument('[input]', 'the age file; none or "-" is standard input')
    .option('--json', 'write JSON, with the fields of age-inspect')
    .action(async (path: string | undefined, { json }: { json?: boolean }) => {
      using input = openInput(path, context);
      const found = await inspectAgeFile(readPieces(input, context.signal), input.sizeBytes);
      await context.stdout.write(
        json ? `${JSON.stringify(found, undefined, 4)}\n` : describe(path || '<stdin>', found),
      );
    });
}

function describe(name: string, { version, armor, stanza_types, postquantum, sizes }: AgeInspection): string {
  const total = sizes.header + sizes.overhead + sizes.min_payload + sizes.armor;
  const row = (label: string, bytes: number): string =>
    `    ${label.padEnd(19)} ${String(bytes).padStart(12)} bytes`;
  return [
    `${escapeForTerminal(name)} is an age file, version "${version}".`,
    '',
    ...(armor ? ['This file is ASCII-armored.', ''] : []),
    'This file is encrypted to the following recipient types:',
    ...stanza_types.map((type) => `  - "${escapeForTerminal(type)}"`),
    '',
    ...(postquantum === 'yes' ? ['This file uses post-quantum encryption.', ''] : []),
    ...(postquantum === 'no' ? ['This file does NOT use post-quantum encryption.', ''] : []),
    'Sizes, if it decrypts:',
    '',
    row('Header', sizes.header),
    ...(armor ? [row('Armor overhead', sizes.armor)] : []),
    row('Encryption overhead', sizes.overhead),
    row('Payload', sizes.min_payload),
    `${' '.repeat(24)}-------------------`,
    row('Total', total),
    '',
  ].join('\n');
}
