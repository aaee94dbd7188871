import { systemCalls } from './system-calls.ts';

const F_SETPIPE_SZ = 1031;
/** The most that an ordinary user may ask for (/proc/sys/fs/pipe-max-size). */
const pipeBytes = 1 << 20;

/**
 * Lets a pipe hold 1 MiB in place of 64 KiB, so that both ends are woken sixteen times less often. For speed only: where
 * the kernel refuses, or the descriptor is no pipe, nothing happens.
 */
export function enlargePipe(fd: number): void {
  systemCalls().fcntl(fd, F_SETPIPE_SZ, pipeBytes);
}
