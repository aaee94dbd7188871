import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { decodeQR } from 'qr/decode.js';
import { createRandom, mutate } from '../../../test/support/mutations.ts';
import { equalBytes, toHex, utf8Bytes } from '../../bytes/bytes.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { generateIdentity } from '../../age/generate.ts';
import { generateEd25519Key, encodeEd25519PrivateKey } from '../../ssh/encode-private-key.ts';
import { divide, multiply } from './gf256.ts';
import { keyPage, readKeyPage } from './key-page.ts';
import { renderHtmlPage, renderTextPage } from './paper-page.ts';
import { readSecretMaterial, writeSecretMaterial, type SecretMaterial } from './secret-material.ts';
import { interpolate, splitSecret } from './shamir.ts';
import { findShares, sharePage } from './share-page.ts';
import { encodeShare, formatShare, joinShares, parseShare, splitIntoShares, type Share } from './share.ts';
import { decodeWordLines, encodeWordLines } from './word-lines.ts';

const identity = generateIdentity();
const key: SecretMaterial = readSecretMaterial(utf8Bytes(`${identity.toSecretString()}\n`), 'k');
const facts = { count: 3, name: 'k & <b>', recipient: 'age1…', date: '2026-11-23' };

/** The numbers 0 to n-1 in some order, of which the first k are to be taken. */
const choices = fc
  .tuple(fc.integer({ min: 2, max: 12 }), fc.integer({ min: 0, max: 12 }))
  .chain(([threshold, more]) =>
    fc.record({
      threshold: fc.constant(threshold),
      count: fc.constant(threshold + more),
      order: fc.shuffledSubarray(
        Array.from({ length: threshold + more }, (_, at) => at),
        { minLength: threshold + more },
      ),
    }),
  );

describe('arithmetic', () => {
  /** Multiplication by shifting and adding, as FIPS 197 section 4.2 has it. */
  const slowly = (a: number, b: number): number => {
    let product = 0;
    for (let bit = 0; bit < 8; bit++) {
      if (b & (1 << bit)) product ^= a;
      a = (a << 1) ^ (a & 0x80 ? 0x11b : 0);
    }
    return product;
  };

  test('multiplies as FIPS 197 does, for all bytes, and divides back', () => {
    assert.equal(multiply(0x57, 0x83), 0xc1);
    for (let a = 0; a < 256; a++)
      for (let b = 0; b < 256; b++) {
        const product = multiply(a, b);
        if (product !== slowly(a, b)) assert.fail(`${a} * ${b}`);
        if (b !== 0 && divide(product, b) !== a) assert.fail(`${product} / ${b}`);
      }
    assert.throws(() => divide(1, 0), RangeError);
  });
});

describe("Shamir's sharing", () => {
  test('any k points give the secret', () => {
    const secrets = fc.uint8Array({ minLength: 1, maxLength: 64 });
    fc.assert(
      fc.property(secrets, choices, (secret, { threshold, count, order }) => {
        const points = splitSecret(secret, threshold, count);
        const chosen = order.slice(0, threshold).map((at) => points[at]!);
        assert.deepEqual(interpolate(chosen, 0), secret);
      }),
    );
  });

  test('fewer fit every secret: with k - 1 points there is a polynomial through any value at 0', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 6 }), fc.nat(255), fc.nat(255), (threshold, secret, other) => {
        const points = splitSecret(Uint8Array.of(secret), threshold, threshold).slice(1);
        const forged = [...points, { x: 0, y: Uint8Array.of(other) }];
        const missing = { x: 1, y: interpolate(forged, 1) };
        assert.deepEqual([...interpolate([missing, ...points], 0)], [other]);
      }),
    );
  });

  test('a point is spread evenly, whatever the secret: one of 2 of 2 tells nothing', () => {
    for (const secret of [0, 0xff]) {
      const seen = new Set<number>();
      for (let round = 0; round < 4000 && seen.size < 256; round++)
        seen.add(splitSecret(Uint8Array.of(secret), 2, 2)[0]!.y[0]!);
      assert.equal(seen.size, 256);
    }
  });
});

