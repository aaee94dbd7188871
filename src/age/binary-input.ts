import { concatBytes, asBuffer } from '../bytes/bytes.ts';
import { ArmorDecoder } from './armor.ts';

const armorStart = '-----BEGIN ';
/** White space that may stand before an armor. */
const maxLeading = 1024;

/** Whether an input is to be taken as armored, as binary, or as what its first bytes look like. */
export type ArmorInput = 'detect' | 'armored' | 'binary';

/** Hands on a binary age file as it is and decodes an armored one. The input comes in pieces of any size. */
export class BinaryInput {
  #decoder: ArmorDecoder | undefined;
  #detecting: boolean;
  #held: Uint8Array = new Uint8Array(0);

  constructor(armor: ArmorInput = 'detect') {
    this.#detecting = armor === 'detect';
    if (armor === 'armored') this.#decoder = new ArmorDecoder();
  }

  /** Parts of the binary file. They may share memory with `bytes`. @throws age-armor */
  push(bytes: Uint8Array): Uint8Array[] {
    if (!this.#detecting) return this.#decoder ? this.#decoder.push(bytes) : [bytes];
    this.#held = concatBytes([this.#held, bytes]);
    const isArmored = looksArmored(this.#held);
    if (isArmored === undefined) return [];
    return this.#settle(isArmored);
  }

  /** @throws age-armor if an armor is not complete */
  finish(): Uint8Array[] {
    const parts = this.#detecting ? this.#settle(false) : [];
    return this.#decoder ? [...parts, ...this.#decoder.finish()] : parts;
  }

  /** Undefined as long as the input is not known to be either. */
  get isArmored(): boolean | undefined {
    return this.#detecting ? undefined : this.#decoder !== undefined;
  }

  #settle(isArmored: boolean): Uint8Array[] {
    this.#detecting = false;
    if (isArmored) this.#decoder = new ArmorDecoder();
    const held = this.#held;
    this.#held = new Uint8Array(0);
    return this.push(held);
  }
}

/** Undefined if more bytes are needed to tell. */
function looksArmored(bytes: Uint8Array): boolean | undefined {
  const start = asBuffer(bytes.subarray(0, maxLeading + armorStart.length))
    .toString('latin1')
    .trimStart();
  if (start.startsWith(armorStart)) return true;
  const mayBecome = armorStart.startsWith(start) && bytes.length < maxLeading + armorStart.length;
  return mayBecome ? undefined : false;
}
