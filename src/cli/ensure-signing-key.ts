import { existsSync } from 'node:fs';
import { makeSigningKey } from '../keys/make-signing-key.ts';
import { formatPublicKey } from '../ssh/public-key.ts';
import type { CliContext } from './context.ts';

/**
 * The key at this path, made if there is none; whoever verifies is told what line to add for it then.
 * @param role the principal under which it signs
 */
export async function ensureSigningKey(
  path: string,
  role: string,
  namespace: string,
  { terminal }: CliContext,
): Promise<string> {
  if (existsSync(path) || existsSync(`${path}.pub`)) return path;
  const publicKey = await makeSigningKey(path, { comment: `salvage ${role}` });
  terminal.info(`Made the ${role}'s signing key "${path}"`);
  terminal.info('Whoever verifies needs this line in a file of allowed signers:');
  terminal.info(`${role} namespaces="${namespace}" ${formatPublicKey(publicKey)}`);
  return path;
}
