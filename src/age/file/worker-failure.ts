import { SalvageError } from '../../errors/salvage-error.ts';
import type { ErrorCode } from '../../errors/salvage-error.ts';

/** What a worker tells of its failure: errors lose their class between threads. */
export interface WorkerFailure {
  readonly message: string;
  /** Of a SalvageError. */
  readonly code?: ErrorCode;
  readonly details?: SalvageError['details'];
  /** Of a failed system call, such as ENOSPC. */
  readonly system?: string;
}

export function describeFailure(error: unknown): WorkerFailure {
  if (error instanceof SalvageError)
    return { message: error.message, code: error.code, details: error.details };
  if (!(error instanceof Error)) return { message: String(error) };
  const { code } = error as NodeJS.ErrnoException;
  return code === undefined
    ? { message: error.stack ?? error.message }
    : { message: error.message, system: code };
}

export function reviveFailure({ message, code, details, system }: WorkerFailure): Error {
  if (code !== undefined) return new SalvageError(code, message, details === undefined ? {} : { details });
  return system === undefined ? new Error(message) : Object.assign(new Error(message), { code: system });
}
