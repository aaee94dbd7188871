// Two Blowfish ciphers (Schneier 1993) side by side, as bcrypt_pbkdf needs two for its two output blocks. Each round
// waits for its own table look-ups; while one cipher waits, the other one works, and both take little longer than one.
//
// A state is one flat array: four S-boxes of 256 words, then 18 subkeys, and of every word first the one of cipher 0,
// then the one of cipher 1. Blocks, keys and salts alternate in the same way.

const subkeysAt = 2 * 1024;
const subkeyWords = 2 * 18;
const stateWords = subkeysAt + subkeyWords;

let initialState: Int32Array<ArrayBuffer> | undefined;

/**
 * A new initial state: for each of the two ciphers the first 33,344 bits of the fractional part of pi, subkeys first.
 * They are computed once, in some milliseconds, instead of standing here as a table of numbers that nobody can check.
 */
export function initialBlowfishState(): Int32Array<ArrayBuffer> {
  if (!initialState) {
    const cipherWords = stateWords / 2;
    const hex = fractionOfPi(cipherWords * 32).toString(16);
    const digits = Buffer.from(hex.padStart(cipherWords * 8, '0'), 'hex');
    initialState = new Int32Array(stateWords);
    for (let word = 0; word < cipherWords; word++) {
      const at = (subkeysAt + 2 * word) % stateWords;
      initialState[at] = initialState[at + 1] = digits.readInt32BE(word * 4);
    }
  }
  return initialState.slice();
}

/** floor((pi - 3) 2^bits), by the series of Chudnovsky and Chudnovsky (1988). */
function fractionOfPi(bits: number): bigint {
  const guardBits = 64n;
  const scale = BigInt(bits) + guardBits;
  // A term is worth 47 bits.
  const { q, t } = chudnovskySum(0n, BigInt(Math.ceil(bits / 47) + 2));
  const pi = (q * 426880n * squareRoot(10005n << (2n * scale))) / t;
  return (pi - (3n << scale)) >> guardBits;
}

/** The terms from `first` up to, not including, `end`, as fractions over a common denominator (binary splitting). */
function chudnovskySum(first: bigint, end: bigint): { p: bigint; q: bigint; t: bigint } {
  if (end - first === 1n) {
    const p = first === 0n ? 1n : -(6n * first - 5n) * (2n * first - 1n) * (6n * first - 1n);
    const q = first === 0n ? 1n : first ** 3n * 10939058860032000n;
    return { p, q, t: p * (13591409n + 545140134n * first) };
  }
  const middle = (first + end) / 2n;
  const left = chudnovskySum(first, middle);
  const right = chudnovskySum(middle, end);
  return { p: left.p * right.p, q: left.q * right.q, t: left.t * right.q + left.p * right.t };
}

/** The integer square root, each half of its digits from the half before (Newton). */
function squareRoot(value: bigint): bigint {
  if (value < 1n << 50n) return BigInt(Math.floor(Math.sqrt(Number(value))));
  const quarter = BigInt(value.toString(16).length);
  const estimate = (squareRoot(value >> (2n * quarter)) + 1n) << quarter;
  return (estimate + value / estimate) >> 1n;
}

/**
 * Each cipher encrypts its block (four words for the two of them) in place, `times` times over. With `replacingState`
 * each result also becomes the next words of the state, subkeys first.
 */
export function encipher(state: Int32Array, blocks: Int32Array, times = 1, replacingState = false): void {
  let [left0, left1, right0, right1] = blocks as unknown as [number, number, number, number];
  let target = subkeysAt;
  for (let time = 0; time < times; time++) {
    left0 ^= state[subkeysAt]!;
    left1 ^= state[subkeysAt + 1]!;
    for (let subkey = subkeysAt + 2; subkey < subkeysAt + 34; subkey += 4) {
      right0 ^=
        ((((state[(left0 >>> 23) & 0x1fe]! + state[0x200 | ((left0 >>> 15) & 0x1fe)]!) ^
          state[0x400 | ((left0 >>> 7) & 0x1fe)]!) +
          state[0x600 | ((left0 << 1) & 0x1fe)]!) |
          0) ^
        state[subkey]!;
      right1 ^=
        ((((state[1 | ((left1 >>> 23) & 0x1fe)]! + state[0x201 | ((left1 >>> 15) & 0x1fe)]!) ^
          state[0x401 | ((left1 >>> 7) & 0x1fe)]!) +
          state[0x601 | ((left1 << 1) & 0x1fe)]!) |
          0) ^
        state[subkey + 1]!;
      left0 ^=
        ((((state[(right0 >>> 23) & 0x1fe]! + state[0x200 | ((right0 >>> 15) & 0x1fe)]!) ^
          state[0x400 | ((right0 >>> 7) & 0x1fe)]!) +
          state[0x600 | ((right0 << 1) & 0x1fe)]!) |
          0) ^
        state[subkey + 2]!;
      left1 ^=
        ((((state[1 | ((right1 >>> 23) & 0x1fe)]! + state[0x201 | ((right1 >>> 15) & 0x1fe)]!) ^
          state[0x401 | ((right1 >>> 7) & 0x1fe)]!) +
          state[0x601 | ((right1 << 1) & 0x1fe)]!) |
          0) ^
        state[subkey + 3]!;
    }
    const swapped0 = right0 ^ state[subkeysAt + 34]!;
    const swapped1 = right1 ^ state[subkeysAt + 35]!;
    right0 = left0;
    right1 = left1;
    left0 = swapped0;
    left1 = swapped1;
    if (replacingState) {
      state[target] = left0;
      state[target + 1] = left1;
      state[target + 2] = right0;
      state[target + 3] = right1;
      target = target + 4 < stateWords ? target + 4 : 0;
    }
  }
  blocks.set([left0, left1, right0, right1]);
}

/**
 * EksBlowfish's key schedule (Provos and Mazières 1999): mixes the keys into the subkeys, then replaces the whole
 * state, subkeys first, by the chain of its own encryptions, each of them fed with the next block of the salts.
 */
export function expandKey(state: Int32Array, keys: Int32Array, salts?: Int32Array): void {
  for (let word = 0; word < subkeyWords; word++) state[subkeysAt + word]! ^= keys[word % keys.length]!;
  const blocks = new Int32Array(4);
  if (!salts) return encipher(state, blocks, stateWords / 4, true);
  for (let step = 0; step < stateWords; step += 4) {
    for (let word = 0; word < 4; word++) blocks[word]! ^= salts[(step + word) % salts.length]!;
    encipher(state, blocks);
    state.set(blocks, (subkeysAt + step) % stateWords);
  }
}
