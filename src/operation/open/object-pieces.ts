import { createHash } from 'node:crypto';
import { equalBytes } from '../../bytes/bytes.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import type { Storage } from '../../storage/storage.ts';

const pieceBytes = 4 * 1024 * 1024;
/** Pieces asked for ahead of the one that is worked on: this many times 4 MiB in memory. */
const piecesAhead = 3;

/**
 * An object of any size, read from its start in pieces that are fetched ahead. It can be read several times, and storage
 * cannot give other bytes the second time: what was seen of each piece is remembered, 32 bytes for each 4 MiB.
 */
export class ObjectPieces {
  readonly sizeBytes: number;
  readonly #storage: Storage;
  readonly #name: string;
  readonly #seen: Uint8Array[] = [];

  private constructor(storage: Storage, name: string, sizeBytes: number) {
    this.#storage = storage;
    this.#name = name;
    this.sizeBytes = sizeBytes;
  }

  /** @throws failed if there is no such object */
  static async open(storage: Storage, name: string, signal: AbortSignal): Promise<ObjectPieces> {
    const stat = await storage.stat(name, signal);
    if (stat) return new ObjectPieces(storage, name, stat.sizeBytes);
    throw new SalvageError(
      'failed',
      `Cannot read "${name}" in "${storage.description}": there is no such object`,
    );
  }

  /** @throws damaged if it is shorter than storage said, or not what it was before; the signal's reason */
  async *read(signal: AbortSignal): AsyncGenerator<Uint8Array, void, void> {
    const count = Math.ceil(this.sizeBytes / pieceBytes);
    const fetching: Promise<Uint8Array>[] = [];
    for (let index = 0; index < count; index++) {
      for (let next = index + fetching.length; next < count && fetching.length <= piecesAhead; next++) {
        const piece = this.#fetch(next, signal);
        // Nobody may be waiting for it when it fails.
        piece.catch(() => {});
        fetching.push(piece);
      }
      const piece = await fetching.shift()!;
      this.#compare(index, piece);
      yield piece;
    }
  }

  async #fetch(index: number, signal: AbortSignal): Promise<Uint8Array> {
    const offset = index * pieceBytes;
    const length = Math.min(pieceBytes, this.sizeBytes - offset);
    const piece = await this.#storage.read(this.#name, { offset, length }, signal);
    if (piece?.length === length) return piece;
    throw this.#damaged(`${piece?.length ?? 0} of ${length} bytes at ${offset} came`);
  }

  #compare(index: number, piece: Uint8Array): void {
    const digest = createHash('sha256').update(piece).digest();
    const before = this.#seen[index];
    if (before && !equalBytes(before, digest)) throw this.#damaged('it was changed while it was read');
    this.#seen[index] = digest;
  }

  #damaged(state: string): SalvageError {
    return new SalvageError(
      'damaged',
      `Cannot trust "${this.#name}" in "${this.#storage.description}": ${state}`,
    );
  }
}
