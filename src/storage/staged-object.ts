// The seam between worker threads, which run plain synchronous loops, and storage, which is asynchronous. A worker is
// given the storage's StageSpec (plain data), calls `stageObject` for every object it has finished, and posts the result
// to the thread that owns the storage:
//
//   worker   const staged = stageObject(spec, name, parts);
//            port.postMessage({ …, staged }, stagedTransfer(staged));
//   owner    await storage.createStaged(staged, signal);
//
// For a local folder the worker has then written the bytes itself, into the folder of unfinished uploads, and the owner
// only syncs and links the file; for a remote storage the parts travel to the owner without being copied, and the owner
// uploads them. Either way the object does not exist before `createStaged` has returned: a worker that dies leaves nothing.
import { closeSync, mkdirSync, openSync, unlinkSync, writevSync } from 'node:fs';
import { join } from 'node:path';
import { toHex } from '../bytes/bytes.ts';
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

/**
 * Takes over an object. For a folder its bytes are written before the call returns and `parts` can be reused; else they
 * belong to the staged object. @throws failed if the bytes cannot be written; nothing is left behind then
 */
export function stageObject(spec: StageSpec, name: string, parts: readonly Uint8Array[]): StagedObject {
  let sizeBytes = 0;
  for (const part of parts) sizeBytes += part.length;
  if (spec.kind === 'transfer') return { name, sizeBytes, content: { kind: 'parts', parts } };
  const path = join(spec.folder, toHex(randomBytes(16)));
  try {
    writeNewFile(spec.folder, path, parts);
  } catch (cause) {
    throw new SalvageError('failed', `Cannot store "${name}": ${(cause as Error).message}`, { cause });
  }
  return { name, sizeBytes, content: { kind: 'file', path } };
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

function writeNewFile(folder: string, path: string, parts: readonly Uint8Array[]): void {
  let file: number;
  try {
    file = openSync(path, 'wx', 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    file = openSync(path, 'wx', 0o600);
  }
  try {
    try {
      writeAllParts(file, parts);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    unlinkSync(path);
    throw error;
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
