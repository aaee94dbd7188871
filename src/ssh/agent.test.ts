import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { concatBytes } from '../bytes/bytes.ts';
import { listAgentKeys } from './agent.ts';
import { parsePublicKeyBlob, publicKeyFromObject, type PublicKey } from './public-key.ts';
import { agentSigner } from './signer.ts';
import { parseSshsig, verifySshsig } from './sshsig.ts';
import { WireReader } from './wire-reader.ts';
import { encodeString, encodeUint32 } from './wire-writer.ts';

const folder = mkdtempSync(join(tmpdir(), 'salvage-agent-'));
after(() => rmSync(folder, { recursive: true, force: true }));
let number = 0;

/** Runs with an agent that answers every request with these bytes, handed out one at a time, then hangs up. */
async function withAgent(
  answer: (request: Uint8Array) => Uint8Array,
  act: (socketPath: string) => Promise<void>,
): Promise<void> {
  const socketPath = join(folder, `agent-${number++}`);
  const server: Server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (request) => {
      const bytes = answer(request.subarray(4));
      for (const byte of bytes.subarray(0, 20)) socket.write(Uint8Array.of(byte));
      socket.end(bytes.subarray(20));
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(socketPath, resolve);
  });
  try {
    await act(socketPath);
  } finally {
    server.close();
  }
}

const digest = createHash('sha512').update('m').digest();
const message = { namespace: 'n', hash: 'sha512', digest } as const;

/** A hardware key as its agent shows it, and its way of signing (openssh-portable, PROTOCOL.u2f). */
function hardwareKey(type: 'ed25519' | 'ecdsa'): {
  publicKey: PublicKey;
  sign: (data: Uint8Array) => Uint8Array;
} {
  const sha256 = (data: Uint8Array): Uint8Array => createHash('sha256').update(data).digest();
  const pair =
    type === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const plain = publicKeyFromObject(pair.publicKey);
  const name = type === 'ed25519' ? 'sk-ssh-ed25519@openssh.com' : 'sk-ecdsa-sha2-nistp256@openssh.com';
  const point = plain.kind === 'ed25519' || plain.kind === 'ecdsa' ? plain.point : assert.fail();
  const fields = type === 'ed25519' ? [name, point, 'ssh:'] : [name, 'nistp256', point, 'ssh:'];
  const flagsAndCounter = Buffer.from('0100000007', 'hex');
  return {
    publicKey: parsePublicKeyBlob(concatBytes(fields.map((field) => encodeString(field)))),
    sign(data) {
      const signed = concatBytes([sha256(Buffer.from('ssh:')), flagsAndCounter, sha256(data)]);
      const raw = sign(type === 'ed25519' ? null : 'sha256', signed, {
        key: pair.privateKey,
        dsaEncoding: 'ieee-p1363',
      });
      const mpint = (half: Uint8Array): Uint8Array =>
        encodeString(concatBytes([half[0]! >= 0x80 ? Uint8Array.of(0) : Uint8Array.of(), half]));
      const signature =
        type === 'ed25519' ? raw : concatBytes([mpint(raw.subarray(0, 32)), mpint(raw.subarray(32))]);
      return concatBytes([encodeString(name), encodeString(signature), flagsAndCounter]);
    },
  };
}

for (const type of ['ed25519', 'ecdsa'] as const)
  test(`a hardware ${type} key signs through the agent`, async () => {
    const key = hardwareKey(type);
    const answer = (request: Uint8Array): Uint8Array => {
      const reader = new WireReader(request, (state) => assert.fail(state));
      assert.equal(reader.byte(), 13);
      assert.deepEqual(Buffer.from(reader.string()), Buffer.from(key.publicKey.blob));
      return encodeString(concatBytes([Uint8Array.of(14), encodeString(key.sign(reader.string()))]));
    };
    await withAgent(answer, async (socketPath) => {
      const sshsig = parseSshsig(Buffer.from(await agentSigner(key.publicKey, socketPath).sign(message)));
      verifySshsig(sshsig, digest);
      // The counter is signed too.
      const changed = Uint8Array.from(sshsig.signature);
      changed[changed.length - 1]! ^= 1;
      assert.throws(() => verifySshsig({ ...sshsig, signature: changed }, digest), { code: 'bad-signature' });
    });
  });

test('an agent that answers nonsense is an error, never a signature', async () => {
  const { publicKey } = hardwareKey('ed25519');
  const stranger = hardwareKey('ed25519');
  const answers: Uint8Array[] = [
    new Uint8Array(0),
    encodeUint32(0),
    encodeUint32(0xffffffff),
    encodeUint32(100),
    encodeString(Uint8Array.of(5)),
    encodeString(Uint8Array.of(14)),
    encodeString(concatBytes([Uint8Array.of(14), encodeUint32(1000)])),
    encodeString(concatBytes([Uint8Array.of(14), encodeString('junk')])),
    encodeString(concatBytes([Uint8Array.of(12), encodeUint32(0xffffffff)])),
    encodeString(concatBytes([Uint8Array.of(12), encodeUint32(2), encodeString('x'), encodeString('')])),
    // A good signature, by another key.
    encodeString(concatBytes([Uint8Array.of(14), encodeString(stranger.sign(digest))])),
  ];
  for (const answer of answers)
    await withAgent(
      () => answer,
      async (socketPath) => {
        await assert.rejects(agentSigner(publicKey, socketPath).sign(message), { name: 'SalvageError' });
        await assert.rejects(listAgentKeys(socketPath), { code: 'bad-key' });
      },
    );
});

test('keys that cannot be read are left out of the list', async () => {
  const { publicKey } = hardwareKey('ecdsa');
  const entries = [encodeString('junk'), encodeString('a'), encodeString(publicKey.blob), encodeString('b')];
  const answer = encodeString(concatBytes([Uint8Array.of(12), encodeUint32(2), ...entries]));
  await withAgent(
    () => answer,
    async (socketPath) => {
      const keys = await listAgentKeys(socketPath);
      assert.deepEqual(
        keys.map(({ type }) => type),
        [publicKey.type],
      );
    },
  );
});
