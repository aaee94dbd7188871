import { SshFailure } from '../ssh-program/ssh-failure.ts';
import { TransientError } from '../transient-error.ts';
import { Backoff, type RetrySettings } from '../retry/backoff.ts';
import { abortable } from '../abortable.ts';
import { OpenFlag } from './sftp-packet.ts';
import type { Handle, SftpSession } from './sftp-session.ts';

export interface UploadSettings {
  /** The session that is open now, or a new one. */
  readonly session: () => Promise<SftpSession>;
  /** A name that nobody else uses. */
  readonly path: string;
  readonly mode: number;
  /**
   * Opens the file for the first time, having made its folder if need be. `mayExist` once an earlier attempt has been lost
   * with its connection: the server may have made the file, or do so yet.
   */
  readonly create: (session: SftpSession, mayExist: boolean) => Promise<Handle>;
  /** Where it is given, an upload whose connection is lost goes on over a new one. */
  readonly resume: RetrySettings | undefined;
  /** True if the parts of the body may change once the next one is asked for. */
  readonly mustCopy: boolean;
  readonly signal: AbortSignal | undefined;
}

const fsyncExtension = 'fsync@openssh.com';
/** Bytes of one upload that the server has not confirmed. */
const unconfirmedBytes = 4 * 1024 * 1024;
/** After so many bytes the server is asked to bring them to its disk. */
const syncBytes = 8 * 1024 * 1024;
/** Bytes of a stream that are kept for the case that they have to be sent again. */
const keptBytes = 16 * 1024 * 1024;

interface Piece {
  readonly offset: number;
  readonly bytes: Uint8Array;
  isConfirmed: boolean;
}

/**
 * Writes the bytes of `body` to a new file, many requests under way at a time, and returns their number when all are
 * there: durably, where the server offers fsync.
 *
 * With `resume`, a lost connection is opened again and the upload goes on behind the last byte that is known to be on the
 * server's disk: what comes after it is kept until then. So an archive of any size survives any number of lost connections
 * and also a server that starts anew, in bounded memory. What was sent over the lost connection and arrives late is
 * harmless: the same bytes at the same place.
 */
export async function uploadFile(body: AsyncIterable<Uint8Array>, settings: UploadSettings): Promise<number> {
  const upload = new SftpUpload(body, settings);
  return await upload.run();
}

/** Waits until it is time to connect anew. @throws the error if it is another than a lost connection, or patience is over */
export async function waitAfterLoss(
  backoff: Backoff,
  error: unknown,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (!(error instanceof SshFailure && error.isTransient)) throw error;
  try {
    await backoff.wait(new TransientError(error.message, { cause: error }), signal);
  } catch (ending) {
    throw ending instanceof TransientError ? error : ending;
  }
}

class SftpUpload {
  readonly #settings: UploadSettings;
  readonly #body: AsyncIterable<Uint8Array>;
  #pieces: AsyncIterator<Uint8Array> | undefined;
  /** Pulled from the body and not known to be safe, in order. */
  #kept: Piece[] = [];
  #keptBytes = 0;
  #pulledBytes = 0;
  #safeBytes = 0;
  #creation: 'none' | 'unknown' | 'done' = 'none';
  #bodyFailure: { readonly error: unknown } | undefined;

  constructor(body: AsyncIterable<Uint8Array>, settings: UploadSettings) {
    this.#body = body;
    this.#settings = settings;
  }

