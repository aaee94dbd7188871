/** Where the parts of a state stand in its one flat array: four S-boxes of 256 words, then 18 subkeys. */
const subkeysAt = 1024;
const subkeyCount = 18;
const stateWords = subkeysAt + subkeyCount;

let initialState: Int32Array<ArrayBuffer> | undefined;

/**
 * A new initial state of Blowfish (Schneier 1993): the first 33,344 bits of the fractional part of pi, subkeys first.
 * They are computed once, in some milliseconds, instead of standing here as a table of numbers that nobody can check.
 */
export function initialBlowfishState(): Int32Array<ArrayBuffer> {
  if (!initialState) {
    const digits = Buffer.from(
      fractionOfPi(stateWords * 32)
        .toString(16)
        .padStart(stateWords * 8, '0'),
      'hex',
    );
    initialState = new Int32Array(stateWords);
    for (let word = 0; word < stateWords; word++)
      initialState[(word + subkeysAt) % stateWords] = digits.readInt32BE(word * 4);
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

/** Encrypts one block in place: words `at` and `at + 1`. The target may be the state itself. */
export function encipher(state: Int32Array, target: Int32Array, at: number): void {
  let left = target[at]! ^ state[subkeysAt]!;
  let right = target[at + 1]!;
  for (let subkey = subkeysAt + 1; subkey < subkeysAt + 17; subkey += 2) {
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
  target[at] = right ^ state[subkeysAt + 17]!;
  target[at + 1] = left;
}

/**
 * EksBlowfish's key schedule (Provos and Mazières 1999): mixes the key's words into the subkeys, then replaces the whole
 * state, subkeys first, by the chain of its own encryptions, each of them fed with the next words of the salt.
 */
export function expandKey(state: Int32Array, key: Int32Array, salt?: Int32Array): void {
  for (let word = 0; word < subkeyCount; word++) state[subkeysAt + word]! ^= key[word % key.length]!;
  const block = new Int32Array(2);
  let saltAt = 0;
  for (let step = 0; step < stateWords; step += 2) {
    if (salt) {
      block[0]! ^= salt[saltAt]!;
      block[1]! ^= salt[saltAt + 1]!;
      saltAt = (saltAt + 2) % salt.length;
    }
    encipher(state, block, 0);
    const at = step < subkeyCount ? subkeysAt + step : step - subkeyCount;
    state[at] = block[0]!;
    state[at + 1] = block[1]!;
  }
}
