import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readAgeVectors } from '../../../test/support/age-vectors.ts';
import { asBuffer } from '../../bytes/bytes.ts';
import { randomBytes } from '../../clock/random.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { createEnvelope } from '../envelope.ts';
import { HybridIdentity } from '../hybrid.ts';
import { encryptPayload } from '../payload.ts';
import type { Identity } from '../recipient.ts';
import { ScryptIdentity } from '../scrypt.ts';
import { X25519Identity } from '../x25519.ts';
import { decryptFile } from './decrypt-file.ts';
import { encryptFile } from './encrypt-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'salvage-age-file-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const path = (name: string): string => join(folder, name);
const identity = X25519Identity.generate();
const chunk = 65_536;
// Beyond what is read before workers start, and not whole in segments or chunks.
const plaintext = asBuffer(randomBytes(60 * chunk + 4321));

async function encrypt(
  input: string,
  output: string,
  options: { armor?: boolean; threads?: number } = {},
): Promise<void> {
  await withFiles(input, output, (files) =>
    encryptFile({ ...files, recipients: [identity.recipient], ...options }),
  );
}

async function decrypt(input: string, output: string, identities: Identity[] = [identity]): Promise<void> {
  await withFiles(input, output, (files) => decryptFile({ ...files, identities }));
}

async function withFiles(
  input: string,
  output: string,
  run: (files: { inputFd: number; openOutput: () => number }) => Promise<void>,
): Promise<void> {
  const inputFd = openSync(input, 'r');
  let outputFd: number | undefined;
  try {
    await run({ inputFd, openOutput: () => (outputFd = openSync(output, 'w')) });
  } finally {
    closeSync(inputFd);
    if (outputFd !== undefined) closeSync(outputFd);
  }
}

/** A named pipe: whoever opens it waits for the other end. */
function makePipe(name: string): string {
  const pipe = path(name);
  rmSync(pipe, { force: true });
  execFileSync('mkfifo', [pipe]);
  return pipe;
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}

/** Runs `job` with the file fed through one named pipe and its output collected from another. */
async function throughPipes(
  file: Uint8Array,
  job: (input: string, output: string) => Promise<void>,
): Promise<Buffer> {
  writeFileSync(path('source'), file);
  const [input, output] = [makePipe('pipe-in'), makePipe('pipe-out')];
  const feeder = spawn('sh', ['-c', 'cat "$0" > "$1"', path('source'), input], { stdio: 'ignore' });
  const drain = spawn('sh', ['-c', 'cat "$0" > "$1"', output, path('drained')], { stdio: 'ignore' });
  try {
    await job(input, output);
    await ended(drain);
  } finally {
    feeder.kill();
    drain.kill();
    await Promise.all([ended(feeder), ended(drain)]);
  }
  return readFileSync(path('drained'));
}

/** An age file made in memory, and where its first chunk begins. */
async function seal(bytes: Uint8Array): Promise<{ file: Buffer; start: number }> {
  const { fileKey, header } = await createEnvelope([identity.recipient]);
  return { file: Buffer.concat([header, ...encryptPayload(fileKey, bytes)]), start: header.length + 16 };
}

test('files of any length, on any number of threads, come back', async () => {
  for (const length of [
    0,
    1,
    chunk - 1,
    chunk,
    chunk + 1,
    16 * chunk,
    16 * chunk + 1,
    32 * chunk,
    plaintext.length,
  ])
    for (const threads of [1, 3]) {
      writeFileSync(path('plain'), plaintext.subarray(0, length));
      await encrypt(path('plain'), path('sealed'), { threads });
      await decrypt(path('sealed'), path('opened'));
      assert.ok(readFileSync(path('opened')).equals(plaintext.subarray(0, length)), `${length} bytes`);
    }
});

test('a file large enough for workers comes back, and progress is told', async () => {
  const large = Buffer.alloc(100 * 1024 * 1024);
  for (let offset = 0; offset < large.length; offset += chunk) large.writeUInt32LE(offset, offset);
  writeFileSync(path('plain'), large);
  const seen: number[] = [];
  const onProgress = (bytes: number): void => void seen.push(bytes);
  await withFiles(path('plain'), path('sealed'), (files) =>
    encryptFile({ ...files, recipients: [identity.recipient], threads: 3, onProgress }),
  );
  assert.equal(seen.at(-1), large.length);
  seen.length = 0;
  await withFiles(path('sealed'), path('opened'), (files) =>
    decryptFile({ ...files, identities: [identity], threads: 3, onProgress }),
  );
  assert.ok(seen.at(-1)! >= large.length);
  assert.ok(seen.every((bytes, index) => index === 0 || bytes >= seen[index - 1]!));
  assert.ok(readFileSync(path('opened')).equals(large));
});

test('pipes, with and without armor', async () => {
  for (const length of [0, 1, 8 * chunk, 16 * chunk, 32 * chunk, plaintext.length])
    for (const armor of [false, true]) {
      const bytes = plaintext.subarray(0, length);
      const sealed = await throughPipes(bytes, (input, output) => encrypt(input, output, { armor }));
      assert.equal(sealed.toString('latin1', 0, 5), armor ? '-----' : 'age-e');
      const opened = await throughPipes(sealed, decrypt);
      assert.ok(opened.equals(bytes), `${length} bytes`);
    }
});