describe('shares', () => {
  test('any k, or more, of n give the key, as text and as words; fewer are refused', () => {
    fc.assert(
      fc.property(choices, fc.boolean(), ({ threshold, count, order }, asWords) => {
        const shares = splitIntoShares(key, threshold, count);
        const pass = (share: Share): Share =>
          asWords
            ? findShares(encodeWordLines(encodeShare(share)).join('\n'))[0]!
            : parseShare(formatShare(share));
        const take = (number: number): Share[] => order.slice(0, number).map((at) => pass(shares[at]!));
        for (const number of [threshold, count])
          assert.equal(toHex(joinShares(take(number)).bytes), toHex(key.bytes));
        assert.throws(() => joinShares(take(threshold - 1)), {
          code: 'bad-key',
          message: /are needed|there is none/,
        });
      }),
      { numRuns: 40 },
    );
  });

  test('of different sets, contradicting, wrong or forged ones are refused with the reason', () => {
    const [one, two, three] = splitIntoShares(key, 2, 3) as [Share, Share, Share];
    const [other] = splitIntoShares(key, 2, 3) as [Share];
    const refused = (shares: Share[], message: RegExp): void =>
      assert.throws(() => joinShares(shares), { code: 'bad-key', message });
    const change = (share: Share, changes: Partial<Share>): Share => ({ ...share, ...changes });
    const flipped = (share: Share): Share =>
      change(share, { y: share.y.map((byte, at) => (at === 5 ? byte ^ 1 : byte)) });
    refused([], /none/);
    refused([one], /1 of the 2/);
    refused([one, one], /1 of the 2/);
    refused([one, other], /of the set [0-9a-f]{8} and share 1 of the set/);
    refused([one, flipped(two)], /do not fit together/);
    refused([one, two, flipped(three)], /do not fit together/);
    refused([one, flipped(one), two], /two different shares with the number 1/);
    refused([one, change(two, { threshold: 3 })], /contradict/);
    refused([one, change(two, { y: two.y.subarray(1) })], /contradict/);
    refused([change(one, { index: 3 }), two], /do not fit/);
    // Relabelled to need fewer, or to be of a set they are not of.
    refused([change(one, { setId: other.setId }), change(two, { setId: other.setId })], /do not fit/);
    const three3 = splitIntoShares(key, 3, 3).map((share) => change(share, { threshold: 2 }));
    refused(three3.slice(0, 2), /do not fit/);
    assert.equal(toHex(joinShares([one, two, one]).bytes), toHex(key.bytes));
  });

  test('numbers that make no sense are refused', () => {
    for (const [threshold, count] of [
      [1, 3],
      [4, 3],
      [0, 0],
      [2, 256],
      [2.5, 3],
      [Number.NaN, 3],
      [2, 1],
    ] as const)
      assert.throws(
        () => splitIntoShares(key, threshold, count),
        { code: 'usage' },
        `${threshold} of ${count}`,
      );
    assert.equal(splitIntoShares(key, 255, 255).length, 255);
  });

  test('a mistyped letter, word or line is found', () => {
    const [share] = splitIntoShares(key, 2, 2) as [Share];
    const text = formatShare(share);
    for (let at = 20; at < text.length; at += 7) {
      const wrong = text.slice(0, at) + (text[at] === 'Q' ? 'P' : 'Q') + text.slice(at + 1);
      assert.throws(() => findShares(wrong), { code: 'bad-key' });
    }
    const lines = encodeWordLines(encodeShare(share));
    const wrong = lines.with(
      2,
      lines[2]!.replace(/[aiou]/, (vowel) => (vowel === 'a' ? 'o' : 'a')),
    );
    assert.throws(() => findShares(wrong.join('\n')), { message: /line 3 of the words: its last word/ });
    const swapped = lines.with(0, lines[1]!).with(1, lines[0]!);
    assert.throws(() => findShares(swapped.join('\n')), { message: /line 1 of the words/ });
    const misspelt = lines.with(1, lines[1]!.replace(/[a-z]{5}/, 'xxxxx'));
    assert.throws(() => findShares(misspelt.join('\n')), { message: /line 2 of the words: word 1 is none/ });
    for (let missing = 1; missing < lines.length; missing++)
      assert.throws(() => findShares(lines.slice(0, missing).join('\n')), { code: 'bad-key' });
  });

  test('are found however they are typed', () => {
    const [share] = splitIntoShares(key, 2, 2) as [Share];
    const text = formatShare(share);
    const words = encodeWordLines(encodeShare(share));
    const bare = words.map((line) => line.replace(/^ *\d+ +/, ''));
    for (const typed of [
      text,
      text.toLowerCase(),
      text.replaceAll(/(.{20})/g, '$1\n'),
      `my note\n\n  ${text.slice(0, 30)} \r\n${text.slice(30)}\n\nanother note\n`,
      words.join('\n'),
      bare.join('\r\n').toUpperCase(),
      bare.map((line, at) => `${at + 1}. ${line.replaceAll(' ', '-')}`).join('\n'),
      `${text}\n\n${words.join('\n')}\n`,
    ])
      assert.deepEqual(findShares(typed).map(formatShare), [text], typed);
    assert.deepEqual(findShares('nothing here\n1 2 3\n'), []);
  });

  test('whatever is fed in, an error or shares come out, and never another key', () => {
    const random = createRandom(Number(process.env['SEED'] ?? 20_261_123));
    const shares = splitIntoShares(key, 2, 3);
    const pages = shares.map((share) => utf8Bytes(renderTextPage(sharePage(share, facts))));
    const seeds = [...pages, ...shares.map((share) => utf8Bytes(formatShare(share)))];
    for (let round = 0; round < 1500; round++) {
      const typed = mutate(seeds, random).toString('utf8');
      try {
        const joined = joinShares([...findShares(typed), shares[0]!]);
        assert.ok(equalBytes(joined.bytes, key.bytes));
      } catch (error) {
        if (!(error instanceof SalvageError)) throw error;
      }
    }
  });
});

