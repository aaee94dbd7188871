import type { PackId } from '../ids.ts';

/**
 * Numbers for packs, given in the order in which they are first seen, so that a reference to a pack takes four bytes. A
 * number means something only together with the table that gave it.
 */
export class PackTable {
  readonly #ids: (PackId | undefined)[] = [];
  readonly #numbers = new Map<PackId, number>();

  /** Numbers given so far. */
  get size(): number {
    return this.#ids.length;
  }

  /** The number of a pack; a new one if it is seen for the first time. */
  numberOf(id: PackId): number {
    const known = this.#numbers.get(id);
    if (known !== undefined) return known;
    const number = this.#ids.push(id) - 1;
    this.#numbers.set(id, number);
    return number;
  }

  find(id: PackId): number | undefined {
    return this.#numbers.get(id);
  }

  /** A number for a pack that is still being filled and gets its name by `name`. */
  reserve(): number {
    return this.#ids.push(undefined) - 1;
  }

  /** Names a reserved pack. @throws RangeError if the number has a name or was never given */
  name(number: number, id: PackId): void {
    if (number >= this.#ids.length || this.#ids[number] !== undefined)
      throw new RangeError(`pack ${number} cannot be named`);
    this.#ids[number] = id;
    if (!this.#numbers.has(id)) this.#numbers.set(id, number);
  }

  /** Takes the pack's name away: it is not to be referred to any more. Seen again, it gets another number. */
  forget(number: number): void {
    const id = this.#ids[number];
    if (id === undefined) return;
    this.#ids[number] = undefined;
    if (this.#numbers.get(id) === number) this.#numbers.delete(id);
  }

  /** The pack's name, or undefined while it has none. */
  idOf(number: number): PackId | undefined {
    return this.#ids[number];
  }
}
