import { decryptStream } from '../../age/decrypt-stream.ts';
import type { Identity } from '../../age/recipient.ts';
import { startDecompressor, type Decompressor } from '../../compression/decompressor.ts';
import { recognisableBytes, recogniseFormat } from '../../compression/recognise.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { showPath } from '../../posix/target-path.ts';
import type { LookUpId } from '../../tar/posix-acl.ts';
import { TarReader, type TarEntry, type TarHandler } from '../../tar/tar-reader.ts';

export interface ReadArchiveOptions {
  /** The encrypted archive. A piece is done with when the next one is asked for. */
  readonly source: AsyncIterable<Uint8Array>;
  readonly identities: readonly Identity[];
  readonly handler: TarHandler;
  /** Finds the users and groups of ACLs. */
  readonly lookUpId?: LookUpId;
  /** Awaited now and then, between two calls of the handler: nothing more is read until it is done. */
  readonly onPause?: () => Promise<void>;
  readonly signal: AbortSignal;
}

/** Decrypted bytes are handed to the decompressor in pieces of about this size. */
const pieceBytes = 256 << 10;

/**
 * Decrypts, decompresses and reads an archive as one stream: `age(zstd, gzip, xz, bzip2 or nothing (tar))`. Memory is
 * bounded whatever the archive announces. The handler is told of everything that is authentic, in order; when an error
 * comes out, everything before it has been told.
 *
 * @throws what decryptStream throws; damaged; failed if a program is missing; what the handler throws; the signal's reason
 */
export async function readArchive(options: ReadArchiveOptions): Promise<void> {
  const { handler, lookUpId, onPause, signal } = options;
  const tracker = new Tracker(handler);
  const reader = new TarReader(tracker, lookUpId);
  let decompressor: Decompressor | undefined;
  // While one piece is decompressed and unpacked, the next one is decrypted.
  let working: Promise<void> = Promise.resolve();
  const decompress = async (bytes: Uint8Array): Promise<void> => {
    await working;
    signal.throwIfAborted();
    decompressor ??= startDecompressor(recogniseFormat(bytes), (tar) => {
      reader.push(tar);
      return onPause?.();
    });
    working = decompressor.write(bytes);
    working.catch(() => {});
  };
  try {
    let failure: { error: unknown } | undefined;
    try {
      for await (const piece of gather(decryptStream(options.source, options.identities))) {
        await decompress(piece);
      }
    } catch (error) {
      failure = { error };
    }
    await working;
    if (failure) throw failure.error;
    await decompressor?.finish();
    reader.finish();
  } catch (error) {
    throw tracker.locate(error);
  } finally {
    decompressor?.close();
  }
}

/** Joins small pieces: each step of a stream costs more than copying. What came before an error is not lost. */
async function* gather(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  let held: Uint8Array[] = [];
  let heldBytes = 0;
  const take = (): Uint8Array => {
    const joined = held.length === 1 ? held[0]! : Buffer.concat(held);
    held = [];
    heldBytes = 0;
    return joined;
  };
  try {
    for await (const piece of pieces) {
      held.push(piece);
      heldBytes += piece.length;
      if (heldBytes >= Math.max(pieceBytes, recognisableBytes)) yield take();
    }
  } catch (error) {
    if (heldBytes > 0) yield take();
    throw error;
  }
  if (heldBytes > 0) yield take();
}

/** Passes everything on and remembers the last member that was complete. */
class Tracker implements TarHandler {
  readonly #handler: TarHandler;
  #current: Buffer | undefined;
  #last: Buffer | undefined;
  #members = 0;

  constructor(handler: TarHandler) {
    this.#handler = handler;
  }

  entry(entry: TarEntry): void {
    this.#current = entry.path;
    this.#handler.entry(entry);
  }

  data(bytes: Buffer, offset: number): void {
    this.#handler.data(bytes, offset);
  }

  end(): void {
    this.#last = this.#current;
    this.#members++;
    this.#handler.end();
  }

  /** The same error with a word on where the archive ended, if it says that the archive is cut short or was changed. */
  locate(error: unknown): unknown {
    const isDamage =
      error instanceof SalvageError && ['age-payload', 'age-armor', 'damaged'].includes(error.code);
    if (!isDamage) return error;
    const hint = this.#last
      ? `Its first ${this.#members} members are whole, up to "${showPath(this.#last)}"; all that follows is lost.`
      : 'Not one member of it is whole.';
    return new SalvageError(error.code, error.message, {
      hint,
      details: { ...error.details, wholeMembers: this.#members },
      cause: error,
    });
  }
}
