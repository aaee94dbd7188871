import { SalvageError, type ErrorCode } from './salvage-error.ts';

/** What a worker thread tells of its failure: errors lose their class between threads. */
export interface WorkerFailure {
  readonly message: string;
  /** Of a SalvageError. */
  readonly code?: ErrorCode;
  readonly hint?: string;
  readonly details?: SalvageError['details'];
  /** Of a failed system call, such as ENOSPC. */
  readonly system?: string;
  /** Of an error that is a bug. */
  readonly stack?: string;
}

export function describeFailure(error: unknown): WorkerFailure {
  if (error instanceof SalvageError) {
    const { message, code, hint, details } = error;
    return { message, code, details, ...(hint !== undefined && { hint }) };
  }
  if (!(error instanceof Error)) return { message: String(error) };
  const { message, stack } = error;
  const { code } = error as NodeJS.ErrnoException;
  if (code !== undefined) return { message, system: code };
  return { message, ...(stack !== undefined && { stack }) };
}

export function reviveFailure({ message, code, hint, details, system, stack }: WorkerFailure): Error {
  if (code !== undefined)
    return new SalvageError(code, message, {
      ...(hint !== undefined && { hint }),
      ...(details && { details }),
    });
  const error = new Error(message);
  if (stack !== undefined) error.stack = stack;
  return system === undefined ? error : Object.assign(error, { code: system });
}
