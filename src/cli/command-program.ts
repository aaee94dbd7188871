import { Command } from 'commander';
import { commands } from './commands.ts';
import type { CliContext, CommandModule } from './context.ts';
import { version } from './version.ts';

export interface CommandProgram {
  /** What it takes and does, ready to parse arguments: the one source of its help, its man page and its completion. */
  readonly program: Command;
  readonly module: CommandModule;
}

/** The command of that name with all its arguments and options; undefined if there is none. */
export async function commandProgram(name: string, context: CliContext): Promise<CommandProgram | undefined> {
  const entry = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (entry === undefined) return undefined;
  const module = await entry.load();
  const program = new Command(`salvage ${name}`)
    .summary(entry.summary)
    .description(`${entry.summary[0]!.toUpperCase()}${entry.summary.slice(1)}.`)
    .helpOption('-h, --help', 'show this help')
    .version(version, '--version', 'show the version of salvage')
    .exitOverride()
    .configureOutput({ writeErr: () => {}, writeOut: () => {} });
  module.register(program, context);
  program
    .option('-q, --quiet', 'say nothing but warnings and errors')
    .option('-v, --verbose', 'say more, and why something failed')
    .option('--no-progress', 'show no progress line');
  return { program, module };
}
