import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, describe, test } from 'node:test';
import { createRandom, mutate } from '../../../test/support/mutations.ts';
import { toHex, utf8Bytes } from '../../bytes/bytes.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { encodeBech32 } from '../bech32.ts';
import { createEnvelope, openEnvelope } from '../envelope.ts';
import { generateIdentity } from '../generate.ts';
import { encodeStanza, parseHeader, type Header } from '../header.ts';
import { parseIdentityLines } from '../identity-lines.ts';
import { parseRecipient } from '../parse-recipient.ts';
import type { Identity } from '../recipient.ts';
import type { Stanza } from '../stanza.ts';
import { AgePlugins, type AgePluginsOptions } from './age-plugins.ts';
import { findPlugin } from './find-plugin.ts';
import { encodePluginIdentity, parsePluginIdentity, parsePluginRecipient } from './plugin-text.ts';
import { PluginIdentity } from './plugin-identity.ts';
import type { PluginUi } from './plugin-ui.ts';
import { StanzaReader } from './stanza-reader.ts';

const folder = mkdtempSync(join(tmpdir(), 'salvage-plugins-'));
after(() => rmSync(folder, { recursive: true }));
const runs = join(folder, 'runs');
const toy = [process.execPath, join(import.meta.dirname, '../../../test/support/toy-plugin.ts')] as const;
const toyRecipient = encodeBech32('age1toy', utf8Bytes('any'));
const toyIdentity = (behaviour: string): string => encodePluginIdentity('toy', utf8Bytes(behaviour));

beforeEach(() => writeFileSync(runs, ''));
const runsSoFar = (): string[] => readFileSync(runs, 'utf8').split('\n').slice(0, -1);

/** Notes what it is asked, and answers from a list; without an answer left there is nobody. */
class ScriptedUi implements PluginUi {
  readonly said: string[] = [];
  readonly #answers: string[];

  constructor(...answers: string[]) {
    this.#answers = answers;
  }

  message(plugin: string, text: string): void {
    this.said.push(`${plugin}: ${text}`);
  }

  confirm(_plugin: string, text: string, yes: string, no: string | undefined): Promise<boolean> {
    return this.#answer(`${text}? ${yes}/${no ?? ''}`).then((answer) => answer === 'yes');
  }

  requestPublic(_plugin: string, prompt: string): Promise<string> {
    return this.#answer(prompt);
  }

  requestSecret(_plugin: string, prompt: string, isRepeated: boolean): Promise<string> {
    return this.#answer(isRepeated ? `again: ${prompt}` : prompt);
  }

  async #answer(question: string): Promise<string> {
    this.said.push(question);
    const answer = this.#answers.shift();
    if (answer === undefined) throw new SalvageError('usage', 'Cannot ask: there is no terminal');
    return answer;
  }
}

function plugins(ui: PluginUi = new ScriptedUi(), options: Partial<AgePluginsOptions> = {}): AgePlugins {
  const env = { PATH: '/usr/bin:/bin', TOY_RUNS: runs };
  return new AgePlugins({ env, ui, bundled: { toy }, ...options });
}

const toyHeader = async (): Promise<{ header: Header; fileKey: string }> => {
  const { header, fileKey } = await createEnvelope([parseRecipient(toyRecipient, plugins())!]);
  return { header: parseHeader(header), fileKey: toHex(fileKey) };
};

async function opens(header: Header, ...identities: Identity[]): Promise<string | undefined> {
  const fileKey = await openEnvelope(header, identities);
  return fileKey && toHex(fileKey);
}