describe('pages', () => {
  /** Scans the code that is drawn with characters on a page of text. */
  const scan = (page: string): string => {
    const drawn = page.split('\n').filter((line) => /^[ ▄▀█]+$/.test(line) && line.length > 20);
    const width = Math.max(...drawn.map((line) => line.length));
    const scale = 4;
    const rows = drawn.flatMap((line) => {
      const cells = line.padEnd(width).split('');
      return [cells.map((cell) => '▀█'.includes(cell)), cells.map((cell) => '▄█'.includes(cell))];
    });
    const data = new Uint8Array(width * scale * rows.length * scale * 4).fill(255);
    for (const [y, row] of rows.entries())
      for (const [x, dark] of row.entries())
        for (let pixel = dark ? 0 : scale * scale; pixel < scale * scale; pixel++) {
          const at = ((y * scale + Math.floor(pixel / scale)) * width + x) * scale + (pixel % scale);
          data.fill(0, at * 4, at * 4 + 3);
        }
    return decodeQR({ width: width * scale, height: rows.length * scale, data });
  };

  test('of shares are read back: by scanning, from text, from HTML', () => {
    const shares = splitIntoShares(key, 2, 3);
    const pages = shares.map((share) => sharePage(share, facts));
    assert.equal(scan(renderTextPage(pages[0]!)), formatShare(shares[0]!));
    for (const render of [renderTextPage, renderHtmlPage]) {
      const found = findShares(render(pages[0]!)).concat(findShares(render(pages[2]!)));
      assert.equal(toHex(joinShares(found).bytes), toHex(key.bytes));
    }
  });

  test('show what is theirs, and nothing is taken for HTML', () => {
    const [share] = splitIntoShares(key, 2, 3) as [Share];
    const html = renderHtmlPage(sharePage(share, facts));
    assert.ok(html.includes('k &#38; &#60;b&#62;') && !html.includes('<b>'));
    assert.doesNotMatch(html, /<script|https?:\/\/(?!www\.w3\.org)/);
    assert.match(renderTextPage(sharePage(share, facts)), /any 2 of the 3 shares/);
  });

  test('of whole keys hold an identity file, in the code and as words', async () => {
    const hybrid = generateIdentity('hybrid');
    const ssh = await encodeEd25519PrivateKey(generateEd25519Key('me'), { passphrase: 'open', rounds: 1 });
    for (const file of [`${identity.toSecretString()}\n`, `${hybrid.toSecretString()}\n`, ssh]) {
      const bytes = typeof file === 'string' ? utf8Bytes(file) : file;
      const secret = readSecretMaterial(bytes, 'k');
      assert.deepEqual(Buffer.from(writeSecretMaterial(secret)), Buffer.from(bytes));
      const page = renderTextPage(
        keyPage(secret, Buffer.from(bytes).toString(), { ...facts, isEncrypted: false }),
      );
      assert.equal(scan(page), Buffer.from(bytes).toString());
      assert.deepEqual(Buffer.from(readKeyPage(page)), Buffer.from(bytes));
      const lines = page.split('\n');
      const cut = lines.filter((line) => !line.startsWith(' 3  ')).join('\n');
      assert.throws(() => readKeyPage(cut), { code: 'bad-key', message: /line 3 of the words/ });
    }
    assert.throws(() => readKeyPage('no words'), { code: 'bad-key' });
  });

  test('are made of identities only, and of such as fit', () => {
    for (const bad of ['hello\n', identity.recipient.toString(), `${identity.toSecretString()}X`])
      assert.throws(() => readSecretMaterial(utf8Bytes(bad), 'k'), { code: 'bad-key' });
    const two = `${identity.toSecretString()}\n`.repeat(2);
    assert.equal(readSecretMaterial(utf8Bytes(two), 'k').kind, 3);
    assert.throws(() => readSecretMaterial(utf8Bytes(two.repeat(20)), 'k'), { message: /more than 1200/ });
  });
});

test('words give the bytes back, of any length', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 60 }), (bytes) => {
      const decoded = decodeWordLines(encodeWordLines(bytes));
      assert.deepEqual(decoded.subarray(0, bytes.length), bytes);
      assert.ok(decoded.length - bytes.length <= 1);
    }),
  );
});
