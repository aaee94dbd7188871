// What alarms are sent to, on loopback: a small HTTP server and a small SMTP server that write down what they are given.
import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingHttpHeaders } from 'node:http';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/** A TestContext, or `{ after }` of node:test in the body of a suite. */
interface Lifetime {
  after(callback: () => void): void;
}

export interface ReceivedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface HttpReceiver {
  readonly url: string;
  readonly requests: ReceivedRequest[];
  /** Statuses of the next answers, and headers; then 200. A status of 0 gives no answer at all. */
  readonly answers: { readonly status: number; readonly headers?: Record<string, string> }[];
}

/** An HTTP server that takes everything. */
export async function startHttpReceiver(lifetime: Lifetime): Promise<HttpReceiver> {
  const requests: ReceivedRequest[] = [];
  const answers: HttpReceiver['answers'] = [];
  const server = createHttpServer((request, response) => {
    const body: Buffer[] = [];
    request.on('data', (piece: Buffer) => body.push(piece));
    request.on('end', () => {
      const { method = '', url: path = '', headers } = request;
      requests.push({ method, path, headers, body: Buffer.concat(body).toString() });
      const { status, headers: answer = {} } = answers.shift() ?? { status: 200 };
      if (status !== 0) response.writeHead(status, answer).end('whatever');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  lifetime.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests, answers };
}

export interface ReceivedMail {
  readonly from: string;
  readonly to: readonly string[];
  /** What came after AUTH PLAIN, decoded: "\0user\0password". */
  readonly login: string | undefined;
  readonly isEncrypted: boolean;
  /** Headers and body, lines ended by CR LF. */
  readonly text: string;
}

export interface SmtpReceiver {
  readonly port: number;
  readonly mails: ReceivedMail[];
  /** What the next commands of these names are answered, instead of what is right. */
  readonly refusals: Map<string, string[]>;
}

export interface SmtpOptions {
  /** Offers STARTTLS. */
  readonly tls?: { readonly key: string; readonly cert: string };
  readonly host?: string;
}

/** An SMTP server (RFC 5321) that takes every mail. */
export async function startSmtpReceiver(
  lifetime: Lifetime,
  { tls, host = '127.0.0.1' }: SmtpOptions = {},
): Promise<SmtpReceiver> {
  const mails: ReceivedMail[] = [];
  const refusals = new Map<string, string[]>();
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    socket.write('220 test ESMTP\r\n');
    converse(socket, false);
  });

  function converse(socket: Socket, isEncrypted: boolean): void {
    let buffered = '';
    let from = '';
    let to: string[] = [];
    let login: string | undefined;
    let isData = false;
    const reply = (text: string): void => void socket.write(`${text}\r\n`);
    const take = (chunk: Buffer): void => {
      buffered += chunk.toString('latin1');
      for (;;) {
        if (isData) {
          const end = buffered.indexOf('\r\n.\r\n');
          if (end < 0) return;
          const text = Buffer.from(buffered.slice(0, end), 'latin1').toString().replace(/^\.\./gm, '.');
          mails.push({ from, to, login, isEncrypted, text });
          buffered = buffered.slice(end + 5);
          isData = false;
          to = [];
          reply('250 taken');
          continue;
        }
        const end = buffered.indexOf('\r\n');
        if (end < 0) return;
        const line = buffered.slice(0, end);
        buffered = buffered.slice(end + 2);
        const verb = line.split(/[ :]/, 1)[0]!.toUpperCase();
        const refusal = refusals.get(verb)?.shift();
        if (refusal !== undefined) reply(refusal);
        else if (verb === 'EHLO')
          reply(
            [...(tls && !isEncrypted ? ['250-STARTTLS'] : []), '250-AUTH PLAIN', '250 SMTPUTF8'].join('\r\n'),
          );
        else if (verb === 'STARTTLS') {
          if (!tls) {
            reply('502 not here');
            continue;
          }
          reply('220 go on');
          socket.off('data', take);
          const secure = new TLSSocket(socket, { isServer: true, ...tls });
          secure.on('error', () => {});
          return converse(secure, true);
        } else if (verb === 'AUTH') {
          login = Buffer.from(line.split(' ')[2] ?? '', 'base64').toString();
          reply('235 welcome');
        } else if (verb === 'MAIL') {
          from = /<(.*?)>/.exec(line)![1]!;
          reply('250 yes');
        } else if (verb === 'RCPT') {
          to.push(/<(.*?)>/.exec(line)![1]!);
          reply('250 yes');
        } else if (verb === 'DATA') {
          isData = true;
          reply('354 go on');
        } else if (verb === 'QUIT') {
          reply('221 bye');
          socket.end();
        } else reply('250 yes');
      }
    };
    socket.on('data', take);
  }

  server.listen(0, host);
  await once(server, 'listening');
  lifetime.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { port: (server.address() as AddressInfo).port, mails, refusals };
}
