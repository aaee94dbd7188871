import { existsSync } from 'node:fs';
import { unlockPrivateKey } from '../age/passphrase-attempts.ts';
import { asBuffer } from '../bytes/bytes.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { agentHasKey } from '../ssh/agent.ts';
import { looksLikePrivateKey, maxPrivateKeyFileBytes, parsePrivateKey } from '../ssh/private-key.ts';
import { parsePublicKeyFile } from '../ssh/public-key.ts';
import { agentSigner, privateKeySigner, type Signer } from '../ssh/signer.ts';
import type { RequestPassphrase } from '../age/recipient.ts';
import { readKeyFile, readPublicFile } from './key-file.ts';

export interface LoadSignerOptions {
  readonly requestPassphrase: RequestPassphrase;
  /** What SSH_AUTH_SOCK says. */
  readonly agentSocket: string | undefined;
  /** Ends the work of unlocking a key. */
  readonly signal?: AbortSignal;
}

/**
 * The signer for the key at this path: a private key file, or a `.pub` file (also one beside the path, if there is no
 * private key) whose private half ssh-agent holds. An encrypted private key that the agent holds is not asked for
 * its passphrase.
 * @throws bad-key if the key cannot be used; failed if the file cannot be read
 */
export async function loadSigner(path: string, options: LoadSignerOptions): Promise<Signer> {
  const { requestPassphrase, agentSocket } = options;
  if (!existsSync(path) && existsSync(`${path}.pub`)) {
    const publicPath = `${path}.pub`;
    return signerInAgent(publicPath, readPublicFile(publicPath, maxPrivateKeyFileBytes), agentSocket);
  }
  const content = readKeyFile(path, maxPrivateKeyFileBytes, looksLikePrivateKey);
  if (!looksLikePrivateKey(content)) return signerInAgent(path, content, agentSocket);
  const file = parsePrivateKey(content, path);
  if (file.encrypted && file.publicKey && agentSocket && (await agentHasKey(agentSocket, file.publicKey)))
    return agentSigner(file.publicKey, agentSocket);
  const prompt = `Enter the passphrase for "${path}"`;
  return privateKeySigner(await unlockPrivateKey(file, requestPassphrase, prompt, options.signal));
}

function signerInAgent(path: string, content: Uint8Array, agentSocket: string | undefined): Signer {
  const lines = parsePublicKeyFile(asBuffer(content).toString('utf8'));
  if (lines.length !== 1)
    throw new SalvageError(
      'bad-key',
      `Cannot sign with "${path}": it holds ${lines.length} keys instead of one`,
      {
        hint: 'Name the private key file, or the .pub file of one key.',
      },
    );
  if (!agentSocket)
    throw new SalvageError(
      'bad-key',
      `Cannot sign with "${path}": it is a public key and no ssh-agent runs`,
      {
        hint: 'Name the private key file, or start ssh-agent and add the key with "ssh-add".',
      },
    );
  return agentSigner(lines[0]!.key, agentSocket);
}
