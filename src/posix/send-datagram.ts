import { cString, lastError, systemCalls } from './system-calls.ts';

const unixFamily = 1;
/** `SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC`. */
const datagramKind = 2 | 0o4000 | 0o2000000;
/** `MSG_NOSIGNAL` */
const noSignal = 0x4000;
/** Of `sun_path`, its NUL included. */
const mostPathBytes = 108;

/**
 * Sends one datagram to the Unix socket at this path, which Node has no way to do: how syslog and journald take records.
 * Never waits. @throws SystemCallError: ENOENT and ECONNREFUSED where nobody listens, EAGAIN where its queue is full, EMSGSIZE
 */
export function sendDatagram(path: string, bytes: Uint8Array): void {
  const { socket, sendto, close } = systemCalls();
  const name = cString(path);
  if (name.length > mostPathBytes)
    throw Object.assign(new Error('the path of the socket is too long'), { code: 'ENAMETOOLONG' });
  // struct sockaddr_un: the family in the order of the processor, which is little-endian, then the path.
  const address = Buffer.concat([Buffer.from([unixFamily, 0]), name]);
  const fd = socket(unixFamily, datagramKind, 0);
  if (fd < 0) throw lastError('socket');
  try {
    if (sendto(fd, bytes, bytes.length, noSignal, address, address.length) < 0) throw lastError('sendto');
  } finally {
    close(fd);
  }
}
