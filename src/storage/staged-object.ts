// The seam between worker threads, which run plain synchronous loops, and storage, which is asynchronous. A worker is
// given the storage's StageSpec (plain data), stages every object that it makes, and posts the result to the thread that owns the storage:
//
//   worker   const staging = new ObjectStaging(spec);
//            staging.append(parts); …
//            const staged = staging.finish(name);
//            port.postMessage({ …, staged }, stagedTransfer(staged));
//   owner    await storage.createStaged(staged, signal);
//
// For a local folder the worker writes the bytes itself as they come, into the folder of unfinished uploads, and the owner
// only syncs and links the file; for a remote storage the parts travel to the owner without being copied, and the owner
// uploads them. Either way the object does not exist before `createStaged` has returned: a worker that dies leaves nothing.
import { closeSync, mkdirSync, openSync, unlinkSync, writevSync } from 'node:fs';
import { join } from 'node:path';
import { toHex } from '../bytes/bytes.ts';
import { releaseMemory } from '../bytes/release-memory.ts';
import { randomBytes } from '../clock/random.ts';
import { SalvageError } from '../errors/salvage-error.ts';

/** What a worker must know to stage objects. Can be posted to a thread. */
export type StageSpec =
  | { readonly kind: 'transfer' }
  /** `folder` is on the file system of the repository and is the storage's own. */
  | { readonly kind: 'folder'; readonly folder: string };

/** A finished object on its way into storage. Can be posted to a thread, with `stagedTransfer`. */
export interface StagedObject {
  readonly name: string;
  readonly sizeBytes: number;
  readonly content:
    | { readonly kind: 'parts'; readonly parts: readonly Uint8Array[] }
    | { readonly kind: 'file'; readonly path: string };
}

// Linux takes at most 1024 buffers in one writev.
const partsPerWrite = 1024;

/** Takes over an object that is finished: see ObjectStaging. */
export function stageObject(spec: StageSpec, name: string, parts: readonly Uint8Array[]): StagedObject {
  const staging = new ObjectStaging(spec);
  staging.append(parts);
  return staging.finish(name);
}

/** An object on its way whose bytes come one after the other, and whose name may be known only at its end. */
export class ObjectStaging {
  readonly #spec: StageSpec;
  readonly #parts: Uint8Array[] = [];
  #sizeBytes = 0;
  #file: { readonly fd: number; readonly path: string } | undefined;

  constructor(spec: StageSpec) {
    this.#spec = spec;
  }

  /**
   * Takes over parts with their memory: nobody else may look at them any more. For a folder they are written before the
   * call returns. @throws failed if the bytes cannot be written; nothing is left behind then
   */
  append(parts: readonly Uint8Array[]): void {
    for (const part of parts) this.#sizeBytes += part.length;
    if (this.#spec.kind === 'transfer') {
      for (const part of parts) this.#parts.push(part);
      return;
    }
    try {
      this.#file ??= createFile(this.#spec.folder);
      writeAllParts(this.#file.fd, parts);
      for (const part of parts) releaseMemory(part);
    } catch (cause) {
      this.discard();
      throw new SalvageError('failed', `Cannot store an object: ${(cause as Error).message}`, { cause });
    }
  }

  /** @throws failed if nothing was ever written and nothing can be; nothing is left behind then */
  finish(name: string): StagedObject {
    // An empty object is one, too.
    this.append([]);
    const sizeBytes = this.#sizeBytes;
    if (!this.#file) return { name, sizeBytes, content: { kind: 'parts', parts: this.#parts } };
    closeSync(this.#file.fd);
    return { name, sizeBytes, content: { kind: 'file', path: this.#file.path } };
  }

  /** Gives up what has been appended. */
  discard(): void {
    if (!this.#file) return;
    closeSync(this.#file.fd);
    unlinkSync(this.#file.path);
    this.#file = undefined;
  }
}

/** The parts of an object that was staged to be transferred. @throws failed if it was staged for a folder */
export function stagedParts({ name, content }: StagedObject): readonly Uint8Array[] {
  if (content.kind === 'parts') return content.parts;
  throw new SalvageError('failed', `Cannot store "${name}": it was staged for another storage`);
}

/** What to pass to `postMessage` so that the parts are moved and not copied. They are gone for the sender then. */
export function stagedTransfer(staged: StagedObject): ArrayBuffer[] {
  if (staged.content.kind === 'file') return [];
  const buffers = new Set<ArrayBuffer>();
  for (const { buffer, byteOffset, byteLength } of staged.content.parts)
    // A view of a part of a larger buffer (Node's pool, a reused buffer) is left to be copied.
    if (buffer instanceof ArrayBuffer && byteOffset === 0 && byteLength === buffer.byteLength)
      buffers.add(buffer);
  return [...buffers];
}

function createFile(folder: string): { readonly fd: number; readonly path: string } {
  const path = join(folder, toHex(randomBytes(16)));
  try {
    return { fd: openSync(path, 'wx', 0o600), path };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    return { fd: openSync(path, 'wx', 0o600), path };
  }
}

/** Writes all parts one after the other at the file's position, however little the kernel takes at a time. */
export function writeAllParts(file: number, parts: readonly Uint8Array[]): void {
  for (let start = 0; start < parts.length; start += partsPerWrite) {
    let rest = parts.slice(start, start + partsPerWrite);
    let left = rest.reduce((sum, part) => sum + part.length, 0);
    while (left > 0) {
      let written = writevSync(file, rest);
      if (written === 0) throw new Error('the file system takes no more bytes');
      left -= written;
      if (left === 0) break;
      let whole = 0;
      while (written >= rest[whole]!.length) written -= rest[whole++]!.length;
      rest = rest.slice(whole);
      rest[0] = rest[0]!.subarray(written);
    }
  }
}
