import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { SalvageError } from '../../errors/salvage-error.ts';

/**
 * Runs a command line of sh in the folder; what it prints goes to standard error. Undefined if it is content, else a
 * sentence that says what it did.
 * @throws the signal's reason; failed if there is no sh
 */
export async function runCheck(
  command: string,
  folder: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  signal.throwIfAborted();
  // A process group of its own, so that all of it can be ended. Data on standard output is ours alone.
  const child = spawn('/bin/sh', ['-c', command], { cwd: folder, stdio: ['ignore', 2, 2], detached: true });
  const end = (): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGTERM');
    } catch {
      // It has just ended by itself.
    }
  };
  signal.addEventListener('abort', end, { once: true });
  try {
    const [code, killedBy] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    signal.throwIfAborted();
    if (code === 0) return undefined;
    return `The check is not content with what was restored: it ${code === null ? `was ended by ${killedBy}` : `ended with exit code ${code}`}.`;
  } catch (error) {
    if (signal.aborted || error instanceof SalvageError) throw error;
    throw new SalvageError('failed', `Cannot run the check: ${(error as Error).message}`, { cause: error });
  } finally {
    signal.removeEventListener('abort', end);
  }
}
