import type { Command } from 'commander';
import { nearestName } from '../errors/nearest-name.ts';
import { commands } from './commands.ts';
import { version } from './version.ts';

/** Code and meaning, for help and man pages. main.ts has the table by which a run ends. */
export const exitCodes: readonly (readonly [code: number, meaning: string])[] = [
  [0, 'done'],
  [1, 'failed'],
  [2, 'wrong usage'],
  [3, 'done, but some sources were unreadable'],
  [10, 'no repository there'],
  [11, 'another run holds it'],
  [12, 'no identity fits'],
  [13, 'damaged, missing or forged data found'],
  [130, 'interrupted'],
];

const exitCodesHelp = `Exit codes:\n${exitCodes
  .map(([code, meaning]) => `${String(code).padStart(5)}  ${meaning}\n`)
  .join('')}`;

export const groups: Readonly<Record<(typeof commands)[string]['group'], string>> = {
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
  return `Examples:\n${examples.map((line) => `  ${foldCommand(line)}\n`).join('')}\n${program.helpInformation()}\n${exitCodesHelp}`;
}

const foldedColumns = 76;

/** A long command line in lines that a shell reads as the one: each but the last ends in a backslash. */
export function foldCommand(line: string): string {
  // At spaces that no quotes enclose, and not within a comment.
  const words = line.match(/\s+#.*|\s*(?:'[^']*'|"[^"]*"|[^\s'"])+/g) ?? [];
  const groups: string[] = [];
  for (const word of words) {
    // An option stays with its value.
    if (/^\s--?[\w-]+$/.test(groups.at(-1) ?? '') && !/^\s*-/.test(word)) groups.push(groups.pop()! + word);
    else groups.push(word);
  }
  const lines = [''];
  for (const word of groups) {
    const last = lines.at(-1)!;
    if (last !== '' && last.length + word.length > foldedColumns) lines.push(`    ${word.trimStart()}`);
    else lines[lines.length - 1] = last + word;
  }
  return lines.join(' \\\n  ');
}

/** The command that was probably meant. */
export function suggestCommand(typed: string): string | undefined {
  return nearestName(typed, Object.keys(commands));
}
