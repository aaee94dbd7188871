import { once } from 'node:events';
import { createServer } from 'node:net';

// Below those that the kernel gives to whoever names none: between the look and the use nobody gets one by chance.
const first = 16_384;
const count = 16_384;

/** A port of the loopback interface that nobody listens on, for a program that cannot choose one by itself. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = first + Math.floor(Math.random() * count);
    const server = createServer();
    try {
      await once(server.listen(port, '127.0.0.1'), 'listening');
    } catch {
      continue;
    }
    server.close();
    await once(server, 'close');
    return port;
  }
}
