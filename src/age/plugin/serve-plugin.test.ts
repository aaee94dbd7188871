import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRandom, mutate } from '../../../test/support/mutations.ts';
import { utf8Bytes } from '../../bytes/bytes.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { encodeStanza } from '../header.ts';
import type { Stanza } from '../stanza.ts';
import { servePlugin, type Plugin } from './serve-plugin.ts';
import { StanzaReader } from './stanza-reader.ts';

const empty = new Uint8Array(0);
const key = (byte: number): Uint8Array => new Uint8Array(16).fill(byte);
const line = (type: string, args: string[] = [], body: Uint8Array = empty): string =>
  encodeStanza({ type, args, body });
const done = line('done');

/** A plugin whose stanzas hold the key in clear; the recipient "bad" and the identity "BAD" are not known to it. */
const plain: Plugin = {
  recipient(text) {
    if (text === 'bad')
      throw new SalvageError('bad-key', 'Cannot use the recipient', { hint: 'Try another.' });
    return {
      wrapFileKey: (fileKey) => ({
        stanzas: [{ type: 'plain', args: [text], body: fileKey }],
        labels: ['open'],
      }),
    };
  },
  identity(text, client) {
    if (text === 'BAD') throw new SalvageError('bad-key', 'Cannot use the identity');
    return {
      recipients: () => [plain.recipient('own')],
      async unwrapFileKey([stanza]) {
        if (stanza!.type === 'broken') throw new SalvageError('age-header', 'Cannot read the stanza');
        if (stanza!.type !== 'plain') return undefined;
        if (text === 'ASK') {
          await client.message('look here');
          const secret = await client.requestSecret('PIN');
          const agreed = await client.confirm('Really', 'yes', 'no');
          if (secret !== 'open' || !agreed) throw new SalvageError('bad-key', 'Cannot open: not allowed');
        }
        return stanza!.body;
      },
    };
  },
};

/** What the plugin says to a client that says `first` and then gives these answers, or `ok`. */
async function serve(
  stateMachine: string,
  first: string,
  answers: readonly string[] = [],
): Promise<string[]> {
  const said: string[] = [];
  const reader = new StanzaReader();
  const waiting: string[] = [];
  let wake = Promise.withResolvers<void>();
  const rest = [...answers];
  await servePlugin(stateMachine, plain, {
    input: (async function* () {
      yield utf8Bytes(first);
      for (;;) {
        while (waiting.length === 0) await wake.promise;
        yield utf8Bytes(waiting.shift()!);
      }
    })(),
    async write(bytes) {
      for (const { type, args, body } of reader.push(bytes)) {
        said.push([type, ...args, ...(body.length > 0 ? [Buffer.from(body).toString()] : [])].join(' '));
        waiting.push(rest.shift() ?? line('ok'));
        wake.resolve();
        wake = Promise.withResolvers<void>();
      }
    },
  });
  return said;
}

const text = (byte: number): string => Buffer.from(key(byte)).toString();

test('wraps every file key to every recipient and identity, and says its labels', async () => {
  const said = await serve(
    'recipient-v1',
    line('add-recipient', ['a']) +
      line('grease', ['x'], key(9)) +
      line('add-identity', ['ME']) +
      line('wrap-file-key', [], key(1)) +
      line('wrap-file-key', [], key(2)) +
      line('extension-labels') +
      done,
  );
  assert.deepEqual(said, [
    'labels open',
    `recipient-stanza 0 plain a ${text(1)}`,
    `recipient-stanza 1 plain a ${text(2)}`,
    `recipient-stanza 0 plain own ${text(1)}`,
    `recipient-stanza 1 plain own ${text(2)}`,
    'done',
  ]);
});

test('wraps nothing if one of them cannot be used, and names it', async () => {
  const said = await serve(
    'recipient-v1',
    line('add-recipient', ['a']) +
      line('add-recipient', ['bad']) +
      line('add-identity', ['BAD']) +
      line('wrap-file-key', [], key(1)) +
      done,
  );
  assert.deepEqual(said, [
    'error recipient 1 Cannot use the recipient (Try another.)',
    'error identity 0 Cannot use the identity',
    'done',
  ]);
});

