import { readSync } from 'node:fs';
import type { Compression } from '../../compression/compression.ts';
import { AccountNames } from '../../posix/account-names.ts';
import { dataExtents } from '../../posix/holes.ts';
import { SourceFile } from '../../source/source-file.ts';
import { problemOf, type SourceProblem } from '../../source/source-problem.ts';
import { paddingAfter } from '../../tar/tar-header.ts';
import { encodeTarHeader } from '../../tar/tar-writer.ts';
import type { Batch, FileRange, SealedBatch, WholeFile } from './batch.ts';
import { BlockWriter } from './block-writer.ts';
import { describeFile } from './describe-file.ts';

/** What a file may have grown since the walk saw it; beyond it waits for the next archive, to keep memory bounded. */
const growthBytes = 8 << 20;

/** The work of one worker: reads the files of a batch, writes them as tar, compresses. Synchronous, no garbage per file. */
export class BatchSealer {
  readonly #writer: BlockWriter;
  readonly #accounts = new AccountNames();
  readonly #file = new SourceFile();
  #contentBytes = 0;
  #files = 0;
  #problems: SourceProblem[] = [];

  constructor(compression: Compression, level: number) {
    this.#writer = new BlockWriter(compression, level);
  }

  run({ items }: Batch): SealedBatch {
    this.#contentBytes = 0;
    this.#files = 0;
    this.#problems = [];
    for (const item of items) {
      if (item instanceof Uint8Array) this.#writer.add(item);
      else if ('fd' in item) this.#addRange(item);
      else this.#addFile(item);
    }
    const { blocks, total } = this.#writer.take();
    return {
      blocks,
      tarBytes: total,
      contentBytes: this.#contentBytes,
      files: this.#files,
      problems: this.#problems,
    };
  }

  transferOf({ blocks }: SealedBatch): ArrayBuffer[] {
    return blocks.map((block) => block.buffer);
  }

  #addFile(known: WholeFile): void {
    const { path } = known;
    const file = this.#file;
    try {
      file.open(known.realPath, known);
    } catch (error) {
      this.#problems.push(problemOf(Buffer.from(path, 'latin1'), error));
      return;
    }
    try {
      let entry;
      try {
        entry = describeFile(path, file, this.#accounts, known.size + growthBytes);
      } catch (error) {
        this.#problems.push(problemOf(Buffer.from(path, 'latin1'), error));
        return;
      }
      this.#files++;
      // From here on the entry stands in the archive: whatever happens, as many bytes follow as it announces.
      this.#writer.add(encodeTarHeader(entry));
      let stored = 0;
      let whole = true;
      for (const [position, length] of dataExtents(entry.size, entry.holes ?? [])) {
        whole &&= this.#addContent({ path, fd: file.fd, position, length });
        stored += length;
      }
      this.#writer.addZeros(paddingAfter(stored));
      const changes = whole ? file.changes() : undefined;
      if (changes !== undefined) this.#report(path, 'changed', changes);
      else if (entry.size < file.status.size)
        this.#report(path, 'changed', 'it is growing: its end was left out');
    } finally {
      file.close();
    }
  }

  #addRange(range: FileRange): void {
    this.#addContent(range);
    if (range.position === 0) this.#files++;
  }

  /** Exactly `length` bytes: what cannot be read is zeros, as tar does it. False if it was reported. */
  #addContent({ path, fd, position, length }: FileRange): boolean {
    this.#contentBytes += length;
    let done = 0;
    try {
      while (done < length) {
        const space = this.#writer.space(length - done);
        const read = readSync(fd, space, 0, space.length, position + done);
        // It has shrunk: whoever closes the file says so.
        if (read === 0) break;
        this.#writer.advance(read);
        done += read;
      }
    } catch (error) {
      const { message } = problemOf(Buffer.alloc(0), error);
      this.#report(path, 'unreadable', `${message}; its content is zeros from byte ${position + done} on`);
      this.#writer.addZeros(length - done);
      return false;
    }
    this.#writer.addZeros(length - done);
    return true;
  }

  #report(path: string, what: SourceProblem['what'], message: string): void {
    this.#problems.push({ path: Buffer.from(path, 'latin1'), what, message });
  }
}
