import type { Command } from 'commander';
import { commands } from './commands.ts';
import type { CommandModule } from './context.ts';
import { exitCodes, foldCommand, groups } from './help.ts';
import { version } from './version.ts';

/** salvage(1), in the macros of man(7). */
export function programManPage(): string {
  const lists = Object.entries(groups).flatMap(([group, title]) => {
    const entries = Object.entries(commands).filter(([, entry]) => entry.group === group);
    return entries.length === 0
      ? []
      : [
          `.SS ${quote(title)}`,
          ...entries.flatMap(([name, { summary }]) => [
            '.TP',
            `.BR salvage\\-${text(name)} (1)`,
            sentence(summary),
          ]),
        ];
  });
  return page('salvage', 'encrypted backups that survive a complete cloud compromise', [
    '.SH SYNOPSIS',
    '.B salvage',
    '.I command',
    '.RI [ option ...]',
    '.RI [ argument ...]',
    '.SH DESCRIPTION',
    sentence(
      'A host that makes backups holds public keys only: it can write them and can read none of them back. ' +
        'All that is stored is signed, and can be checked and restored with age, zstd, tar, sha256sum and ssh-keygen',
    ),
    '.SH COMMANDS',
    ...lists,
  ]);
}

/** salvage-COMMAND(1): what `salvage COMMAND --help` says. */
export function commandManPage(program: Command, { examples }: CommandModule): string {
  const help = program.createHelp();
  const named = help.visibleArguments(program);
  return page(program.name().replace(' ', '-'), program.summary(), [
    '.SH SYNOPSIS',
    `.B ${text(program.name())}`,
    ...program
      .usage()
      .split(' ')
      .map((word) => text(word)),
    '.SH DESCRIPTION',
    sentence(program.description()),
    ...(named.length === 0 ? [] : ['.SS Arguments']),
    ...named.flatMap((argument) => item(help.argumentTerm(argument), help.argumentDescription(argument))),
    '.SH OPTIONS',
    ...help
      .visibleOptions(program)
      .flatMap((option) => item(help.optionTerm(option), help.optionDescription(option))),
    '.SH EXAMPLES',
    '.EX',
    ...examples.flatMap((line) =>
      foldCommand(line)
        .split('\n')
        .map((part) => text(part)),
    ),
    '.EE',
  ]);
}

function page(name: string, summary: string, body: readonly string[]): string {
  const codes = exitCodes.flatMap(([code, meaning]) => ['.TP', `.B ${code}`, sentence(meaning)]);
  const others = name === 'salvage' ? ['.BR age (1),'] : ['.BR salvage (1),', '.BR age (1),'];
  return [
    `.TH ${quote(name.toUpperCase())} 1 "" ${quote(`salvage ${version}`)}`,
    '.SH NAME',
    `${text(name)} \\- ${text(summary)}`,
    ...body,
    '.SH EXIT STATUS',
    ...codes,
    '.SH SEE ALSO',
    ...others,
    '.BR ssh\\-keygen (1)',
    '',
  ].join('\n');
}

function item(term: string, description: string): string[] {
  return ['.TP', `.B ${text(term)}`, sentence(description)];
}

function sentence(words: string): string {
  const begun = `${words[0]?.toUpperCase() ?? ''}${words.slice(1)}`;
  return text(/[.!?]$/.test(begun) ? begun : `${begun}.`);
}

/** A line of plain text: nothing in it is a request, a hyphen is the one that can be typed. */
function text(line: string): string {
  const escaped = line
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll("'", '\\(aq')
    .replaceAll('^', '\\(ha')
    .replaceAll('`', '\\(ga')
    .replaceAll('~', '\\(ti')
    .replaceAll('…', '...')
    .replaceAll(
      /[^\x20-\x7e]/gu,
      (character) => `\\[u${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}]`,
    );
  return escaped.startsWith('.') ? `\\&${escaped}` : escaped;
}

function quote(words: string): string {
  return `"${text(words).replaceAll('"', '\\(dq')}"`;
}
