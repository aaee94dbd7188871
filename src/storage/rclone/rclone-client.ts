import { once } from 'node:events';
import { Agent, request, type ClientRequest, type IncomingMessage } from 'node:http';
import { toHex } from '../../bytes/bytes.ts';
import { randomBytes } from '../../clock/random.ts';
import { abortable } from '../abortable.ts';
import { TransientError } from '../transient-error.ts';
import { describeFailure, RcloneFailure, shorten } from './rclone-failure.ts';
import { RcloneProgram, servedRemote, type RunningRclone } from './rclone-program.ts';

/** Parameters of a call, as https://rclone.org/rc/ lists them. */
export type RcParameters = Readonly<Record<string, unknown>>;

interface Answer {
  readonly response: IncomingMessage;
  readonly status: number;
}

interface RequestOptions {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly send: (request: ClientRequest) => void | Promise<void>;
  readonly signal: AbortSignal | undefined;
}

/** A folder of a million objects takes half of this. */
const mostJsonBytes = 256 * 1024 * 1024;
const mostErrorBytes = 64 * 1024;
const mostMakingFolders = 10;

/** Requests to one running rclone: calls of its remote control, uploads and downloads. */
export class RcloneClient {
  readonly #program: RcloneProgram;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #opened = new WeakMap<RunningRclone, Promise<RcParameters>>();

  constructor(program: RcloneProgram) {
    this.#program = program;
  }

  /** Calls `operations/…` of the place that is served. @throws RcloneFailure; the signal's reason */
  async call(command: string, parameters: RcParameters, signal?: AbortSignal): Promise<RcParameters> {
    return await this.#post(await this.#ready(signal), command, parameters, signal);
  }

  /** As `call`, for what makes folders on its way, and may be repeated. */
  async callMakingFolders(
    command: string,
    parameters: RcParameters,
    signal?: AbortSignal,
  ): Promise<RcParameters> {
    for (let attempt = 1; ; attempt++)
      try {
        return await this.call(command, parameters, signal);
      } catch (error) {
        // Another client has made the folder since rclone looked for it, which it does again. There may be more, below that.
        const isFolders = error instanceof RcloneFailure && error.isFolders;
        if (!isFolders || attempt === mostMakingFolders) throw error;
      }
  }

  /** What rclone says of the place that is served: the answer of `operations/fsinfo`. @throws as `call` */
  async remoteInfo(signal?: AbortSignal): Promise<RcParameters> {
    return await this.#open(await this.#program.running(), signal);
  }

  /** Where a file must be that rclone is to upload. */
  async spoolFolder(): Promise<string> {
    return (await this.#program.running()).spoolFolder;
  }

  /**
   * Stores a stream under a name below `folder`. Half of it may stay there if this fails, or ends before it is over: rclone
   * takes a stream that breaks off for one that is short.
   */
  async uploadStream(
    folder: string,
    name: string,
    body: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<void> {
    const boundary = toHex(randomBytes(24));
    const query = new URLSearchParams({ fs: servedRemote, remote: folder });
    let failure: { readonly error: unknown } | undefined;
    const { response, status } = await this.#request(await this.#ready(signal), {
      method: 'POST',
      path: `/operations/uploadfile?${query.toString()}`,
      headers: { 'Content-Type': `multipart/form-data; boundary=${boundary}` },
      async send(upload) {
        upload.write(
          `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="${name}"\r\n` +
            'Content-Type: application/octet-stream\r\n\r\n',
        );
        try {
          for await (const part of body) {
            signal?.throwIfAborted();
            if (upload.destroyed) return;
            // A part may be used again by its owner once the next one is asked for.
            if (part.length > 0) await sendPart(upload, part);
          }
        } catch (error) {
          // The upload is brought to an end all the same: then what it has left can be removed.
          failure = { error };
        }
        upload.end(`\r\n--${boundary}--\r\n`);
      },
      signal,
    });
    if (status === 200) {
      await readText(response, mostErrorBytes);
      if (failure) throw failure.error;
    } else
      try {
        throw failure?.error ?? (await failureOf(response, status));
      } finally {
        // It may have answered before the end of the body, which is of no use any more.
        response.destroy();
      }
  }