describe('names', () => {
  test('recipients and identities of plugins say which plugin is meant', () => {
    assert.equal(parsePluginRecipient(toyRecipient).plugin, 'toy');
    assert.equal(parsePluginIdentity(encodePluginIdentity('yubikey')).plugin, 'yubikey');
    assert.equal(encodePluginIdentity('batchpass'), 'AGE-PLUGIN-BATCHPASS-1JCS0Q9');
  });

  test('what could name a program elsewhere is refused', () => {
    for (const name of ['', 'a/b', '../x', 'a b', 'a\0', 'x'.repeat(65), 'ä'])
      assert.throws(() => encodePluginIdentity(name), { code: 'usage' }, name);
    for (const name of ['a/b', '../../bin/x'])
      assert.throws(() => parsePluginRecipient(encodeBech32(`age1${name}`, new Uint8Array(5))), {
        code: 'bad-key',
      });
    for (const text of [
      toyRecipient.toUpperCase(),
      `${toyRecipient}q`,
      'age1toy1',
      toyIdentity('').toLowerCase(),
    ])
      assert.throws(() => parsePluginRecipient(text), { code: 'bad-key' }, text);
    for (const text of [toyIdentity('').toLowerCase(), toyRecipient, `${toyIdentity('')}Q`])
      assert.throws(() => parsePluginIdentity(text), { code: 'bad-key' }, text);
  });

  test('a program is found in PATH, and never in the current folder', () => {
    const [bin, other] = [join(folder, 'bin'), join(folder, 'other')];
    for (const each of [bin, other]) mkdirSync(each);
    mkdirSync(join(bin, 'age-plugin-folder'));
    writeFileSync(join(bin, 'age-plugin-text'), '');
    writeFileSync(join(other, 'age-plugin-text'), '#!/bin/sh\n');
    chmodSync(join(other, 'age-plugin-text'), 0o755);
    assert.equal(findPlugin('text', `${bin}:${other}`), join(other, 'age-plugin-text'));
    assert.equal(findPlugin('folder', bin), undefined);
    const here = process.cwd();
    process.chdir(other);
    for (const path of ['', '.', ':', './']) assert.equal(findPlugin('text', path), undefined, path);
    process.chdir(here);
  });
});

