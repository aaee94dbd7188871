import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What a request meets. */
export type ProxyAnswer =
  /** It goes on to the server. */
  | 'pass'
  /** 503 SlowDown, as S3 says it. */
  | 'slow down'
  /** 501 NotImplemented. */
  | 'not implemented'
  /** 200, and a list without end. */
  | 'endless'
  /** The connection is cut before the server hears of it. */
  | 'cut'
  /** The server does what it was asked to, and the connection is cut instead of a reply. */
  | 'cut reply'
  /** The connection is cut in the middle of the reply. */
  | 'cut in reply';

export interface ProxiedRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  /** Of the reply's body, as far as it was passed on. */
  bytes: number;
}

const errors: Readonly<Partial<Record<ProxyAnswer, readonly [number, string, string]>>> = {
  'slow down': [503, 'SlowDown', 'Please reduce your request rate.'],
  'not implemented': [
    501,
    'NotImplemented',
    'A header you provided implies functionality that is not implemented.',
  ],
};

/** Stands before an HTTP server, writes down what is asked of it, and answers some of it by itself. */
export class HttpProxy {
  readonly requests: ProxiedRequest[] = [];
  /** Decides about each request; may wait. `count`: how often this method and path came before. */
  plan: (request: ProxiedRequest, count: number) => ProxyAnswer | Promise<ProxyAnswer> = () => 'pass';
  readonly #target: URL;
  readonly #server: Server;
  readonly #counts = new Map<string, number>();

  static async start(target: string): Promise<HttpProxy> {
    const proxy = new HttpProxy(new URL(target));
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  private constructor(target: URL) {
    this.#target = target;
    this.#server = createServer((incoming, reply) => void this.#serve(incoming, reply));
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  reset(): void {
    this.requests.length = 0;
    this.#counts.clear();
    this.plan = () => 'pass';
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #serve(incoming: IncomingMessage, reply: ServerResponse): Promise<void> {
    incoming.on('error', () => {});
    const noted: ProxiedRequest = { method: incoming.method!, path: incoming.url!, bytes: 0 };
    const key = `${noted.method} ${noted.path}`;
    const count = this.#counts.get(key) ?? 0;
    this.#counts.set(key, count + 1);
    this.requests.push(noted);
    const answer = await this.plan(noted, count);
    if (answer === 'cut') return void incoming.socket.destroy();
    const error = errors[answer];
    if (error) {
      const [status, code, message] = error;
      incoming.resume();
      await once(incoming, 'end').catch(() => {});
      reply.writeHead(status, { 'content-type': 'application/xml' });
      reply.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`);
      return;
    }
    if (answer === 'endless') {
      const piece = '<Contents><Key>a</Key></Contents>'.repeat(2000);
      reply.writeHead(200, { 'content-type': 'application/xml' });
      reply.write('<?xml version="1.0"?><ListBucketResult>');
      const more = (): void => {
        while (!reply.destroyed && reply.write(piece)) noted.bytes += piece.length;
      };
      reply.on('drain', more);
      more();
      return;
    }
    const { hostname, port } = this.#target;
    const { method, url: path, headers } = incoming;
    const onward = request({ hostname, port, method, path, headers });
    onward.on('error', () => incoming.socket.destroy());
    onward.on('response', (response) => {
      if (answer === 'cut reply') {
        response.resume();
        response.on('end', () => incoming.socket.destroy());
        return;
      }
      reply.writeHead(response.statusCode!, response.headers);
      response.on('data', (piece: Buffer) => {
        noted.bytes += piece.length;
        reply.write(answer === 'cut in reply' ? piece.subarray(0, piece.length >>> 1) : piece);
        if (answer === 'cut in reply') setImmediate(() => incoming.socket.destroy());
      });
      response.on('end', () => reply.end());
    });
    incoming.pipe(onward);
  }
}
