import type { Command } from 'commander';
import type { Clock } from '../clock/clock.ts';
import type { Terminal } from '../ui/terminal.ts';
import type { MonitoringState } from './judge-repository.ts';

/**
 * What a file in commands/ exports:
 *
 *     export const examples = ['salvage seal ~/data -R key.pub', 'salvage seal …'];
 *     export function register(program: Command, context: CliContext): void {
 *       program
 *         .argument('<path...>', 'what to seal')
 *         .option('-o, --output <file>', 'write to FILE; "-" is standard output')
 *         .action(async (paths: string[], options: Options) => { … });
 *     }
 *
 * and adds one line to commands.ts. `program` already has -q, -v, --no-progress and --help; the help shows the
 * examples first and the exit codes last. A command that returns data declares its own `--json`.
 *
 * An action returns when all is done, calls `context.incomplete()` when some sources could not be read, and throws a
 * SalvageError for everything else; main.ts turns that into text and exit code. It writes data with
 * `context.stdout.write`, talks with `context.terminal`, and hands `context.signal` and `context.clock` down.
 * Recipients, identities and passphrases from flags: key-options.ts. Input and output files: input-file.ts and output-file.ts.
 */
export interface CommandModule {
  /** Two command lines that work as they stand, the most usual one first. */
  readonly examples: readonly string[];
  /** Adds arguments, options and the action. */
  register(program: Command, context: CliContext): void;
  /** 'go' for a command that stands in for a program of age: flags in the style of Go are understood as well. */
  readonly flagStyle?: 'go';
}

/** Everything a command gets from the process it runs in. */
export interface CliContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** Aborted by the first Ctrl-C, SIGTERM or SIGHUP; its reason is a SalvageError with the code 'interrupted'. */
  readonly signal: AbortSignal;
  /** Messages, warnings, progress, questions. */
  readonly terminal: Terminal;
  readonly stdin: StandardInput;
  readonly stdout: StandardOutput;
  /** Has this done when the command has ended, however it ended, before the process does. */
  atEnd(work: () => Promise<void>): void;
  /** Some sources could not be read, and each was named in a warning: the run ends with exit code 3. */
  incomplete(): void;
  /** The command is asked by a monitoring system, and this is its answer: it decides the exit code. */
  answer(state: MonitoringState): void;
}

export interface StandardInput {
  readonly fd: 0;
  readonly isTerminal: boolean;
  /** To be called before it is read. @throws usage if it serves another purpose already: it can be read only once. */
  claim(purpose: string): void;
}

export interface StandardOutput {
  readonly fd: 1;
  readonly isTerminal: boolean;
  /** Width of the terminal as it is now; Infinity where there is none: programs read all of it. */
  columns(): number;
  /**
   * Writes all of it before it resolves. Text from outside must have gone through escapeForTerminal.
   * A reader that has gone away (EPIPE) ends the program quietly.
   */
  write(data: string | Uint8Array): Promise<void>;
}
