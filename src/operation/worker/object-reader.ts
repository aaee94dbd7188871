import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { SalvageError } from '../../errors/salvage-error.ts';
import { reviveFailure } from '../../errors/worker-failure.ts';
import { damagedObject } from '../../repository/damage.ts';
import type { ByteRange } from '../../storage/storage.ts';
import type { ObjectAnswer, ObjectRequest } from './worker-messages.ts';

const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * How a thread comes by objects: where they are plain files it opens them itself; else it asks the thread that owns the
 * storage, which is asynchronous, and sleeps until the bytes are there.
 */
export type ObjectAccess =
  | { readonly folder: string; readonly throwIfGivenUp: () => void }
  | { readonly ask: (request: ObjectRequest) => ObjectAnswer };

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
    return 'ask' in this.#access;
  }

  /**
   * Reads into `into` from `offset` on and returns how many bytes: fewer than it holds only at the end of the object.
   * @throws damaged if there is no such object, failed if it cannot be read, RunGivenUp
   */
  readInto(name: string, offset: number, into: Uint8Array): number {
    const access = this.#access;
    if ('ask' in access) {
      const bytes = receive(name, access.ask({ name, range: { offset, length: into.length } }));
      into.set(bytes.subarray(0, into.length));
      return Math.min(bytes.length, into.length);
    }
    access.throwIfGivenUp();
    this.#open(name, access.folder);
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
    if ('ask' in this.#access) return receive(name, this.#access.ask({ name, range: { offset, length } }));
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

function receive(name: string, answer: ObjectAnswer): Uint8Array {
  if ('failure' in answer) throw reviveFailure(answer.failure);
  if (!answer.bytes) throw damagedObject(name, 'it is missing');
  return answer.bytes;
}
