/** Where the parts of a state stand in its one flat array: four S-boxes of 256 words, then 18 subkeys. */
const SUBKEYS_AT = 1024;
const SUBKEYS = 18;
const STATE_WORDS = SUBKEYS_AT + SUBKEYS;

let initialState: Int32Array<ArrayBuffer> | undefined;

/**
 * A new initial state of Blowfish (Schneier 1993): the first 33,344 bits of the fractional part of pi, subkeys first.
 * They are computed once, by Machin's formula, instead of standing here as a table of numbers that nobody can check.
 */
export function initialBlowfishState(): Int32Array<ArrayBuffer> {
  if (!initialState) {
    const guardBits = 64n;
    const stateBits = BigInt(STATE_WORDS * 32);
    const one = 1n << (stateBits + guardBits);
    const pi = 4n * (4n * inverseTangent(5n, one) - inverseTangent(239n, one));
    const fraction = (pi - 3n * one) >> guardBits;
    const digits = Buffer.from(fraction.toString(16).padStart(STATE_WORDS * 8, '0'), 'hex');
    initialState = new Int32Array(STATE_WORDS);
    for (let word = 0; word < STATE_WORDS; word++)
      initialState[(word + SUBKEYS_AT) % STATE_WORDS] = digits.readInt32BE(word * 4);
  }
  return initialState.slice();
}

/** arctan(1/x) in units of 1/one: the sum of (-1)^k / ((2k+1) x^(2k+1)). */
function inverseTangent(x: bigint, one: bigint): bigint {
  const square = x * x;
  let power = one / x;
  let sum = 0n;
  for (let divisor = 1n; power > 0n; divisor += 2n) {
    const term = power / divisor;
    sum += (divisor & 2n) === 0n ? term : -term;
    power /= square;
  }
  return sum;
}

/** Encrypts one block in place: words `at` and `at + 1`. The target may be the state itself. */
export function encipher(state: Int32Array, target: Int32Array, at: number): void {
  let left = target[at]! ^ state[SUBKEYS_AT]!;
  let right = target[at + 1]!;
  for (let subkey = SUBKEYS_AT + 1; subkey < SUBKEYS_AT + 17; subkey += 2) {
    right ^=
      ((((state[left >>> 24]! + state[256 | ((left >>> 16) & 255)]!) ^ state[512 | ((left >>> 8) & 255)]!) +
        state[768 | (left & 255)]!) |
        0) ^
      state[subkey]!;
    left ^=
      ((((state[right >>> 24]! + state[256 | ((right >>> 16) & 255)]!) ^
        state[512 | ((right >>> 8) & 255)]!) +
        state[768 | (right & 255)]!) |
        0) ^
      state[subkey + 1]!;
  }
  target[at] = right ^ state[SUBKEYS_AT + 17]!;
  target[at + 1] = left;
}

/**
 * EksBlowfish's key schedule (Provos and Mazières 1999): mixes the key's words into the subkeys, then replaces the whole
 * state, subkeys first, by the chain of its own encryptions, each of them fed with the next words of the salt.
 */
export function expandKey(state: Int32Array, key: Int32Array, salt?: Int32Array): void {
  for (let word = 0; word < SUBKEYS; word++) state[SUBKEYS_AT + word]! ^= key[word % key.length]!;
  const block = new Int32Array(2);
  let saltAt = 0;
  for (let step = 0; step < STATE_WORDS; step += 2) {
    if (salt) {
      block[0]! ^= salt[saltAt]!;
      block[1]! ^= salt[saltAt + 1]!;
      saltAt = (saltAt + 2) % salt.length;
    }
    encipher(state, block, 0);
    const at = step < SUBKEYS ? SUBKEYS_AT + step : step - SUBKEYS;
    state[at] = block[0]!;
    state[at + 1] = block[1]!;
  }
}
