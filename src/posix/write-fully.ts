import { SystemCallError } from './system-call-error.ts';
import { errno, lastError, systemCalls } from './system-calls.ts';

/** Writes all bytes at a position of an open file. Throws SystemCallError. */
export function writeFully(fd: number, bytes: Uint8Array, position: number): void {
  const { pwrite, errno: reason } = systemCalls();
  let done = 0;
  while (done < bytes.length) {
    const rest = done === 0 ? bytes : bytes.subarray(done);
    const written = pwrite(fd, rest, rest.length, position + done);
    if (written < 0 && reason() !== errno.EINTR) throw lastError('pwrite');
    if (written === 0) throw new SystemCallError('pwrite', errno.EIO);
    if (written > 0) done += written;
  }
}
