const initialSlots = 1 << 10;
const mostFull = 0.6;

/** A set of inode numbers that takes some 20 bytes for each, for millions of files. */
export class InodeSet {
  /** Open addressing; 0 is no inode. */
  #slots = new Float64Array(initialSlots);
  #size = 0;

  add(inode: number): void {
    const at = this.#find(inode);
    if (this.#slots[at] === inode) return;
    this.#slots[at] = inode;
    this.#size++;
    if (this.#size > this.#slots.length * mostFull) this.#grow();
  }

  has(inode: number): boolean {
    return this.#slots[this.#find(inode)] === inode;
  }

  /** Where the inode is, or is to be. */
  #find(inode: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    // Neighbours in a directory have neighbouring numbers: they are spread.
    let at = (Math.imul(inode % 2 ** 32, 0x9e3779b1) ^ Math.imul(inode / 2 ** 32, 0x85ebca6b)) >>> 0;
    at = (at ^ (at >>> 15)) & mask;
    while (slots[at] !== 0 && slots[at] !== inode) at = (at + 1) & mask;
    return at;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Float64Array(old.length * 2);
    for (const inode of old) if (inode !== 0) this.#slots[this.#find(inode)] = inode;
  }
}
