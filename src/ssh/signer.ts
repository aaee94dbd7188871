import { createHash } from 'node:crypto';
import { utf8Bytes } from '../bytes/bytes.ts';
import { signWithAgent } from './agent.ts';
import type { PrivateKey } from './private-key-file.ts';
import type { PublicKey } from './public-key.ts';
import { signWithPrivateKey } from './signature.ts';
import { formatSshsig, sshsigSignedData, verifySshsig, type SignedMessage, type Sshsig } from './sshsig.ts';

/** Something that makes SSH signatures: a private key in memory, or one that ssh-agent keeps. */
export interface Signer {
  readonly publicKey: PublicKey;
  /** The armored SSHSIG file over a message with this digest. Throws bad-key if the key cannot be used. */
  sign(message: SignedMessage): Promise<string>;
}

/** The armored SSHSIG file over a document that is in memory. @throws bad-key if the key cannot be used */
export async function signDocument(
  signer: Signer,
  namespace: string,
  document: Uint8Array,
): Promise<Uint8Array> {
  const digest = createHash('sha512').update(document).digest();
  return utf8Bytes(await signer.sign({ namespace, hash: 'sha512', digest }));
}

/** Signs with a private key. */
export function privateKeySigner(privateKey: PrivateKey): Signer {
  return signerFrom(privateKey.publicKey, (data) => signWithPrivateKey(privateKey, data));
}

/** Signs through the agent that listens at this socket. */
export function agentSigner(publicKey: PublicKey, socketPath: string): Signer {
  return signerFrom(publicKey, (data) => signWithAgent(socketPath, publicKey, data));
}

function signerFrom(
  publicKey: PublicKey,
  signData: (data: Uint8Array) => Uint8Array | Promise<Uint8Array>,
): Signer {
  return {
    publicKey,
    async sign(message) {
      const signature = await signData(sshsigSignedData(message));
      const { namespace, hash } = message;
      const sshsig: Sshsig = { publicKey, namespace, hash, signature };
      // A signature that nobody could verify must not reach the disk, whoever made it.
      verifySshsig(sshsig, message.digest);
      return formatSshsig(sshsig);
    },
  };
}