test('of a damaged file everything before the damage is written, and nothing after it', async () => {
  const { file, start } = await seal(plaintext.subarray(0, 60 * chunk));
  const sealedChunk = chunk + 16;
  const at = (index: number): number => start + index * sealedChunk;
  const flip = (index: number): Buffer => {
    const copy = Buffer.from(file);
    copy[at(index) + 100]! ^= 4;
    return copy;
  };
  const cases: [what: string, file: Buffer, goodChunks: number][] = [
    ...[0, 1, 6, 7, 8, 15, 16, 40, 59].map((index): [string, Buffer, number] => [
      `bit in chunk ${index}`,
      flip(index),
      index,
    ]),
    ['cut in chunk 50', file.subarray(0, at(50) + 77), 50],
    ['cut after chunk 47', file.subarray(0, at(48)), 48],
    ['cut after chunk 0', file.subarray(0, at(1)), 1],
    ['one byte too many', Buffer.concat([file, Buffer.of(1)]), 60],
    ['a chunk too many', Buffer.concat([file, file.subarray(at(59))]), 60],
    [
      'chunks swapped',
      Buffer.concat([file.subarray(0, at(20)), file.subarray(at(21), at(22)), file.subarray(at(20))]),
      20,
    ],
  ];
  for (const [what, damaged, goodChunks] of cases) {
    const good = plaintext.subarray(0, goodChunks * chunk);
    writeFileSync(path('damaged'), damaged);
    rmSync(path('opened'), { force: true });
    await assert.rejects(decrypt(path('damaged'), path('opened')), { code: 'age-payload' }, what);
    assert.equal(existsSync(path('opened')), goodChunks > 0, what);
    if (goodChunks > 0) assert.ok(readFileSync(path('opened')).equals(good), `${what}: file`);
    if (goodChunks === 0) continue;
    const piped = await throughPipes(damaged, (input, output) =>
      assert.rejects(decrypt(input, output), { code: 'age-payload' }, what),
    );
    assert.ok(piped.equals(good), `${what}: pipe`);
  }
});

test('no output is opened for a wrong key, a foreign file or recipients that do not go together', async () => {
  const { file } = await seal(plaintext);
  writeFileSync(path('sealed'), file);
  writeFileSync(path('foreign'), plaintext);
  writeFileSync(path('empty'), '');
  const output = path('not-there');
  await assert.rejects(decrypt(path('sealed'), output, [X25519Identity.generate()]), {
    code: 'no-identity-match',
  });
  await assert.rejects(decrypt(path('foreign'), output), { code: 'age-header' });
  await assert.rejects(decrypt(path('empty'), output), { code: 'age-header' });
  const recipients = [identity.recipient, HybridIdentity.generate().recipient];
  await assert.rejects(
    withFiles(path('foreign'), output, (files) => encryptFile({ ...files, recipients })),
    { code: 'bad-key' },
  );
  assert.ok(!existsSync(output));
});

test('an aborted decryption leaves a beginning of the plaintext', async () => {
  const { file } = await seal(plaintext);
  writeFileSync(path('sealed'), file);
  const controller = new AbortController();
  const reason = new SalvageError('interrupted', 'Interrupted');
  await assert.rejects(
    withFiles(path('sealed'), path('opened'), (files) =>
      decryptFile({
        ...files,
        identities: [identity],
        signal: controller.signal,
        onProgress: () => controller.abort(reason),
      }),
    ),
    reason,
  );
  const written = readFileSync(path('opened'));
  assert.ok(written.length < plaintext.length && written.equals(plaintext.subarray(0, written.length)));
});

test('an input that shrinks while it is read is no success', async () => {
  writeFileSync(path('plain'), plaintext);
  await assert.rejects(
    withFiles(path('plain'), path('sealed'), (files) =>
      encryptFile({
        ...files,
        recipients: [identity.recipient],
        threads: 1,
        onProgress: () => truncateSync(path('plain'), 100),
      }),
    ),
    { code: 'failed', message: /shorter/ },
  );
});

test('a full disk is told as such', { skip: existsSync('/dev/full') ? false : 'no /dev/full' }, async () => {
  writeFileSync(path('plain'), plaintext);
  await assert.rejects(encrypt(path('plain'), '/dev/full'), { code: 'failed', message: /ENOSPC/ });
  const { file } = await seal(plaintext);
  writeFileSync(path('sealed'), file);
  await assert.rejects(decrypt(path('sealed'), '/dev/full'), { code: 'failed', message: /ENOSPC/ });
});

test('the official vectors as files', async () => {
  for (const vector of readAgeVectors()) {
    // Detection by content takes a malformed first line for no armor at all; the other paths are told.
    if (vector.armored || vector.passphrases.length > 0) continue;
    const identities = vector.identities.map((text) =>
      text.startsWith('AGE-SECRET-KEY-PQ-') ? HybridIdentity.parse(text) : X25519Identity.parse(text),
    );
    writeFileSync(path('vector'), vector.file);
    rmSync(path('opened'), { force: true });
    let failed = false;
    try {
      await decrypt(path('vector'), path('opened'), [...identities, new ScryptIdentity('none')]);
    } catch (error) {
      assert.ok(error instanceof SalvageError, vector.name);
      failed = true;
    }
    assert.equal(failed, vector.expect !== 'success', vector.name);
    if (vector.payload === undefined) continue;
    const released = existsSync(path('opened')) ? readFileSync(path('opened')) : Buffer.alloc(0);
    assert.equal(createHash('sha256').update(released).digest('hex'), vector.payload, vector.name);
  }
});