  /** The bytes of an object, or of a part of it that is not empty; undefined if there is no object. */
  async download(
    name: string,
    range: { readonly offset: number; readonly length: number } | undefined,
    signal?: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    const { response, status } = await this.#request(await this.#ready(signal), {
      method: 'GET',
      path: `/${encodeURIComponent(`[${servedRemote}]`)}/${name}`,
      ...(range && { headers: { Range: `bytes=${range.offset}-${range.offset + range.length - 1}` } }),
      send: (get) => void get.end(),
      signal,
    });
    const sizeBytes = Number(/\/(\d+)$/.exec(response.headers['content-range'] ?? '')?.[1] ?? NaN);
    // Versions differ in how they say that an object ends before the range begins; all of them tell its size.
    if (range && sizeBytes <= range.offset) {
      response.destroy();
      return new Uint8Array(0);
    }
    if (status === 404) {
      response.resume();
      return undefined;
    }
    if (status !== (range ? 206 : 200)) throw await failureOf(response, status);
    const announced = Number(response.headers['content-length'] ?? NaN);
    const expected = range ? Math.min(range.length, sizeBytes - range.offset) : announced;
    if (!Number.isSafeInteger(expected) || announced !== expected) {
      response.destroy();
      throw new RcloneFailure(`rclone announces ${announced} bytes where ${expected} were asked for`, false);
    }
    return await readExactly(response, expected);
  }

  async close(): Promise<void> {
    this.#agent.destroy();
    await this.#program.close();
  }

  /** The program, when it has the remote open. */
  async #ready(signal: AbortSignal | undefined): Promise<RunningRclone> {
    signal?.throwIfAborted();
    const running = await this.#program.running();
    await this.#open(running, signal);
    return running;
  }

  /**
   * Requests that find the remote not yet open open it each for itself, and what such twins know of folders in the making
   * they do not tell each other: the second to make one fails, or makes another of the same name. So one request goes first.
   */
  async #open(running: RunningRclone, signal: AbortSignal | undefined): Promise<RcParameters> {
    let opening = this.#opened.get(running);
    if (!opening) {
      opening = this.#post(running, 'fsinfo', {}, undefined);
      this.#opened.set(running, opening);
      opening.catch(() => this.#opened.delete(running));
    }
    return await abortable(opening, signal);
  }

  async #post(
    running: RunningRclone,
    command: string,
    parameters: RcParameters,
    signal: AbortSignal | undefined,
  ): Promise<RcParameters> {
    const body = JSON.stringify({ fs: servedRemote, ...parameters });
    const { response, status } = await this.#request(running, {
      method: 'POST',
      path: `/operations/${command}`,
      headers: { 'Content-Type': 'application/json' },
      send: (call) => void call.end(body),
      signal,
    });
    if (status !== 200) throw await failureOf(response, status);
    return parseObject(await readText(response, mostJsonBytes));
  }

  async #request(
    running: RunningRclone,
    { method, path, headers, send, signal }: RequestOptions,
  ): Promise<Answer> {
    const ends = signal ? AbortSignal.any([signal, running.ended]) : running.ended;
    try {
      ends.throwIfAborted();
      const call = request({
        host: '127.0.0.1',
        port: running.port,
        method,
        path,
        headers: { ...headers, Authorization: running.authorization },
        agent: this.#agent,
        signal: ends,
      });
      const answered = once(call, 'response') as Promise<[IncomingMessage]>;
      // What fails first is told; the other follows from it.
      answered.catch(() => {});
      try {
        const sent = send(call);
        sent?.catch(() => {});
        if (sent) await Promise.race([sent, answered]);
        const [response] = await answered;
        response.once('error', () => {});
        return { response, status: response.statusCode! };
      } catch (error) {
        call.destroy();
        throw error;
      }
    } catch (error) {
      throw reasonFor(error, running, signal);
    }
  }
}

/** What ended a request: the caller, the end of rclone, or the connection to it. */
function reasonFor(error: unknown, running: RunningRclone, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return signal.reason;
  if (running.ended.aborted) return running.ended.reason;
  const { code } = error as NodeJS.ErrnoException;
  if (code !== 'ECONNRESET' && code !== 'EPIPE' && code !== 'ECONNREFUSED') return error;
  return new TransientError(`the connection to rclone broke: ${(error as Error).message}`, { cause: error });
}

async function sendPart(upload: ClientRequest, part: Uint8Array): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    upload.write(part, (error) => (error ? reject(error) : resolve()));
  });
}

async function failureOf(response: IncomingMessage, status: number): Promise<RcloneFailure> {
  const text = await readText(response, mostErrorBytes).catch(() => '');
  try {
    const { error } = parseObject(text);
    if (typeof error === 'string') return describeFailure(status, error);
  } catch {
    // Not all of rclone answers in JSON.
  }
  return describeFailure(status, text);
}

function parseObject(text: string): RcParameters {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new RcloneFailure(`rclone answers what is no JSON: ${shorten(text).slice(0, 200)}`, false, {
      cause,
    });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new RcloneFailure('rclone answers what is no JSON object', false);
  return value as RcParameters;
}

async function readText(response: IncomingMessage, mostBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > mostBytes) {
      response.destroy();
      throw new RcloneFailure(`rclone answers with more than ${mostBytes} bytes`, false);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

async function readExactly(response: IncomingMessage, length: number): Promise<Uint8Array> {
  // Grows with what comes, not with what is announced.
  const chunks: Buffer[] = [];
  let received = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      received += chunk.length;
      chunks.push(chunk);
    }
  } catch (cause) {
    throw new TransientError(`rclone broke off after ${received} of ${length} bytes`, { cause });
  }
  if (received !== length) throw new TransientError(`rclone broke off after ${received} of ${length} bytes`);
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
