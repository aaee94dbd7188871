import { spawn } from 'node:child_process';
import type { Duplex, Readable } from 'node:stream';
import { constants, createGunzip, createZstdDecompress } from 'node:zlib';
import { SalvageError } from '../errors/salvage-error.ts';
import type { StreamFormat } from './recognise.ts';
import { ZstdFrames } from './zstd-frames.ts';

/** Window sizes up to 128 MiB, as the zstd program accepts them: a frame must not make us reserve more. */
const maxWindowLog = 27;
const outputBytes = 512 << 10;

/** Takes a piece of the output and may keep it. Nothing more is decompressed than a little ahead until it is done. */
export type TakeOutput = (bytes: Uint8Array) => void | Promise<void>;

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
 * Starts one. `onOutput` gets the output in order and may throw: the error comes out of `write` or
 * `finish`. Those also throw a SalvageError 'damaged' for a stream that breaks its format, 'failed' if the program that
 * is needed is missing.
 */
export function startDecompressor(format: StreamFormat, onOutput: TakeOutput): Decompressor {
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

/** What comes out of a stream or program, handed over piece by piece; the first error of all involved. */
class Output {
  readonly #source: Readable;
  readonly #onOutput: TakeOutput;
  readonly #failure = Promise.withResolvers<never>();
  #handed = Promise.withResolvers<void>();
  #busy = false;
  /** Resolves when the source has ended and all of it was handed over. */
  readonly end: Promise<void>;
  /** Rejects at the first failure. */
  readonly failed: Promise<never> = this.#failure.promise;

  constructor(source: Readable, onOutput: TakeOutput) {
    this.#source = source;
    this.#onOutput = onOutput;
    this.failed.catch(() => {});
    this.end = this.#handOver();
    this.end.catch((error: unknown) => this.fail(error));
  }

  fail(error: unknown): void {
    this.#failure.reject(error);
  }

  /** Resolves when all that the source has yielded so far was handed over. */
  async drained(): Promise<void> {
    while (this.#busy || this.#source.readableLength > 0) {
      await Promise.race([this.#handed.promise, this.failed, this.end]);
    }
  }

  async #handOver(): Promise<void> {
    for await (const bytes of this.#source) {
      this.#busy = true;
      await this.#onOutput(bytes as Buffer);
      this.#busy = false;
      const handed = this.#handed;
      this.#handed = Promise.withResolvers();
      handed.resolve();
    }
  }
}

class StreamDecompressor implements Decompressor {
  readonly #stream: Duplex;
  readonly #output: Output;

  constructor(format: StreamFormat, stream: Duplex, onOutput: TakeOutput) {
    this.#stream = stream;
    // Before the iteration of the output, so that this is the error that counts.
    stream.on('error', (cause) => this.#output.fail(broken(format, cause)));
    this.#output = new Output(stream, onOutput);
  }

  async write(bytes: Uint8Array): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#stream.write(bytes, () => resolve());
    await Promise.race([promise, this.#output.failed]);
    await Promise.race([this.#output.drained(), this.#output.failed]);
  }

  async finish(): Promise<void> {
    this.#stream.end();
    await Promise.race([this.#output.end, this.#output.failed]);
  }

  close(): void {
    this.#stream.destroy();
  }
}

/** One decompressor per frame: see ZstdFrames. */
class ZstdDecompressor implements Decompressor {
  readonly #frames = new ZstdFrames();
  readonly #onOutput: TakeOutput;
  #frame: StreamDecompressor | undefined;

  constructor(onOutput: TakeOutput) {
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

class ProgramDecompressor implements Decompressor {
  readonly #child;
  readonly #output: Output;
  readonly #closed: Promise<void>;

  constructor(program: 'xz' | 'bzip2', onOutput: TakeOutput) {
    const child = spawn(program, ['-dc'], { stdio: ['pipe', 'pipe', 'ignore'] });
    this.#child = child;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#closed = promise;
    child.on('error', (cause) => this.#output.fail(missing(program, cause)));
    // Its exit code says what went wrong.
    child.stdin.on('error', () => {});
    child.on('close', (code) => {
      if (code !== 0) this.#output.fail(broken(program));
      resolve();
    });
    this.#output = new Output(child.stdout, onOutput);
  }

  async write(bytes: Uint8Array): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#child.stdin.write(bytes, () => resolve());
    await Promise.race([promise, this.#output.failed]);
  }

  async finish(): Promise<void> {
    this.#child.stdin.end();
    await Promise.race([Promise.all([this.#closed, this.#output.end]), this.#output.failed]);
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
