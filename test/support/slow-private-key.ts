/** What lies before the number of rounds, from where the name of the key derivation begins: it, two lengths and a salt. */
const roundsAfterName = 'bcrypt'.length + 4 + 4 + 16;

/** An encrypted OpenSSH private key file with another number of bcrypt rounds: five minutes of work, and all in vain. */
export function slowPrivateKey(pem: string): string {
  const lines = pem.trim().split('\n');
  const blob = Buffer.from(lines.slice(1, -1).join(''), 'base64');
  blob.writeUInt32BE(50_000, blob.indexOf('bcrypt') + roundsAfterName);
  return [lines[0], blob.toString('base64'), lines.at(-1), ''].join('\n');
}
