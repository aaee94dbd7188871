import { connect, type Socket } from 'node:net';
import { asBuffer, concatBytes, equalBytes } from '../bytes/bytes.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { fingerprint, parsePublicKeyBlob, type PublicKey } from './public-key.ts';
import { WireReader } from './wire-reader.ts';
import { encodeString, encodeUint32 } from './wire-writer.ts';

/** Numbers of the ssh-agent protocol (draft-ietf-sshm-ssh-agent, section 6). */
const requestIdentities = 11;
const identitiesAnswer = 12;
const signRequest = 13;
const signResponse = 14;
const flagRsaSha2512 = 4;
const maxAnswerBytes = 256 * 1024;
const maxIdentities = 2048;

/** The keys that the agent at this socket holds; those that cannot be read are left out. Throws bad-key if it does not answer. */
export async function listAgentKeys(socketPath: string): Promise<PublicKey[]> {
  const reader = await askAgent(socketPath, identitiesAnswer, Uint8Array.of(requestIdentities));
  if (!reader) throw fail('it does not list its keys');
  const count = reader.uint32();
  if (count > maxIdentities) throw fail(`it claims to hold ${count} keys`);
  const keys: PublicKey[] = [];
  for (let index = 0; index < count; index++) {
    const blob = reader.string();
    reader.string();
    try {
      keys.push(parsePublicKeyBlob(blob));
    } catch (error) {
      if (!(error instanceof SalvageError)) throw error;
    }
  }
  return keys;
}

/** Whether the agent holds the key. An agent that does not answer holds none. */
export async function agentHasKey(socketPath: string, publicKey: PublicKey): Promise<boolean> {
  try {
    return (await listAgentKeys(socketPath)).some((key) => equalBytes(key.blob, publicKey.blob));
  } catch (error) {
    if (error instanceof SalvageError) return false;
    throw error;
  }
}

/**
 * A signature over the data in SSH's encoding, made by the agent; RSA keys sign with rsa-sha2-512. Waits as long as the
 * agent does: it may ask for confirmation or for a touch. Throws bad-key if it does not have the key or refuses.
 */
export async function signWithAgent(
  socketPath: string,
  publicKey: PublicKey,
  data: Uint8Array,
): Promise<Uint8Array> {
  const flags = encodeUint32(publicKey.kind === 'rsa' ? flagRsaSha2512 : 0);
  const fields = [encodeString(publicKey.blob), encodeString(data), flags];
  const request = concatBytes([Uint8Array.of(signRequest), ...fields]);
  const reader = await askAgent(socketPath, signResponse, request);
  if (!reader)
    throw new SalvageError(
      'bad-key',
      `Cannot sign with the key ${fingerprint(publicKey)}: ssh-agent does not have it, or refused`,
      { hint: 'See what it holds with "ssh-add -L", add the key with "ssh-add KEY".' },
    );
  const signature = reader.string();
  reader.end();
  return signature;
}

/** The answer after its type, or undefined if the agent answered with another type, usually SSH_AGENT_FAILURE. */
async function askAgent(
  socketPath: string,
  expectedType: number,
  request: Uint8Array,
): Promise<WireReader | undefined> {
  const answer = await exchange(socketPath, encodeString(request));
  const reader = new WireReader(answer, fail);
  return reader.byte() === expectedType ? reader : undefined;
}

function exchange(socketPath: string, message: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let received = 0;
    const socket: Socket = connect(socketPath);
    const settle = (action: () => void): void => {
      socket.destroy();
      action();
    };
    socket.on('connect', () => socket.write(message));
    socket.on('error', (cause) => settle(() => reject(fail('it cannot be reached', cause))));
    socket.on('close', () => reject(fail('it hung up')));
    socket.on('data', (part) => {
      parts.push(part);
      received += part.length;
      if (received < 4) return;
      const answer = Buffer.concat(parts);
      const length = answer.readUInt32BE();
      if (length < 1 || length > maxAnswerBytes)
        return settle(() => reject(fail(`it announces an answer of ${length} bytes`)));
      if (received >= 4 + length) settle(() => resolve(asBuffer(answer).subarray(4, 4 + length)));
    });
  });
}

function fail(state: string, cause?: unknown): SalvageError {
  return new SalvageError('bad-key', `Cannot use ssh-agent: ${state}`, {
    hint: 'Check that it runs and that SSH_AUTH_SOCK names its socket: "ssh-add -l".',
    cause,
  });
}
