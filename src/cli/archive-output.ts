import { FileStatus } from '../posix/file-status.ts';
import type { Walk } from '../source/walk.ts';
import { ObjectWriter } from '../storage/object-writer.ts';
import { BackgroundSync } from './background-sync.ts';
import type { StandardOutput } from './context.ts';
import type { ObjectPlace } from './object-place.ts';
import { OutputFile } from './output-file.ts';
import { writeParts } from './write-parts.ts';

/** Where the bytes of an archive go. Under its name nothing is seen before `commit`, and nothing remains without it. */
export interface ArchiveOutput {
  /** The bytes may be reused when it returns. */
  write(parts: readonly Uint8Array[]): void | Promise<void>;
  /** Whether the walk has met the archive itself. */
  isOwn(walk: Walk): boolean;
  commit(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Standard output, where no byte can be taken back. */
export class StreamedArchive implements ArchiveOutput {
  readonly #stdout: StandardOutput;

  constructor(stdout: StandardOutput) {
    this.#stdout = stdout;
  }

  async write(parts: readonly Uint8Array[]): Promise<void> {
    await this.#stdout.write(Buffer.concat(parts));
  }

  isOwn(): boolean {
    return false;
  }

  async commit(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** A file, which is created at the first byte. */
export class ArchiveFile implements ArchiveOutput {
  readonly #path: string;
  readonly #status = new FileStatus();
  #file: OutputFile | undefined;
  #sync: BackgroundSync | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  write(parts: readonly Uint8Array[]): void {
    if (!this.#file) {
      this.#file = new OutputFile(this.#path, { sync: true });
      this.#status.readFd(this.#file.fd);
      this.#sync = new BackgroundSync(this.#file.fd);
    }
    writeParts(this.#file.fd, parts, this.#path);
    this.#sync?.wrote(parts.reduce((sum, { length }) => sum + length, 0));
  }

  isOwn({ status }: Walk): boolean {
    return this.#file !== undefined && status.isSameObject(this.#status);
  }

  async commit(): Promise<void> {
    await this.#sync?.idle();
    this.#file?.commit();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sync?.idle();
    this.#file?.[Symbol.dispose]();
  }
}

/** An object in storage, sent as it is made; the upload begins at the first byte. */
export class ArchiveObject implements ArchiveOutput {
  readonly #place: ObjectPlace;
  readonly #signal: AbortSignal;
  #writer: ObjectWriter | undefined;

  constructor(place: ObjectPlace, signal: AbortSignal) {
    this.#place = place;
    this.#signal = signal;
  }

  async write(parts: readonly Uint8Array[]): Promise<void> {
    const { storage, name } = this.#place;
    this.#writer ??= new ObjectWriter(storage, name, this.#signal);
    await this.#writer.write(parts);
  }

  isOwn(): boolean {
    return false;
  }

  async commit(): Promise<void> {
    await this.#writer?.commit();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer?.discard();
  }
}
