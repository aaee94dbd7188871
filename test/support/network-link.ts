// A long and unreliable line between two network namespaces, for tests of what goes over a network. Needs root, iproute2,
// python3 and /dev/net/tun.
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

export interface LinkQuality {
  /** From end to end and back, in milliseconds. */
  readonly roundTripMs: number;
  /** The share of packets that get lost, from 0 to 1. */
  readonly loss: number;
}

/** Another continent, over a line that is not the best. */
export const farAway: LinkQuality = { roundTripMs: 50, loss: 0.01 };

/** A TestContext, or `{ after }` of node:test in the body of a suite. */
interface Lifetime {
  after(callback: () => Promise<void>): void;
}

export class NetworkLink {
  readonly serverAddress = '10.99.0.2';
  /** To be put in front of a command, so that it runs at this end. */
  readonly atClient: readonly string[];
  readonly atServer: readonly string[];
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #waiting: { readonly bytes: number; readonly resolve: () => void }[] = [];
  #passed = 0;

  /** Use `startNetworkLink`. */
  constructor(child: ChildProcessByStdio<Writable, Readable, null>, client: string, server: string) {
    this.#child = child;
    const at = (fd: string): string[] => ['nsenter', `--net=/proc/${child.pid}/fd/${fd}`, '--'];
    this.atClient = at(client);
    this.atServer = at(server);
  }

  /** What the line is like from now on: it carries again if it was held. */
  set({ roundTripMs, loss }: LinkQuality): void {
    this.#child.stdin.write(`link ${roundTripMs / 2} ${loss}\n`);
  }

  /** Resolves when the client has sent about so many bytes more; then the line carries nothing, until it is set. */
  async hold(bytes: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const most = this.#passed + bytes;
    this.#waiting.push({ bytes: most, resolve });
    this.#child.stdin.write(`hold ${most}\n`);
    await promise;
  }

  /** What the link's program says; called by `startNetworkLink`. */
  onLine(line: string): void {
    this.#passed = Number(/^passed (\d+)$/.exec(line)?.[1] ?? this.#passed);
    for (const { bytes, resolve } of this.#waiting) if (bytes <= this.#passed) resolve();
  }
}

/** A link that ends when the test or suite does; the namespaces are gone when all that runs in them has ended too. The same packets get lost every time, as far as they are the same. */
export async function startNetworkLink(
  lifetime: Lifetime,
  quality: LinkQuality,
  seed = 1,
): Promise<NetworkLink> {
  const script = join(import.meta.dirname, 'network-link.py');
  const child = spawn('/usr/bin/python3', [script, String(seed)], { stdio: ['pipe', 'pipe', 'inherit'] });
  lifetime.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const over = once(child, 'exit');
    child.stdin.end();
    await over;
  });
  const ended = once(child, 'exit').then(() => Promise.reject(new Error('the network link did not start')));
  ended.catch(() => {});
  const lines = createInterface({ input: child.stdout });
  const [ready] = (await Promise.race([once(lines, 'line'), ended])) as [string];
  const [, client, server] = /^ready (\d+) (\d+)$/.exec(ready)!;
  const link = new NetworkLink(child, client!, server!);
  lines.on('line', (line) => link.onLine(line));
  link.set(quality);
  return link;
}