describe('a plugin that behaves', () => {
  test('wraps and unwraps', async () => {
    const { header, fileKey } = await toyHeader();
    assert.equal(header.stanzas[0]!.type, 'toy');
    assert.equal(await opens(header, plugins().identity(toyIdentity('plain'))), fileKey);
    assert.deepEqual(runsSoFar(), ['recipient-v1', 'identity-v1']);
  });

  test('is not run for a file that another identity opens, nor before it is used', async () => {
    const native = generateIdentity();
    const recipients = [parseRecipient(toyRecipient, plugins())!, native.recipient];
    assert.deepEqual(runsSoFar(), []);
    const { header, fileKey } = await createEnvelope(recipients);
    const identities = [plugins().identity(toyIdentity('pin')), native];
    assert.equal(await opens(parseHeader(header), ...identities), toHex(fileKey));
    assert.deepEqual(runsSoFar(), ['recipient-v1']);
  });

  test('wraps to the public half of an identity', async () => {
    const [recipient] = (await plugins().identity(toyIdentity('plain')).recipients!()) as never[];
    const { header, fileKey } = await createEnvelope([recipient!]);
    assert.equal(await opens(parseHeader(header), plugins().identity(toyIdentity('plain'))), toHex(fileKey));
  });

  test('says with its labels what it may stand beside', async () => {
    const env = { TOY_LABELS: 'postquantum', PATH: '/usr/bin' };
    const recipient = parseRecipient(toyRecipient, plugins(new ScriptedUi(), { env }))!;
    await createEnvelope([recipient, generateIdentity('hybrid').recipient]);
    await assert.rejects(createEnvelope([recipient, generateIdentity().recipient]), { code: 'bad-key' });
  });

  test('asks for a PIN, again if it is wrong, and has it remembered when it was right', async () => {
    const { header, fileKey } = await toyHeader();
    const ui = new ScriptedUi('4321', '1234');
    const all = plugins(ui);
    assert.equal(await opens(header, all.identity(toyIdentity('pin'))), fileKey);
    assert.deepEqual(ui.said, ['PIN of the toy', 'again: Wrong. PIN of the toy']);
    // The wrong answer is not given again: the right one now answers the first question, too.
    const other = await toyHeader();
    assert.equal(await opens(other.header, all.identity(toyIdentity('pin'))), other.fileKey);
    assert.equal(ui.said.length, 2);
    const good = new ScriptedUi('1234');
    const again = plugins(good);
    for (const each of [header, other.header])
      assert.ok(await opens(each, again.identity(toyIdentity('pin'))));
    assert.deepEqual(good.said, ['PIN of the toy']);
  });

  test('is told that nobody answers, and what it makes of that is the error; it is not run again', async () => {
    const { header } = await toyHeader();
    const identity = plugins().identity(toyIdentity('pin'));
    for (let time = 0; time < 2; time++)
      await assert.rejects(opens(header, identity), {
        code: 'bad-key',
        message: 'Cannot decrypt with the plugin "toy": Cannot unlock the toy: the PIN is needed',
      });
    assert.deepEqual(runsSoFar(), ['recipient-v1', 'identity-v1']);
  });

  test('shows messages and asks for a choice', async () => {
    const { header, fileKey } = await toyHeader();
    for (const [answer, expected] of [
      ['yes', fileKey],
      ['no', undefined],
    ] as const) {
      const ui = new ScriptedUi(answer);
      assert.equal(await opens(header, plugins(ui).identity(toyIdentity('choice'))), expected);
      assert.deepEqual(ui.said, ['Plug in the toy? it is there/leave it', 'toy: Touch the toy\nnow']);
    }
  });

  test('unwraps all files that are expected in one run', async () => {
    const files = await Promise.all(Array.from({ length: 5 }, toyHeader));
    const foreign = parseHeader((await createEnvelope([generateIdentity().recipient])).header);
    writeFileSync(runs, '');
    const ui = new ScriptedUi('1234');
    const identity = plugins(ui).identity(toyIdentity('pin'));
    identity.expectFiles!([...files.map(({ header }) => header.stanzas), foreign.stanzas]);
    const found = await Promise.all(files.map(({ header }) => opens(header, identity)));
    assert.deepEqual(
      found,
      files.map(({ fileKey }) => fileKey),
    );
    assert.equal(await opens(foreign, identity), undefined);
    assert.deepEqual([runsSoFar(), ui.said], [['identity-v1'], ['PIN of the toy']]);
  });

  test('a broken file, or a token that is missing, is an error unless another identity fits', async () => {
    const { header, fileKey } = await toyHeader();
    for (const [behaviour, message] of [
      ['broken', /the toy stanza/],
      ['gone', /Cannot find the toy/],
    ] as const) {
      const identity = plugins().identity(toyIdentity(behaviour));
      await assert.rejects(opens(header, identity), { code: 'bad-key', message });
      assert.equal(await opens(header, identity, plugins().identity(toyIdentity('plain'))), fileKey);
    }
  });

  test('a broken file among many is an error by itself, also for a plugin that stops there', async () => {
    const key = (byte: number): Uint8Array => new Uint8Array(16).fill(byte);
    const stanzas = (type: string, byte: number): Stanza[] => [{ type, args: [], body: key(byte) }];
    const file = (byte: number): Stanza[] => stanzas('stop', byte);
    let runCount = 0;
    const identity = new PluginIdentity(parsePluginIdentity(toyIdentity('')), async (plan) => {
      runCount++;
      const files: [index: string, type: string, body: Uint8Array][] = [];
      plan.tell((type, args, body) => {
        if (type === 'recipient-stanza') files.push([args![0]!, args![1]!, body!]);
      });
      for (const [index, type, body] of files) {
        const isBroken = type === 'broken';
        plan.take({
          type: isBroken ? 'error' : 'file-key',
          args: isBroken ? ['stanza', index, '0'] : [index],
          body,
        });
        if (isBroken) break;
      }
      plan.finish();
    });
    const [broken, other, good] = [stanzas('broken', 1), stanzas('broken', 2), file(3)];
    identity.expectFiles!([broken, other, good, file(4)]);
    await assert.rejects(async () => await identity.unwrapFileKey(broken), { code: 'bad-key' });
    assert.deepEqual(await identity.unwrapFileKey(good), key(3));
    assert.deepEqual(await identity.unwrapFileKey(file(4)), key(4));
    await assert.rejects(async () => await identity.unwrapFileKey(other), { code: 'age-header' });
    // The first ends at one broken file, the second at the other, the third has only good ones.
    assert.equal(runCount, 3);
  });

  test('a PIN of a run that failed is not remembered', async () => {
    const { header, fileKey } = await toyHeader();
    const ui = new ScriptedUi('1111');
    const all = plugins(ui);
    await assert.rejects(opens(header, all.identity(toyIdentity('pin'))), { code: 'bad-key' });
    assert.equal(ui.said.length, 2);
    const next = new ScriptedUi('1111', '1111');
    const both = plugins(next);
    await assert.rejects(opens(header, both.identity(toyIdentity('pin'))));
    await assert.rejects(opens(header, both.identity(toyIdentity('pin'))));
    // Asked in each run anew, and the right answer still works.
    assert.equal(next.said.filter((text) => text === 'PIN of the toy').length, 2);
    assert.equal(await opens(header, plugins(new ScriptedUi('1234')).identity(toyIdentity('pin'))), fileKey);
  });

  test('without plugins their keys are errors', () => {
    assert.throws(() => parseRecipient(toyRecipient), { code: 'bad-key' });
    assert.throws(() => parseIdentityLines(utf8Bytes(toyIdentity('x')), 'k'), { code: 'bad-key' });
    assert.equal(parseIdentityLines(utf8Bytes(toyIdentity('x')), 'k', plugins()).length, 1);
  });

  test('an aborted run ends the plugin', async () => {
    const stop = new AbortController();
    const pidFile = join(folder, 'pid');
    const sleepy = plugins(new ScriptedUi(), {
      bundled: { toy: ['/bin/sh', '-c', 'echo $$ > "$0"; exec sleep 1000', pidFile] },
      signal: stop.signal,
    });
    const reason = new SalvageError('interrupted', 'Interrupted');
    const { header } = await toyHeader();
    const opening = opens(header, sleepy.identity(toyIdentity('x')));
    const started = (): string => (existsSync(pidFile) ? readFileSync(pidFile, 'utf8') : '');
    while (!started().endsWith('\n')) await new Promise((resolve) => setTimeout(resolve, 5));
    stop.abort(reason);
    await assert.rejects(opening, reason);
    const pid = Number(started());
    assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
  });
});

