import type { Command } from 'commander';
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

/** The command that was probably meant: a beginning of it, or a name at most two typing errors away. */
export function suggestCommand(typed: string): string | undefined {
  const names = Object.keys(commands);
  const begun = names.filter((name) => typed.length >= 2 && name.startsWith(typed));
  if (begun.length === 1) return begun[0];
  const ranked = names
    .map((name) => ({ name, distance: typingErrors(typed, name) }))
    .toSorted((a, b) => a.distance - b.distance);
  const best = ranked[0]!;
  return best.distance <= Math.min(2, Math.floor(typed.length / 2)) ? best.name : undefined;
}

/** Insertions, deletions, replacements and swaps of neighbours that make one word out of the other. */
function typingErrors(a: string, b: string): number {
  let before: number[] = [];
  let above = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1] ? 0 : 1;
      let least = Math.min(above[column]! + 1, current[column - 1]! + 1, above[column - 1]! + same);
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      if (swapped) least = Math.min(least, before[column - 2]! + 1);
      current.push(least);
    }
    [before, above] = [above, current];
  }
  return above[b.length]!;
}
