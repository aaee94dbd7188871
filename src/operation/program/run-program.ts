import { spawn, type ChildProcess, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { constants } from 'node:os';

export interface ProgramCall {
  readonly program: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What it can read on its standard input. */
  readonly input: string | Uint8Array;
  /** It is ended when it takes longer, with all that it has started. */
  readonly timeoutMs: number;
  /** Between the request to end and the order. Default: five seconds. */
  readonly graceMs?: number;
}

export interface ProgramResult {
  /** Undefined if it did what it should; else the end of a sentence that begins with "it". */
  readonly trouble: string | undefined;
  /** The end of what it printed, on both channels. */
  readonly output: string;
}

/** What is kept of the output. */
const mostOutputBytes = 16 * 1024;
/** A program that it has left running may hold the pipes for ever. */
const lingerMs = 500;

/**
 * Runs a program of the user's in a process group of its own, to its end or its time limit. What it prints is bounded and
 * never ours to print. Never rejects because of what the program does. @throws the signal's reason
 */
export async function runProgram(call: ProgramCall, signal?: AbortSignal): Promise<ProgramResult> {
  signal?.throwIfAborted();
  const { program, args, env, input, timeoutMs, graceMs = 5000 } = call;
  let child: ChildProcessWithoutNullStreams;
  try {
    child = spawn(program, args, { env, detached: true, stdio: 'pipe' });
  } catch (error) {
    return { trouble: `could not be started: ${(error as Error).message}`, output: '' };
  }
  const kept = keepOutput(child);
  // A program that reads nothing closes the pipe: its exit code tells, not this.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  let isLate = false;
  let order: NodeJS.Timeout | undefined;
  const end = (): void => {
    signalGroup(child, 'SIGTERM');
    order ??= setTimeout(() => signalGroup(child, 'SIGKILL'), graceMs);
  };
  const limit = setTimeout(() => {
    isLate = true;
    end();
  }, timeoutMs);
  signal?.addEventListener('abort', end, { once: true });
  try {
    const ending = await endOf(child);
    if (isLate || signal?.aborted) signalGroup(child, 'SIGKILL');
    signal?.throwIfAborted();
    const trouble = isLate ? `took longer than ${timeoutMs / 1000} seconds and was ended` : ending;
    return { trouble, output: kept() };
  } finally {
    clearTimeout(limit);
    clearTimeout(order);
    signal?.removeEventListener('abort', end);
  }
}

/** Undefined if it ended well. */
async function endOf(child: ChildProcess): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  let linger: NodeJS.Timeout | undefined;
  let ending: string | undefined;
  child.once('error', ({ message }) => resolve(`could not be started: ${message}`));
  child.once('exit', (code, killedBy) => {
    ending =
      code === null ? `was ended by ${killedBy}` : code === 0 ? undefined : `ended with exit code ${code}`;
    linger = setTimeout(() => {
      child.stdout?.destroy();
      child.stderr?.destroy();
      resolve(ending);
    }, lingerMs);
  });
  child.once('close', () => resolve(ending));
  try {
    return await promise;
  } finally {
    clearTimeout(linger);
  }
}

/** Collects the end of what the program prints. */
function keepOutput({ stdout, stderr }: ChildProcess): () => string {
  let kept = Buffer.alloc(0);
  for (const stream of [stdout!, stderr!])
    stream.on('data', (piece: Buffer) => {
      kept = Buffer.concat([kept, piece]).subarray(-mostOutputBytes);
    });
  return () => kept.toString('utf8').trim();
}

/** Also when the program itself has ended: what it has started may be there still. */
function signalGroup({ pid }: ChildProcess, name: keyof typeof constants.signals): void {
  try {
    if (pid !== undefined) process.kill(-pid, name);
  } catch {
    // All of it has just ended.
  }
}