describe('a plugin that does not', () => {
  const stanza = (type: string, args: string[] = [], body: Uint8Array = new Uint8Array(0)): string =>
    encodeStanza({ type, args, body });
  const key = new Uint8Array(16);
  const done = stanza('done');
  /** A plugin that says this, whatever it hears. */
  const saying = (text: string | Uint8Array, more = ''): Partial<AgePluginsOptions> => {
    const path = join(folder, 'says');
    writeFileSync(path, text);
    return { bundled: { toy: ['/bin/sh', '-c', `cat "$0"; ${more}`, path] } };
  };
  const header = parseHeader(
    utf8Bytes(`age-encryption.org/v1\n${stanza('toy', ['1'], key)}--- ${'A'.repeat(43)}\n`),
  );
  const unwrap = (options: Partial<AgePluginsOptions>): Promise<unknown> =>
    Promise.resolve(
      plugins(new ScriptedUi(), options).identity(toyIdentity('x')).unwrapFileKey(header.stanzas),
    );
  const wrap = (options: Partial<AgePluginsOptions>): Promise<unknown> =>
    Promise.resolve(parseRecipient(toyRecipient, plugins(new ScriptedUi(), options))!.wrapFileKey(key));

  const cases: [what: string, says: string, message: RegExp, by?: 'wrap' | 'unwrap'][] = [
    ['ends at once', '', /ended before it was done \(exit code 0\)/],
    ['ends in the middle of a stanza', '-> msg\n', /ended before it was done/],
    ['prints a usage text', 'usage: toy [options]\n', /not the start of a stanza/],
    ['sends an endless line', '-> msg '.padEnd(300_000, 'x'), /longer than 262144 bytes/],
    ['sends an endless body', `-> msg\n${`${'A'.repeat(64)}\n`.repeat(5000)}`, /longer than 262144 bytes/],
    ['sends bad base64', '-> msg\n===\n', /canonical base64/],
    ['sends a short file key', stanza('file-key', ['0'], key.subarray(1)) + done, /15 bytes/],
    ['sends a key for another file', stanza('file-key', ['1'], key) + done, /was not given/],
    ['sends a key for no number', stanza('file-key', ['-0'], key) + done, /was not given/],
    ['sends a key without a file', stanza('file-key', [], key) + done, /was not given/],
    ['sends two keys', stanza('file-key', ['0'], key).repeat(2) + done, /two keys/],
    ['wraps nothing', done, /answers with nothing/, 'wrap'],
    ['wraps another file', stanza('recipient-stanza', ['1', 'toy']) + done, /another file/, 'wrap'],
    ['wraps to no stanza', stanza('recipient-stanza', ['0']) + done, /another file/, 'wrap'],
    ['sends labels twice', stanza('labels', ['a']).repeat(2) + done, /labels twice/, 'wrap'],
    ['sends a label twice', stanza('labels', ['a', 'a']) + done, /label twice/, 'wrap'],
    ['fails', stanza('error', ['internal'], utf8Bytes('no more ink')) + done, /no more ink/, 'wrap'],
    ['fails', stanza('error', ['internal'], utf8Bytes('no more ink')) + done, /no more ink/],
    ['talks without end', stanza('msg').repeat(1100) + done, /does not stop talking/],
    [
      'wraps without end',
      stanza('recipient-stanza', ['0', 'toy']).repeat(1100) + done,
      /than a header/,
      'wrap',
    ],
  ];
  for (const [what, says, message, by = 'unwrap'] of cases)
    test(`${what}: an error that says so (${by})`, async () => {
      const error = { code: 'bad-key', message };
      await assert.rejects((by === 'wrap' ? wrap : unwrap)(saying(says)), error);
    });

  test('what it says on standard error is part of the message', async () => {
    await assert.rejects(unwrap(saying('', 'echo "no reader" >&2; exit 3')), {
      message: /exit code 3\): no reader/,
    });
  });

  test('unknown commands are answered, and a plugin that goes on talking after its end is let go', async () => {
    const text = stanza('grease-x', ['1']) + stanza('future') + stanza('file-key', ['0'], key) + done;
    assert.deepEqual(await unwrap(saying(text, 'yes')), key);
  });

  test('a silent one is ended, and so is one that leaves a child behind', async () => {
    for (const script of ['exec sleep 1000', 'sleep 2 & exit 0'])
      await assert.rejects(unwrap({ bundled: { toy: ['/bin/sh', '-c', script] }, silenceMs: 100 }), {
        message: /said nothing for|ended before/,
      });
  });

  test('a missing one is named', async () => {
    await assert.rejects(unwrap({ bundled: {} }), { message: /no program age-plugin-toy in PATH/ });
    await assert.rejects(unwrap({ bundled: { toy: ['/nonexistent/x'] } }), { message: /cannot be run/ });
  });

  test('whatever comes out of it, an error or an answer is what we get', async () => {
    const random = createRandom(Number(process.env['SEED'] ?? 20_261_123));
    const seeds = [
      stanza('msg', [], utf8Bytes('hello')) + stanza('file-key', ['0'], key) + done,
      stanza('confirm', ['eWVz', 'bm8'], utf8Bytes('?')) + stanza('request-secret') + done,
      stanza('error', ['stanza', '0', '0'], utf8Bytes('bad')) + stanza('labels', ['a']) + done,
      stanza('recipient-stanza', ['0', 'toy', '1'], key) + stanza('request-public') + done,
    ].map((text) => Buffer.from(text));
    const attempt = async (work: () => unknown): Promise<void> => {
      try {
        await work();
      } catch (error) {
        if (!(error instanceof SalvageError)) throw error;
      }
    };
    for (let round = 0; round < 3000; round++) {
      const bytes = mutate(seeds, random);
      await attempt(() => [...new StanzaReader().push(bytes)]);
    }
    for (let round = 0; round < 60; round++) {
      const bytes = mutate(seeds, random);
      await attempt(() => (round % 2 === 0 ? wrap : unwrap)(saying(bytes)));
    }
  });
});

test('a reader takes stanzas in pieces of any size', () => {
  const text = encodeStanza({ type: 'a', args: ['b'], body: new Uint8Array(100) }).repeat(3);
  for (const size of [1, 2, 63, 64, 65, 1000]) {
    const reader = new StanzaReader();
    let count = 0;
    for (let at = 0; at < text.length; at += size)
      count += [...reader.push(utf8Bytes(text.slice(at, at + size)))].length;
    assert.deepEqual([count, reader.isBetweenStanzas], [3, true]);
  }
});
