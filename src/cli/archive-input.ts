import { fstatSync, type BigIntStats } from 'node:fs';
import { SalvageError } from '../errors/salvage-error.ts';
import { readPublicFile } from '../keys/key-file.ts';
import { ObjectPieces } from '../operation/open/object-pieces.ts';
import { maxSshsigBytes } from '../ssh/sshsig.ts';
import type { CliContext } from './context.ts';
import { openInput, readPieces, type InputFile } from './input-file.ts';
import { besideObject, openObjectPlace, type ObjectPlace } from './object-place.ts';

/** An archive to read: all of it once for its signature, if that is asked for, and then for what is in it. */
export interface ArchiveInput {
  /** The bytes that a signature is for. What `read` gives afterwards is the same, or an error. */
  message(signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** The bytes of the signature beside the archive, or undefined if there is none. */
  signatureBeside(signal: AbortSignal): Promise<Uint8Array | undefined>;
  read(signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** To be called when all was read. @throws bad-signature if it is not what `message` gave */
  checkUnchanged(): void;
  [Symbol.dispose](): void;
}

/** @throws what opening a file or a storage throws; usage if standard input is taken */
export async function openArchiveInput(
  archive: string,
  sshCommand: string | undefined,
  context: CliContext,
): Promise<ArchiveInput> {
  const place = await openObjectPlace(archive, sshCommand, context);
  if (!place) return new FileInput(archive, context);
  return new ObjectInput(place, await ObjectPieces.open(place.storage, place.name, context.signal));
}

/** The bytes of a signature: from storage, or undefined if the argument is a path. @throws failed if there is none */
export async function readStoredSignature(
  argument: string,
  sshCommand: string | undefined,
  context: CliContext,
): Promise<Uint8Array | undefined> {
  const place = await openObjectPlace(argument, sshCommand, context);
  if (!place) return undefined;
  const signature = await readSignatureObject(place, context.signal);
  if (signature) return signature;
  throw new SalvageError('failed', `Cannot read "${place.label}": there is no such object`);
}

class FileInput implements ArchiveInput {
  readonly #path: string;
  readonly #context: CliContext;
  readonly #input: InputFile;
  #signed: BigIntStats | undefined;

  constructor(path: string, context: CliContext) {
    this.#path = path;
    this.#context = context;
    this.#input = openInput(path, context);
  }

  async *message(signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const before = fstatSync(this.#input.fd, { bigint: true });
    if (!before.isFile())
      throw new SalvageError(
        'usage',
        `Cannot check the signature of "${this.#path}": it is not a regular file`,
      );
    // A second descriptor: the one that is read afterwards stays at the beginning.
    using message = openInput(this.#path, this.#context);
    const opened = fstatSync(message.fd, { bigint: true });
    if (opened.ino !== before.ino || opened.dev !== before.dev) throw changed();
    yield* readPieces(message, signal);
    this.#signed = before;
    this.checkUnchanged();
  }

  async signatureBeside(): Promise<Uint8Array> {
    return await Promise.resolve(readPublicFile(`${this.#path}.sig`, maxSshsigBytes));
  }

  read(signal: AbortSignal): AsyncIterable<Uint8Array> {
    return readPieces(this.#input, signal);
  }

  checkUnchanged(): void {
    if (!this.#signed) return;
    const after = fstatSync(this.#input.fd, { bigint: true });
    const { size, mtimeNs, ctimeNs } = this.#signed;
    if (after.size !== size || after.mtimeNs !== mtimeNs || after.ctimeNs !== ctimeNs) throw changed();
  }

  [Symbol.dispose](): void {
    this.#input[Symbol.dispose]();
  }
}

class ObjectInput implements ArchiveInput {
  readonly #place: ObjectPlace;
  readonly #pieces: ObjectPieces;

  constructor(place: ObjectPlace, pieces: ObjectPieces) {
    this.#place = place;
    this.#pieces = pieces;
  }

  message(signal: AbortSignal): AsyncIterable<Uint8Array> {
    return this.#pieces.read(signal);
  }

  async signatureBeside(signal: AbortSignal): Promise<Uint8Array | undefined> {
    return await readSignatureObject(besideObject(this.#place, '.sig'), signal);
  }

  read(signal: AbortSignal): AsyncIterable<Uint8Array> {
    return this.#pieces.read(signal);
  }

  /** Each piece is compared before it is given out. */
  checkUnchanged(): void {}

  [Symbol.dispose](): void {}
}

async function readSignatureObject(
  { storage, name }: ObjectPlace,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  // One byte more than there may be: the parser refuses what is too long.
  return await storage.read(name, { offset: 0, length: maxSshsigBytes + 1 }, signal);
}

function changed(): SalvageError {
  return new SalvageError('bad-signature', 'Cannot trust the archive: it was changed while it was read');
}
