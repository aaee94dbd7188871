import type { Command } from 'commander';
import { nearestName } from '../errors/nearest-name.ts';
import { commands } from './commands.ts';
import { version } from './version.ts';

const exitCodesHelp = `Exit codes:
  0  done                                      11  another run holds it
  1  failed                                    12  no identity fits
  2  wrong usage                               13  damaged, missing or forged data found
  3  done, but some sources were unreadable   130  interrupted
 10  no repository there
`;

const groups: Readonly<Record<(typeof commands)[string]['group'], string>> = {
  start: 'Start',
  age: 'Files, as age does it',
  archive: 'Archives and signatures',
  repository: 'Repository',
  keys: 'Keys',
  operations: 'Operations',
};

/** The text of `salvage --help`. */
export function programHelp(): string {
  const names = Object.keys(commands);
  const width = Math.max(...names.map((name) => name.length)) + 2;
  const sections = Object.entries(groups).map(([group, title]) => {
    const lines = names
      .filter((name) => commands[name]!.group === group)
      .map((name) => `  ${name.padEnd(width)}${commands[name]!.summary}\n`);
    return lines.length === 0 ? '' : `${title}:\n${lines.join('')}\n`;
  });
  return `Examples:
  tar c ~/data | salvage encrypt -R ~/.ssh/id_ed25519.pub > data.tar.age
  salvage decrypt -i ~/.ssh/id_ed25519 data.tar.age | tar x

Usage: salvage COMMAND [OPTION]… [ARGUMENT]…      (salvage ${version})

${sections.join('')}salvage COMMAND --help tells about one command.

${exitCodesHelp}`;
}

/** The text of `salvage COMMAND --help`: examples first, exit codes last. */
export function commandHelp(program: Command, examples: readonly string[]): string {
  return `Examples:\n${examples.map((line) => `  ${line}\n`).join('')}\n${program.helpInformation()}\n${exitCodesHelp}`;
}

/** The command that was probably meant. */
export function suggestCommand(typed: string): string | undefined {
  return nearestName(typed, Object.keys(commands));
}
