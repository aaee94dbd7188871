// An age plugin for tests, run as a program: it wraps file keys by turning their bits, and asks for the PIN 1234. Each run adds
// a line to the file that TOY_RUNS names. Its identities may say what is to happen: see `behaviours`.
import { appendFileSync } from 'node:fs';
import { decodeBech32 } from '../../src/age/bech32.ts';
import { servePlugin } from '../../src/age/plugin/serve-plugin.ts';
import { SalvageError } from '../../src/errors/salvage-error.ts';

const turn = (bytes: Uint8Array): Uint8Array => bytes.map((byte) => byte ^ 0xff);
const stateMachine = process.argv.at(-1)!.split('=')[1]!;
appendFileSync(process.env['TOY_RUNS'] ?? '/dev/null', `${stateMachine}\n`);

const recipient = {
  wrapFileKey: (fileKey: Uint8Array) => ({
    stanzas: [{ type: 'toy', args: ['1'], body: turn(fileKey) }],
    labels: process.env['TOY_LABELS']?.split(' ') ?? [],
  }),
};

await servePlugin(
  stateMachine,
  {
    recipient: () => recipient,
    identity(text, client) {
      const behaviour = Buffer.from(decodeBech32(text)!.bytes).toString();
      let isUnlocked = behaviour !== 'pin' && behaviour !== 'choice';
      return {
        recipients: () => [recipient],
        async unwrapFileKey([stanza]) {
          if (stanza!.type !== 'toy') return undefined;
          if (behaviour === 'broken') throw new SalvageError('age-header', 'Cannot read the toy stanza');
          if (behaviour === 'gone') throw new SalvageError('bad-key', 'Cannot find the toy');
          if (behaviour === 'choice') {
            isUnlocked = await client.confirm('Plug in the toy', 'it is there', 'leave it');
            await client.message('Touch the toy\nnow');
            if (!isUnlocked) return undefined;
          }
          for (let prompt = 'PIN of the toy'; !isUnlocked; prompt = 'Wrong. PIN of the toy') {
            const pin = await client.requestSecret(prompt);
            if (pin === undefined)
              throw new SalvageError('bad-key', 'Cannot unlock the toy: the PIN is needed');
            isUnlocked = pin === '1234';
          }
          return turn(stanza!.body);
        },
      };
    },
  },
  {
    input: process.stdin,
    write: (bytes) => new Promise((resolve) => process.stdout.write(bytes, () => resolve())),
  },
);
process.exit(0);
