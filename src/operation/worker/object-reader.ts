import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { receiveMessageOnPort } from 'node:worker_threads';
import { SalvageError, type ErrorCode } from '../../errors/salvage-error.ts';
import { damagedObject } from '../../repository/damage.ts';
import type { ByteRange } from '../../storage/storage.ts';
import type { ObjectAccess, ObjectAnswer, ObjectRequest } from './object-service.ts';

const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** Reads objects synchronously in a worker thread. One object is open at a time; `close` lets go of it. */
export class ObjectReader {
  readonly #access: ObjectAccess;
  #name = '';
  #file = -1;

  constructor(access: ObjectAccess) {
    this.#access = access;
  }

  /** True if each reading is a request that travels. */
  get isRemote(): boolean {
    return this.#access.kind === 'ask';
  }

  /**
   * Reads into `into` from `offset` on and returns how many bytes: fewer than it holds only at the end of the object.
   * @throws damaged if there is no such object, failed if it cannot be read
   */
  readInto(name: string, offset: number, into: Uint8Array): number {
    if (this.#access.kind === 'ask') {
      const bytes = this.#ask(name, { offset, length: into.length });
      into.set(bytes.subarray(0, into.length));
      return Math.min(bytes.length, into.length);
    }
    this.#open(name, this.#access.folder);
    let filled = 0;
    while (filled < into.length) {
      const bytesRead = this.#naming(name, () =>
        readSync(this.#file, into, filled, into.length - filled, offset + filled),
      );
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return filled;
  }

  /** A range in memory of its own. @throws as `readInto` */
  read(name: string, { offset, length }: ByteRange): Uint8Array {
    if (this.#access.kind === 'ask') return this.#ask(name, { offset, length });
    const bytes = Buffer.allocUnsafeSlow(length);
    const filled = this.readInto(name, offset, bytes);
    return filled === length ? bytes : bytes.subarray(0, filled);
  }

  close(): void {
    if (this.#file >= 0) closeSync(this.#file);
    this.#file = -1;
    this.#name = '';
  }

  #open(name: string, folder: string): void {
    if (this.#name === name) return;
    this.close();
    this.#naming(name, () => {
      this.#file = openSync(join(folder, name), flags);
      if (!fstatSync(this.#file).isFile()) throw damagedObject(name, 'it is not a file');
      this.#name = name;
    });
  }

  #ask(name: string, range: ByteRange): Uint8Array {
    if (this.#access.kind !== 'ask') throw new TypeError('this reader asks nobody');
    const { port, answers } = this.#access;
    const seen = Atomics.load(answers, 0);
    const request: ObjectRequest = { name, range };
    port.postMessage(request);
    Atomics.wait(answers, 0, seen);
    const { message } = receiveMessageOnPort(port)! as { message: ObjectAnswer };
    if ('failure' in message)
      throw new SalvageError(message.failure.code as ErrorCode, message.failure.message);
    if (!message.bytes) throw damagedObject(name, 'it is missing');
    return message.bytes;
  }

  #naming<T>(name: string, work: () => T): T {
    try {
      return work();
    } catch (cause) {
      if (cause instanceof SalvageError) throw cause;
      const { code } = cause as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENOTDIR') throw damagedObject(name, 'it is missing', cause);
      throw new SalvageError('failed', `Cannot read "${name}": ${(cause as Error).message}`, { cause });
    }
  }
}