  async run(): Promise<number> {
    const { resume, signal } = this.#settings;
    const backoff = resume && new Backoff(resume);
    try {
      for (;;) {
        const safeBefore = this.#safeBytes;
        try {
          await this.#attempt();
          return this.#pulledBytes;
        } catch (error) {
          if (!backoff || this.#bodyFailure) throw error;
          if (this.#safeBytes > safeBefore) backoff.reset();
          await waitAfterLoss(backoff, error, signal);
        }
      }
    } finally {
      // It may wait for a body that does not come.
      this.#pieces?.return?.().catch(() => {});
    }
  }

  async #attempt(): Promise<void> {
    const { session: connect, path, create, mode } = this.#settings;
    const session = await connect();
    let handle: Handle;
    if (this.#creation !== 'done') {
      const mayExist = this.#creation === 'unknown';
      this.#creation = 'unknown';
      handle = await create(session, mayExist);
      this.#creation = 'done';
    } else {
      const flags = OpenFlag.write | (this.#safeBytes === 0 ? OpenFlag.create : 0);
      handle = await session.open(path, flags, mode);
      const size = (await session.lstat(path))?.sizeBytes ?? 0;
      if (size < this.#safeBytes)
        throw new SshFailure('the server has lost a part of the upload', false, 'Run the command again.');
    }
    try {
      await this.#send(session, handle);
    } catch (error) {
      session.closeHandle(handle).catch(() => {});
      throw error;
    }
    // Where the bytes are on disk already, closing tells nothing new.
    const isSynced = session.offers(fsyncExtension);
    if (isSynced) session.closeHandle(handle).catch(() => {});
    else await session.closeHandle(handle);
  }

  async #send(session: SftpSession, handle: Handle): Promise<void> {
    const flight = new Flight(this.#settings.signal);
    const canSync = session.offers(fsyncExtension);
    const resumes = this.#settings.resume !== undefined;
    let unsent = 0;
    let isSyncing = false;
    let confirmedBytes = this.#safeBytes;
    let syncedBytes = this.#safeBytes;

    const confirm = (piece: Piece): void => {
      piece.isConfirmed = true;
      confirmedBytes = this.#kept.find(({ isConfirmed }) => !isConfirmed)?.offset ?? this.#pulledBytes;
      if (!resumes || !canSync) this.#markSafe(confirmedBytes);
      else if (!isSyncing && confirmedBytes - syncedBytes >= syncBytes) {
        // The server works in order: what it has confirmed before it is asked is on its disk when it answers.
        const asked = confirmedBytes;
        isSyncing = true;
        flight.add(0, session.extended(fsyncExtension, handle), () => {
          isSyncing = false;
          syncedBytes = asked;
          this.#markSafe(asked);
        });
      }
    };
    const send = async (piece: Piece): Promise<void> => {
      await flight.until(() => flight.bytes < unconfirmedBytes);
      const { offset, bytes } = piece;
      unsent++;
      const writing = session.write(handle, offset, bytes, () => {
        unsent--;
        flight.wake();
      });
      flight.add(bytes.length, writing, () => confirm(piece));
    };

    for (const piece of this.#kept) piece.isConfirmed = false;
    for (const piece of this.#kept.slice()) await send(piece);
    for (;;) {
      await flight.until(() => !this.#settings.mustCopy || this.#keptBytes < keptBytes);
      const piece = await this.#pull(session.limits.writeBytes);
      if (!piece) break;
      await send(piece);
    }
    if (canSync) {
      // Right behind the last bytes: one round trip for both.
      await flight.until(() => unsent === 0);
      flight.add(0, session.extended(fsyncExtension, handle), () => {});
    }
    await flight.until(() => flight.isEmpty);
    this.#markSafe(this.#pulledBytes);
  }

  async #pull(pieceBytes: number): Promise<Piece | undefined> {
    this.#pieces ??= cutPieces(this.#body, pieceBytes, this.#settings.mustCopy);
    let next: IteratorResult<Uint8Array>;
    try {
      next = await abortable(this.#pieces.next(), this.#settings.signal);
    } catch (error) {
      this.#bodyFailure = { error };
      throw error;
    }
    if (next.done) return undefined;
    const piece = { offset: this.#pulledBytes, bytes: next.value, isConfirmed: false };
    this.#kept.push(piece);
    this.#keptBytes += piece.bytes.length;
    this.#pulledBytes += piece.bytes.length;
    return piece;
  }

  #markSafe(offset: number): void {
    this.#safeBytes = offset;
    let done = 0;
    for (; done < this.#kept.length && this.#kept[done]!.offset < offset; done++)
      this.#keptBytes -= this.#kept[done]!.bytes.length;
    this.#kept.splice(0, done);
  }
}

/** Requests that are under way. The first failure of any of them is thrown by whoever waits for them. */
class Flight {
  bytes = 0;
  #count = 0;
  #failure: { readonly error: unknown } | undefined;
  #wake: (() => void) | undefined;
  readonly #signal: AbortSignal | undefined;

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal;
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  add(bytes: number, request: Promise<void>, onAnswer: () => void): void {
    this.bytes += bytes;
    this.#count++;
    void this.#follow(bytes, request, onAnswer);
  }

  async #follow(bytes: number, request: Promise<void>, onAnswer: () => void): Promise<void> {
    try {
      await request;
      this.bytes -= bytes;
      this.#count--;
      onAnswer();
    } catch (error) {
      this.#failure ??= { error };
    }
    this.wake();
  }

  /** Lets whoever waits look again. */
  wake(): void {
    this.#wake?.();
  }

  async until(condition: () => boolean): Promise<void> {
    const wake = (): void => this.wake();
    this.#signal?.addEventListener('abort', wake);
    try {
      for (;;) {
        this.#signal?.throwIfAborted();
        if (this.#failure) throw this.#failure.error;
        if (condition()) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      this.#signal?.removeEventListener('abort', wake);
    }
  }
}

/** The bytes in pieces of the full size, the last excepted; large parts of the body are passed on without copying. */
async function* cutPieces(
  body: AsyncIterable<Uint8Array>,
  pieceBytes: number,
  mustCopy: boolean,
): AsyncGenerator<Uint8Array> {
  let gathered: Buffer | undefined;
  let filled = 0;
  for await (const part of body)
    for (let at = 0; at < part.length;) {
      if (!mustCopy && filled === 0 && part.length - at >= pieceBytes / 4) {
        const piece = part.subarray(at, at + pieceBytes);
        at += piece.length;
        yield piece;
        continue;
      }
      gathered ??= Buffer.allocUnsafeSlow(pieceBytes);
      const taken = part.subarray(at, at + pieceBytes - filled);
      gathered.set(taken, filled);
      at += taken.length;
      filled += taken.length;
      if (filled < pieceBytes) continue;
      yield gathered;
      gathered = undefined;
      filled = 0;
    }
  if (gathered && filled > 0) yield gathered.subarray(0, filled);
}
