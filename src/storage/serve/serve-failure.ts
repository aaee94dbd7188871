// Errors of serving, as each side is to hear of them.
import { getSystemErrorMessage } from 'node:util';
import { SalvageError } from '../../errors/salvage-error.ts';
import { NotThisProtocol, ProtocolViolation } from './frame.ts';
import { encodeError, errorCodes, Refusal } from './messages.ts';

/** What a client is told: no paths of this machine, which are none of its business. */
export function asRefusal(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  const { errno } = causeOf(error) as NodeJS.ErrnoException;
  return new Refusal(
    errorCodes.failed,
    errno === undefined ? 'the server could not do it' : getSystemErrorMessage(errno),
  );
}

function causeOf(error: unknown): object {
  for (let cause = error; cause instanceof Error; cause = cause.cause)
    if (cause instanceof Refusal || 'errno' in cause) return cause;
  return {};
}

/** The last frame of a connection, for a client that can still be told. */
export function asError(problem: unknown): Buffer | undefined {
  if (problem instanceof Refusal) return encodeError(problem.code, problem.message);
  if (problem instanceof ProtocolViolation) return encodeError(errorCodes.violation, problem.message);
  return undefined;
}

/** The client has gone, or the connection to it. */
export function isHangUp(error: unknown): boolean {
  return (
    error instanceof Error &&
    !(error instanceof Refusal) &&
    'code' in error &&
    !(error instanceof SalvageError)
  );
}

/** What is told on this side. */
export function asFailure(problem: unknown): unknown {
  if (problem instanceof NotThisProtocol)
    return new SalvageError('failed', `Cannot serve this client: it does not speak the protocol of salvage`, {
      hint: 'This command is for the other end of an SSH connection: see the manual page on storage over SSH.',
      cause: problem,
    });
  if (problem instanceof Refusal || problem instanceof ProtocolViolation)
    return new SalvageError('failed', `Cannot serve this client: ${problem.message}`, { cause: problem });
  return problem;
}
