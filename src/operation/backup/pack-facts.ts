import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';

export interface PackFact {
  readonly kind: 'content' | 'tree';
  /** Stored size. */
  readonly sizeBytes: number;
  readonly rawBytes: number;
}

const magic = 0x31465053;
const numbersPerPack = 4;
const kinds = ['content', 'tree'] as const;

/**
 * What a run must know of packs, by their numbers in the cache: sizes, and how much of each the last snapshot uses. Kept
 * beside the cache; without it packs are merely not merged.
 */
export class PackFacts {
  /** For each pack: kind + 1 (0: unknown), stored bytes, raw bytes, used bytes. */
  #numbers = new Float64Array(numbersPerPack * 256);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** What `write` left for the cache of this state; nothing if the file is missing, damaged or of another state. */
  static read(path: string, state: string): PackFacts {
    const facts = new PackFacts();
    try {
      const bytes = readFileSync(path);
      const stateCrc = crc32(state);
      if (
        bytes.length >= 12 &&
        bytes.readUInt32LE(0) === magic &&
        bytes.readUInt32LE(4) === stateCrc &&
        bytes.readUInt32LE(8) === crc32(bytes.subarray(12))
      ) {
        facts.#numbers = new Float64Array(new Uint8Array(bytes.subarray(12)).buffer);
        facts.#size = facts.#numbers.length / numbersPerPack;
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    return facts;
  }

  write(path: string, state: string): void {
    const numbers = Buffer.from(this.#numbers.buffer, 0, this.#size * numbersPerPack * 8);
    const head = Buffer.alloc(12);
    head.writeUInt32LE(magic, 0);
    head.writeUInt32LE(crc32(state), 4);
    head.writeUInt32LE(crc32(numbers), 8);
    rmSync(`${path}.new`, { force: true });
    writeFileSync(`${path}.new`, Buffer.concat([head, numbers]), { mode: 0o600, flag: 'wx' });
    renameSync(`${path}.new`, path);
  }

  set(pack: number, { kind, sizeBytes, rawBytes }: PackFact): void {
    this.#reach(pack);
    this.#numbers.set([kinds.indexOf(kind) + 1, sizeBytes, rawBytes], pack * numbersPerPack);
  }

  get(pack: number): PackFact | undefined {
    const at = pack * numbersPerPack;
    const kind = pack < this.#size ? kinds[this.#numbers[at]! - 1] : undefined;
    return kind && { kind, sizeBytes: this.#numbers[at + 1]!, rawBytes: this.#numbers[at + 2]! };
  }

  /** Raw bytes that the last snapshot uses; a blob counts as often as it is referred to. */
  usedBytes(pack: number): number {
    return pack < this.#size ? this.#numbers[pack * numbersPerPack + 3]! : 0;
  }

  use(pack: number, bytes: number): void {
    this.#reach(pack);
    this.#numbers[pack * numbersPerPack + 3]! += bytes;
  }

  /** Before the use of a new snapshot is counted. */
  clearUse(): void {
    for (let pack = 0; pack < this.#size; pack++) this.#numbers[pack * numbersPerPack + 3] = 0;
  }

  #reach(pack: number): void {
    if ((pack + 1) * numbersPerPack > this.#numbers.length) {
      const larger = new Float64Array(Math.max(this.#numbers.length * 2, (pack + 1) * numbersPerPack));
      larger.set(this.#numbers);
      this.#numbers = larger;
    }
    this.#size = Math.max(this.#size, pack + 1);
  }
}
