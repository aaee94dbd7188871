/**
 * The Padmé size for `length` bytes (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication
 * with PURBs", 2019): the next number whose binary form has no more digits after the first few than its exponent has
 * digits. Costs at most 12 %, and leaks O(log log) bits of the length.
 */
export function padmeBytes(length: number): number {
  if (length < 2) return length;
  const exponent = Math.floor(Math.log2(length));
  const significant = Math.floor(Math.log2(exponent || 1)) + 1;
  const step = 2 ** Math.max(0, exponent - significant);
  return Math.ceil(length / step) * step;
}
