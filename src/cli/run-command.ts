import { CommanderError } from 'commander';
import { SalvageError } from '../errors/salvage-error.ts';
import { commandProgram } from './command-program.ts';
import type { CliContext } from './context.ts';
import { rewriteGoFlags } from './go-flags.ts';
import { commandHelp, programHelp, suggestCommand } from './help.ts';
import { version } from './version.ts';

interface CommonOptions {
  readonly quiet?: boolean;
  readonly verbose?: boolean;
  readonly progress: boolean;
  readonly json?: boolean;
}

/** Runs the command that the arguments name. Throws what the command throws, and a SalvageError 'usage' for a wrong command line. */
export async function runCommand(args: readonly string[], context: CliContext): Promise<void> {
  let [name, ...rest] = args;
  if (name === 'help' && rest[0] !== undefined) [name, rest] = [rest[0], ['--help']];
  if (name === '--help' || name === '-h' || name === 'help') return context.stdout.write(programHelp());
  if (name === undefined)
    throw new SalvageError('usage', 'Cannot run: no command given', {
      hint: 'salvage --help lists the commands; salvage quickstart DIR shows all of it in one go',
    });
  // With `salvage encrypt --json` the error of a wrong command line is an object, too.
  if (rest.includes('--json')) context.terminal.configure({ json: true });
  const found = await commandProgram(name, context);
  if (found === undefined) {
    const suggestion = suggestCommand(name);
    throw new SalvageError('usage', `Cannot run "${name}": there is no such command`, {
      hint:
        suggestion === undefined
          ? 'salvage --help lists the commands'
          : `did you mean salvage ${suggestion}?`,
    });
  }
  const { program, module } = found;
  program.hook('preAction', () => {
    const { quiet = false, verbose = false, progress, json = false } = program.opts<CommonOptions>();
    context.terminal.configure({ quiet, verbose, progress, json });
  });
  try {
    const args = module.flagStyle === 'go' ? rewriteGoFlags(program, rest) : rest;
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === 'commander.version') return context.stdout.write(`${version}\n`);
    if (error.exitCode === 0) return context.stdout.write(commandHelp(program, module.examples));
    throw usageError(error, name);
  }
}

/** commander says `error: unknown option '--recipent'\n(Did you mean --recipient?)`. */
function usageError(error: CommanderError, name: string): SalvageError {
  const [message = '', suggestion] = error.message.replace(/^error: /, '').split('\n');
  return new SalvageError('usage', `Cannot run salvage ${name}: ${message}`, {
    hint: suggestion?.replace(/^\((.*)\)$/, '$1') ?? `salvage ${name} --help shows how it is used`,
  });
}
