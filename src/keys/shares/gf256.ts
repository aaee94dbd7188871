// Arithmetic in GF(2^8) with the polynomial of AES, x^8 + x^4 + x^3 + x + 1. Tables are indexed by secret bytes, so the time
// this takes may tell something to a program on the same machine: it runs where the whole secret is in memory anyway.

const polynomial = 0x11b;
const order = 255;
/** Powers of the generator 3, twice over, so that sums of two logarithms need no reduction. */
const powers = new Uint8Array(2 * order);
const logarithms = new Uint8Array(256);
for (let exponent = 0, value = 1; exponent < order; exponent++) {
  powers[exponent] = powers[exponent + order] = value;
  logarithms[value] = exponent;
  const doubled = value << 1;
  value ^= doubled > 0xff ? doubled ^ polynomial : doubled;
}

export function multiply(a: number, b: number): number {
  return a === 0 || b === 0 ? 0 : powers[logarithms[a]! + logarithms[b]!]!;
}

/** `b` is not 0. */
export function divide(a: number, b: number): number {
  if (b === 0) throw new RangeError('division by zero');
  return a === 0 ? 0 : powers[logarithms[a]! + order - logarithms[b]!]!;
}
