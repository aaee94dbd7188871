import { HybridIdentity } from './hybrid.ts';
import { X25519Identity } from './x25519.ts';

/** A new native key pair; post-quantum on request. */
export function generateIdentity(kind: 'x25519' | 'hybrid' = 'x25519'): X25519Identity | HybridIdentity {
  return kind === 'hybrid' ? HybridIdentity.generate() : X25519Identity.generate();
}

/** The identity file that age-keygen writes, and every age reads. It holds the secret: mode 0600. */
export function formatIdentityFile(identity: X25519Identity | HybridIdentity, created: Date): string {
  return [
    `# created: ${created.toISOString().replace(/\.\d+Z$/, 'Z')}`,
    `# public key: ${identity.recipient.toString()}`,
    identity.toSecretString(),
    '',
  ].join('\n');
}
