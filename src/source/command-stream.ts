import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { SalvageError } from '../errors/salvage-error.ts';

/**
 * What a command line of sh prints, as it prints it. Its messages go where ours go. The command is ended if the signal is
 * aborted or nobody reads on.
 * @throws failed at the end, if the command cannot be run, fails, or is ended by a signal: its output is not whole then
 */
export async function* commandStream(command: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  signal.throwIfAborted();
  // A process group of its own, so that all of a pipeline can be ended.
  const child = spawn('/bin/sh', ['-c', command], { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
  const exit = once(child, 'close') as Promise<[code: number | null, signal: NodeJS.Signals | null]>;
  exit.catch(() => {});
  const end = (): void => endGroup(child);
  signal.addEventListener('abort', end, { once: true });
  try {
    yield* child.stdout as AsyncIterable<Uint8Array>;
    const [code, killedBy] = await exit;
    signal.throwIfAborted();
    if (code !== 0)
      throw new SalvageError(
        'failed',
        `Cannot back up what the command prints: it ${code === null ? `was ended by ${killedBy}` : `failed with exit code ${code}`}`,
        { hint: 'Run it by itself to see why; nothing was kept of its output.', details: { command } },
      );
  } catch (error) {
    if (signal.aborted || error instanceof SalvageError) throw error;
    throw new SalvageError('failed', `Cannot run the command: ${(error as Error).message}`, { cause: error });
  } finally {
    signal.removeEventListener('abort', end);
    end();
  }
}

function endGroup({ pid, exitCode, signalCode }: ChildProcess): void {
  if (pid === undefined || exitCode !== null || signalCode !== null) return;
  try {
    process.kill(-pid, 'SIGTERM');
  } catch {
    // It has just ended by itself.
  }
}