test('unwraps what it knows, of many files, and names a stanza that is broken', async () => {
  const said = await serve(
    'identity-v1',
    line('add-identity', ['ME']) +
      line('recipient-stanza', ['0', 'X25519', 'abc'], key(5)) +
      line('recipient-stanza', ['0', 'plain', 'a'], key(1)) +
      line('recipient-stanza', ['1', 'other'], key(6)) +
      line('recipient-stanza', ['2', 'other'], key(7)) +
      line('recipient-stanza', ['2', 'broken'], key(7)) +
      line('recipient-stanza', ['2', 'plain', 'a'], key(7)) +
      line('recipient-stanza', ['3', 'plain', 'a'], key(3)) +
      done,
  );
  assert.deepEqual(said, [
    `file-key 0 ${text(1)}`,
    'error stanza 2 1 Cannot read the stanza',
    `file-key 3 ${text(3)}`,
    'done',
  ]);
});

test('asks the user by way of the client, and gives up an identity at its first error', async () => {
  const first =
    line('add-identity', ['ASK']) +
    line('recipient-stanza', ['0', 'plain'], key(1)) +
    line('recipient-stanza', ['1', 'plain'], key(2)) +
    done;
  const questions = ['msg look here', 'request-secret PIN', 'confirm eWVz bm8 Really'];
  const yes = [line('ok'), line('ok', [], utf8Bytes('open')), line('ok', ['yes']), line('ok')];
  assert.deepEqual(await serve('identity-v1', first, [...yes, ...yes]), [
    ...questions,
    `file-key 0 ${text(1)}`,
    ...questions,
    `file-key 1 ${text(2)}`,
    'done',
  ]);
  for (const answers of [
    [line('fail'), line('fail'), line('fail')],
    [line('unsupported'), line('ok', [], utf8Bytes('open')), line('ok', ['no'])],
  ])
    assert.deepEqual(await serve('identity-v1', first, answers), [
      ...questions,
      'error identity 0 Cannot open: not allowed',
      'done',
    ]);
});

test('a client that ends early, or is none, is an error', async () => {
  const input = async function* (bytes: string): AsyncGenerator<Uint8Array> {
    yield utf8Bytes(bytes);
  };
  const write = async (): Promise<void> => {};
  for (const bytes of ['', line('add-identity', ['ME']), 'hello\n'])
    await assert.rejects(servePlugin('identity-v1', plain, { input: input(bytes), write }), {
      code: 'bad-key',
    });
  await assert.rejects(servePlugin('identity-v2', plain, { input: input(done), write }), { code: 'usage' });
});

test('whatever a client says, it ends with an answer or an error', async () => {
  const random = createRandom(Number(process.env['SEED'] ?? 20_261_123));
  const seeds = ['recipient-v1', 'identity-v1'].map((machine) =>
    utf8Bytes(
      line(machine === 'recipient-v1' ? 'add-recipient' : 'add-identity', ['ASK']) +
        line('wrap-file-key', [], key(1)) +
        line('recipient-stanza', ['0', 'plain', 'a'], key(1)) +
        done +
        line('ok').repeat(8),
    ),
  );
  for (let round = 0; round < 1000; round++) {
    const bytes = mutate(seeds, random);
    const heard: Stanza[] = [];
    const reader = new StanzaReader();
    try {
      await servePlugin(round % 2 === 0 ? 'recipient-v1' : 'identity-v1', plain, {
        input: (async function* () {
          yield bytes;
        })(),
        async write(part) {
          heard.push(...reader.push(part));
        },
      });
      assert.equal(heard.at(-1)?.type, 'done');
    } catch (error) {
      if (!(error instanceof SalvageError)) throw error;
    }
    assert.ok(heard.length < 1000);
  }
});
