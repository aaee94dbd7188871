// A client of the serve protocol that sends what it likes: frames that no client of ours would, or no frames at all.
import type { Readable, Writable } from 'node:stream';
import {
  encodeFrameHeader,
  FrameDecoder,
  preface,
  replyLimits,
  replyTypes,
  requestTypes,
} from '../../src/storage/serve/frame.ts';
import { encodeCreate, encodeEnd, encodeRead } from '../../src/storage/serve/messages.ts';

export interface Reply {
  readonly type: string;
  readonly request: number;
  /** Of an error: its code and message. */
  readonly code?: number;
  readonly message?: string;
  readonly payload: Buffer;
}

const names = new Map<number, string>(Object.entries(replyTypes).map(([name, type]) => [type, name]));

export function frame(
  type: keyof typeof requestTypes | number,
  request: number,
  payload: Uint8Array = Buffer.alloc(0),
): Buffer {
  const number = typeof type === 'number' ? type : requestTypes[type];
  return Buffer.concat([encodeFrameHeader(number, request, payload.length), payload]);
}

export function hello(path = '/'): Buffer {
  return Buffer.concat([preface, frame('hello', 0, Buffer.from(path))]);
}

/** The frames of a whole upload. */
export function upload(request: number, name: string, body: Uint8Array, sizeBytes?: number): Buffer {
  const parts: Buffer[] = [frame('create', request, encodeCreate({ name, sizeBytes }))];
  for (let at = 0; at < body.length; at += 200_000)
    parts.push(frame('data', request, body.subarray(at, at + 200_000)));
  return Buffer.concat([...parts, frame('end', request, encodeEnd(body.length))]);
}

export function reading(request: number, name: string): Buffer {
  return frame('read', request, encodeRead({ name, offset: 0, length: undefined }));
}

export function named(type: 'stat' | 'list' | 'remove', request: number, name: string): Buffer {
  return frame(type, request, Buffer.from(name, 'latin1'));
}

export class RawServeClient {
  readonly #input: Readable;
  readonly #output: Writable;
  readonly #decoder = new FrameDecoder(replyLimits);
  readonly #replies: Reply[] = [];
  #hasEnded = false;
  #wake: () => void = () => {};

  constructor(input: Readable, output: Writable) {
    this.#input = input;
    this.#output = output;
    output.on('error', () => {});
    input.on('error', () => {});
    input.on('data', (chunk: Buffer) => {
      for (const { type, request, payload } of this.#decoder.push(chunk))
        this.#replies.push({
          type: names.get(type)!,
          request,
          payload,
          ...(type === replyTypes.error && {
            code: payload.readUInt16LE(0),
            message: payload.toString('utf8', 2),
          }),
        });
      this.#wake();
    });
    input.on('close', () => {
      this.#hasEnded = true;
      this.#wake();
    });
  }

  send(...bytes: readonly Uint8Array[]): void {
    for (const each of bytes) this.#output.write(each);
  }

  /** Sends, and waits until the server has taken it or has gone. */
  async sendSlowly(bytes: Uint8Array): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#input.once('close', resolve);
      this.#output.write(bytes, () => {
        this.#input.off('close', resolve);
        resolve();
      });
    });
  }

  /** The next reply, or undefined when the server has hung up. */
  async next(): Promise<Reply | undefined> {
    while (this.#replies.length === 0 && !this.#hasEnded)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    return this.#replies.shift();
  }

  /** The last reply to a request; others are passed over. */
  async last(request: number): Promise<Reply | undefined> {
    for (;;) {
      const reply = await this.next();
      if (!reply || (reply.request === request && reply.type !== 'part' && reply.type !== 'page'))
        return reply;
    }
  }

  end(): void {
    this.#output.end();
  }
}
