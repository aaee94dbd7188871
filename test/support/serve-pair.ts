// A server and its clients in one process: what travels between them passes through memory.
import { PassThrough } from 'node:stream';
import { systemClock } from '../../src/clock/clock.ts';
import { serveStorage, usualTimeouts } from '../../src/storage/serve/serve-connection.ts';
import type { Served } from '../../src/storage/serve/served.ts';
import { ServeClient } from '../../src/storage/ssh/serve-client.ts';
import { ServedStorage } from '../../src/storage/ssh/served-storage.ts';

export interface ServePair {
  readonly storage: ServedStorage;
  /** Cuts the connection that is open now, as a lost link does. */
  cut(): void;
  /** Connections made so far. */
  connections(): number;
}

/** A client whose every connection is served by `open`. */
export async function servePair(open: (path: string) => Promise<Served>, path = '/'): Promise<ServePair> {
  let made = 0;
  let cut = (): void => {};
  const storage = await ServedStorage.open('pair', async () => {
    made++;
    const toServer = new PassThrough();
    const toClient = new PassThrough();
    const serving = serveStorage({
      input: toServer,
      output: toClient,
      open,
      timeouts: usualTimeouts,
      clock: systemClock,
      signal: new AbortController().signal,
    }).catch(() => {});
    cut = () => {
      toServer.destroy();
      toClient.destroy();
    };
    const channel = {
      input: toClient,
      output: toServer,
      onConnected: () => {},
      explainEnd: async () => await Promise.resolve(new Error('the connection was cut')),
      async close() {
        toServer.end();
        await serving;
      },
    };
    return await ServeClient.connect(channel, path);
  });
  return { storage, cut: () => cut(), connections: () => made };
}
