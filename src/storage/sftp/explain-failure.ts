import { SalvageError } from '../../errors/salvage-error.ts';
import { SshFailure } from '../ssh-program/ssh-failure.ts';
import { TransientError } from '../transient-error.ts';
import { SftpProtocolError, StatusCode } from './sftp-packet.ts';
import { SftpStatusError } from './sftp-session.ts';

/** Errors of the connection and of the server as the user's; those of others, such as the body of an upload, as they are. */
export function explainFailure(cause: unknown, message: string): unknown {
  if (cause instanceof SshFailure) {
    const options = { cause: cause.isTransient ? new TransientError(cause.message, { cause }) : cause };
    return new SalvageError(
      'failed',
      `${message}: ${cause.message}`,
      cause.hint === undefined ? options : { ...options, hint: cause.hint },
    );
  }
  if (cause instanceof SftpStatusError) {
    const { code } = cause;
    const isLost = code === StatusCode.noConnection || code === StatusCode.connectionLost;
    const hint =
      'Look on the server at the owner and the mode of the folder, and at what the account may do.';
    return new SalvageError('failed', `${message}: the server says "${cause.message}"`, {
      cause: isLost ? new TransientError(cause.message, { cause }) : cause,
      ...(code === StatusCode.permissionDenied ? { hint } : {}),
    });
  }
  if (cause instanceof SftpProtocolError)
    return new SalvageError('failed', `${message}: the server cannot be understood: ${cause.message}`, {
      hint: 'See with "sftp HOST" whether the account has a working SFTP service; a login script must not print anything.',
      cause,
    });
  return cause;
}

/** True for the server's answer that a request was not done, with one of these codes of StatusCode. */
export function isStatus(error: unknown, ...codes: number[]): error is SftpStatusError {
  return error instanceof SftpStatusError && codes.includes(error.code);
}
