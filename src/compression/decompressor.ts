import { spawn } from 'node:child_process';
import type { Duplex, Readable, Writable } from 'node:stream';
import { constants, createGunzip, createZstdDecompress } from 'node:zlib';
import { SalvageError } from '../errors/salvage-error.ts';
import type { StreamFormat } from './recognise.ts';
import { ZstdFrames } from './zstd-frames.ts';

/** Window sizes up to 128 MiB, as the zstd program accepts them: a frame must not make us reserve more. */
const maxWindowLog = 27;
const outputBytes = 512 << 10;

/**
 * Decompresses a stream that is pushed in, piece by piece. The work is done on another thread, or in another program
 * for xz and bzip2; the output is handed over on this one.
 */
export interface Decompressor {
  /** Resolves when everything that these bytes yield was handed over (for a program: when it has taken them). */
  write(bytes: Uint8Array): Promise<void>;
  /**
   * The compressed stream is over: resolves when everything was handed over.
   *
   * @throws SalvageError 'damaged' if it is cut short
   */
  finish(): Promise<void>;
  /** Gives up. Harmless after `finish`. */
  close(): void;
}

/**
 * Starts one. `onOutput` gets the output in order, may keep it, and may throw: the error comes out of `write` or
 * `finish`. Those also throw a SalvageError 'damaged' for a stream that breaks its format, 'failed' if the program that
 * is needed is missing.
 */
export function startDecompressor(format: StreamFormat, onOutput: (bytes: Uint8Array) => void): Decompressor {
  switch (format) {
    case 'none':
      return {
        write: async (bytes) => onOutput(bytes),
        finish: async () => {},
        close: () => {},
      };
    case 'gzip':
      return new StreamDecompressor(format, createGunzip({ chunkSize: outputBytes }), onOutput);
    case 'zstd':
      return new ZstdDecompressor(onOutput);
    case 'xz':
    case 'bzip2':
      return new ProgramDecompressor(format, onOutput);
  }
}

/** Holds the first error, whoever made it, until somebody who can throw it asks. */
abstract class FailableDecompressor implements Decompressor {
  #error: unknown;
  #reportError: (error: unknown) => void;
  /** Rejects at the first failure. */
  protected readonly failed: Promise<never>;
  readonly #onOutput: (bytes: Uint8Array) => void;

  constructor(onOutput: (bytes: Uint8Array) => void) {
    this.#onOutput = onOutput;
    const { promise, reject } = Promise.withResolvers<never>();
    promise.catch(() => {});
    this.failed = promise;
    this.#reportError = reject;
  }

  protected fail(error: unknown): void {
    this.#error ??= error;
    this.#reportError(error);
  }

  protected handOver(source: Readable): void {
    source.on('data', (bytes: Buffer) => {
      if (this.#error !== undefined) return;
      try {
        this.#onOutput(bytes);
      } catch (error) {
        this.fail(error);
        this.close();
      }
    });
  }

  protected async writeTo(sink: Writable, bytes: Uint8Array): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    sink.write(bytes, (error) => {
      if (error) this.fail(error);
      resolve();
    });
    await Promise.race([promise, this.failed]);
    // The output of the last bytes may still wait for its event.
    await new Promise((resolve) => setImmediate(resolve));
    if (this.#error !== undefined) await this.failed;
  }

  abstract write(bytes: Uint8Array): Promise<void>;
  abstract finish(): Promise<void>;
  abstract close(): void;
}

class StreamDecompressor extends FailableDecompressor {
  readonly #stream: Duplex;
  readonly #ended: Promise<void>;

  constructor(format: StreamFormat, stream: Duplex, onOutput: (bytes: Uint8Array) => void) {
    super(onOutput);
    this.#stream = stream;
    stream.on('error', (cause) => this.fail(broken(format, cause)));
    this.#ended = new Promise((resolve) => stream.on('end', resolve));
    this.handOver(stream);
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.writeTo(this.#stream, bytes);
  }

  async finish(): Promise<void> {
    this.#stream.end();
    await Promise.race([this.#ended, this.failed]);
  }

  close(): void {
    this.#stream.destroy();
  }
}

/** One decompressor per frame: see ZstdFrames. */
class ZstdDecompressor implements Decompressor {
  readonly #frames = new ZstdFrames();
  readonly #onOutput: (bytes: Uint8Array) => void;
  #frame: StreamDecompressor | undefined;

  constructor(onOutput: (bytes: Uint8Array) => void) {
    this.#onOutput = onOutput;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (const piece of this.#frames.push(bytes)) {
      this.#frame ??= this.#startFrame();
      await this.#frame.write(piece.bytes);
      if (!piece.last) continue;
      await this.#frame.finish();
      this.close();
    }
  }

  async finish(): Promise<void> {
    if (this.#frames.insideFrame) throw broken('zstd');
  }

  close(): void {
    this.#frame?.close();
    this.#frame = undefined;
  }

  #startFrame(): StreamDecompressor {
    const params = { [constants.ZSTD_d_windowLogMax]: maxWindowLog };
    return new StreamDecompressor(
      'zstd',
      createZstdDecompress({ chunkSize: outputBytes, params }),
      this.#onOutput,
    );
  }
}

class ProgramDecompressor extends FailableDecompressor {
  readonly #child;
  readonly #closed: Promise<void>;

  constructor(program: 'xz' | 'bzip2', onOutput: (bytes: Uint8Array) => void) {
    super(onOutput);
    const child = spawn(program, ['-dc'], { stdio: ['pipe', 'pipe', 'ignore'] });
    this.#child = child;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#closed = promise;
    child.on('error', (cause) => this.fail(missing(program, cause)));
    // Its exit code says what went wrong.
    child.stdin.on('error', () => {});
    child.on('close', (code) => {
      if (code !== 0) this.fail(broken(program));
      resolve();
    });
    this.handOver(child.stdout);
  }

  async write(bytes: Uint8Array): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#child.stdin.write(bytes, () => resolve());
    await Promise.race([promise, this.failed]);
  }

  async finish(): Promise<void> {
    this.#child.stdin.end();
    await Promise.race([this.#closed, this.failed]);
  }

  close(): void {
    this.#child.kill();
  }
}

function broken(format: StreamFormat, cause?: unknown): SalvageError {
  return new SalvageError(
    'damaged',
    `Cannot decompress the archive: its ${format} data is damaged or cut short`,
    cause === undefined ? {} : { cause },
  );
}

function missing(program: 'xz' | 'bzip2', cause: unknown): SalvageError {
  const debian = program === 'xz' ? 'xz-utils' : 'bzip2';
  return new SalvageError('failed', `Cannot decompress the archive: the program "${program}" cannot be run`, {
    hint: `Install it, for example: apt-get install ${debian}`,
    cause,
  });
}
