import { closeSync, openSync, readlinkSync } from 'node:fs';

/** A descriptor to read or write with calls that wait. */
export interface BlockingDescriptor {
  readonly fd: number;
  /** Closes what was opened here, never the descriptor that was given. */
  close(): void;
}

/**
 * The pipe behind `fd` opened once more. Node makes pipes non-blocking when a program so much as looks at its standard streams, and to ask
 * again and again costs half the speed; an open of its own has flags of its own. What cannot be opened again so (a named
 * pipe might wait for its other end; a socket; another system than Linux) is used as it is.
 */
export function openBlocking(fd: number, flags: 'r' | 'w'): BlockingDescriptor {
  const asItIs: BlockingDescriptor = { fd, close: () => {} };
  const path = `/proc/self/fd/${fd}`;
  let own: number;
  try {
    if (!readlinkSync(path).startsWith('pipe:')) return asItIs;
    own = openSync(path, flags);
  } catch {
    return asItIs;
  }
  return { fd: own, close: () => closeSync(own) };
}
