import { randomBytes } from '../../clock/random.ts';
import { divide, multiply } from './gf256.ts';

/** A point of the polynomials, one to a byte of the secret, whose values at 0 are the secret. */
export interface Point {
  /** 1 to 255. */
  readonly x: number;
  readonly y: Uint8Array;
}

/**
 * Shamir's secret sharing, byte by byte: any `threshold` of the points determine the secret, and fewer tell nothing
 * about it but its length. Points say neither which secret they belong to nor whether they are right: share.ts does.
 */
export function splitSecret(secret: Uint8Array, threshold: number, count: number): Point[] {
  if (!(threshold >= 1 && threshold <= count && count <= 255))
    throw new RangeError('1 ≤ threshold ≤ count ≤ 255');
  // Coefficients of x, x², …, each as many bytes as the secret has.
  const coefficients = Array.from({ length: threshold - 1 }, () => randomBytes(secret.length));
  return Array.from({ length: count }, (_, index) => {
    const x = index + 1;
    const y = secret.map((_, at) =>
      // Horner's rule, from the highest coefficient down.
      [...coefficients.map((bytes) => bytes[at]!).reverse(), secret[at]!].reduce(
        (value, coefficient) => multiply(value, x) ^ coefficient,
        0,
      ),
    );
    return { x, y };
  });
}

/**
 * The values at `x` of the polynomials through these points: at 0 the secret. Of fewer points than the threshold, or of
 * wrong ones, it makes something else without noticing.
 */
export function interpolate(points: readonly Point[], x: number): Uint8Array {
  const length = points[0]!.y.length;
  const result = new Uint8Array(length);
  for (const { x: own, y } of points) {
    let weight = 1;
    for (const { x: other } of points)
      if (other !== own) weight = multiply(weight, divide(x ^ other, own ^ other));
    for (let at = 0; at < length; at++) result[at]! ^= multiply(weight, y[at]!);
  }
  return result;
}
