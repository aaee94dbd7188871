import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { SalvageError } from '../../errors/salvage-error.ts';
import { commandProgram } from '../command-program.ts';
import { commands } from '../commands.ts';
import type { CliContext } from '../context.ts';
import { commandManPage, programManPage } from '../man-page.ts';
import { systemError } from '../system-error.ts';

export const examples: readonly string[] = [
  'salvage man backup | man -l -',
  'salvage man --all ~/.local/share/man/man1',
];

interface Options {
  readonly all?: string;
}

export function register(program: Command, context: CliContext): void {
  program
    .argument('[command]', 'whose page to print (default: that of salvage itself)')
    .option('--all <folder>', 'write all pages into FOLDER')
    .action(async (name: string | undefined, { all }: Options) => {
      if (all === undefined) await context.stdout.write(await manPage(name, context));
      else await writeAll(all, context);
    });
}

async function manPage(name: string | undefined, context: CliContext): Promise<string> {
  if (name === undefined) return programManPage();
  const found = await commandProgram(name, context);
  if (found === undefined)
    throw new SalvageError('usage', `Cannot print the page of "${name}": there is no such command`, {
      hint: 'salvage --help lists the commands',
    });
  return commandManPage(found.program, found.module);
}

async function writeAll(folder: string, context: CliContext): Promise<void> {
  const names = [undefined, ...Object.keys(commands)];
  const pages = await Promise.all(names.map(async (name) => [name, await manPage(name, context)] as const));
  try {
    mkdirSync(folder, { recursive: true });
    for (const [name, page] of pages)
      writeFileSync(join(folder, `${name === undefined ? 'salvage' : `salvage-${name}`}.1`), page);
  } catch (error) {
    throw systemError(`write the pages to "${folder}"`, error);
  }
  context.terminal.info(`Wrote ${pages.length} pages to ${folder}`);
}
