import { write, writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { promisify } from 'node:util';
import { systemClock } from '../clock/clock.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { Terminal } from '../ui/terminal.ts';
import type { CliContext } from './context.ts';
import { onEndingSignal, type EndingSignal } from './ending-signals.ts';
import type { MonitoringState } from './judge-repository.ts';
import { OutputClosed } from './output-closed.ts';

const writeAsync = promisify(write);

export interface ProcessContext extends CliContext {
  /** Does what was left for the end, the latest first. What fails there is of no consequence any more. */
  end(): Promise<void>;
  /** Whether `incomplete()` was called. */
  readonly isIncomplete: boolean;
  /** What `answer()` was called with. */
  readonly answered: MonitoringState | undefined;
  /** The signal that stopped the run, if one did. */
  readonly stoppedBy: EndingSignal | undefined;
}

/** The context of this process. The first ending signal aborts the run; a second one of the same kind kills it. */
export function createProcessContext(): ProcessContext {
  const controller = new AbortController();
  let stoppedBy: ProcessContext['stoppedBy'];
  let isIncomplete = false;
  let answered: MonitoringState | undefined;
  let stdinPurpose: string | undefined;
  const atEnd: (() => Promise<void>)[] = [];
  onEndingSignal((name) => {
    stoppedBy ??= name;
    controller.abort(new SalvageError('interrupted', 'Interrupted'));
  });
  const stderr = {
    isTerminal: isatty(2),
    columns: () => process.stderr.columns || 80,
    write: writeMessage,
  };
  return {
    env: process.env,
    clock: systemClock,
    signal: controller.signal,
    terminal: new Terminal(stderr, systemClock, process.env),
    stdin: {
      fd: 0,
      isTerminal: isatty(0),
      claim(purpose) {
        if (stdinPurpose !== undefined)
          throw new SalvageError(
            'usage',
            `Cannot read ${purpose} from standard input: ${stdinPurpose} comes from there`,
            { hint: 'name a file for one of them' },
          );
        stdinPurpose = purpose;
      },
    },
    stdout: {
      fd: 1,
      isTerminal: isatty(1),
      columns: () => (isatty(1) ? process.stdout.columns || 80 : Infinity),
      write: writeOutput,
    },
    atEnd: (work) => {
      atEnd.push(work);
    },
    async end() {
      for (const work of atEnd.splice(0).reverse()) await work().catch(() => {});
    },
    incomplete: () => {
      isIncomplete = true;
    },
    answer: (state) => {
      answered = state;
    },
    get answered() {
      return answered;
    },
    get isIncomplete() {
      return isIncomplete;
    },
    get stoppedBy() {
      return stoppedBy;
    },
  };
}

/** Not synchronously: a reader that takes its time must not keep Ctrl-C from being heard. */
async function writeOutput(data: string | Uint8Array): Promise<void> {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data;
  for (let offset = 0; offset < bytes.length;) {
    try {
      const { bytesWritten } = await writeAsync(1, bytes, offset, bytes.length - offset, null);
      offset += bytesWritten;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EPIPE') throw new OutputClosed('standard output was closed', { cause: error });
      // Somebody who shares this pipe has made it non-blocking, and it is full.
      if (code === 'EAGAIN') await new Promise((resolve) => setTimeout(resolve, 5));
      else
        throw new SalvageError('failed', `Cannot write to standard output: ${(error as Error).message}`, {
          cause: error,
        });
    }
  }
}

/** Synchronously, so that no message is lost when the process ends. A message that cannot be written is dropped. */
function writeMessage(text: string): void {
  const bytes = Buffer.from(text);
  for (let offset = 0, failures = 0; offset < bytes.length && failures < 100;) {
    try {
      offset += writeSync(2, bytes, offset);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return;
      failures++;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}
