import { FileStatus, readStatus } from './file-status.ts';
import { NameBuffer } from './name-buffer.ts';
import { flag, lastError, systemCalls } from './system-calls.ts';

/** The clocks of local file systems tick every 1 to 10 ms. */
const longestTickMs = 20;
const createFlags = flag.writeOnly | flag.create | flag.exclusive | flag.noFollow | flag.closeOnExec;

/**
 * A moment by the clock of a folder's file system, which is coarse and may be another machine's, and later than whatever is
 * there: what was made in the same tick as a run's beginning must not pass for the run's.
 */
export function momentToCome(root: number): bigint {
  const before = birthTimeNow(root);
  for (let waited = 0; waited < longestTickMs; waited++) {
    const now = birthTimeNow(root);
    if (now > before) return now;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
  }
  return before + 1n;
}

function birthTimeNow(root: number): bigint {
  const { openat, close, unlinkat } = systemCalls();
  const name = new NameBuffer();
  const here = name.latin1('.');
  const flags = flag.temporaryFile | flag.writeOnly | flag.closeOnExec;
  let fd = openat(root, here, flags, 0o600);
  if (fd < 0) {
    const named = name.latin1('.salvage-partial-start');
    unlinkat(root, named, 0);
    fd = openat(root, named, createFlags, 0o600);
    if (fd < 0) throw lastError('openat');
    unlinkat(root, named, 0);
  }
  try {
    return readStatus(fd, new FileStatus()).birthTimeNs;
  } finally {
    close(fd);
  }
}
