import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeHardwareKey } from '../../test/support/hardware-key.ts';
import { concatBytes } from '../bytes/bytes.ts';
import { listAgentKeys } from './agent.ts';
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

for (const type of ['ed25519', 'ecdsa'] as const)
  test(`a hardware ${type} key signs through the agent`, async () => {
    const key = makeHardwareKey(type);
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
  const { publicKey } = makeHardwareKey('ed25519');
  const stranger = makeHardwareKey('ed25519');
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
  const { publicKey } = makeHardwareKey('ecdsa');
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
