import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { SalvageError } from '../errors/salvage-error.ts';
import { readPassphrase } from './passphrase-source.ts';

const folder = mkdtempSync(join(tmpdir(), 'salvage-passphrase-'));
after(() => rmSync(folder, { recursive: true }));
const { signal } = new AbortController();

function file(data: string | Uint8Array): { file: string } {
  const path = join(folder, 'passphrase');
  writeFileSync(path, data);
  return { file: path };
}

const badKey = (error: unknown): boolean =>
  error instanceof SalvageError && error.code === 'bad-key' && !error.message.includes('s3cret');

test('the passphrase is the first line, without its line end', async () => {
  const table: [data: string, passphrase: string][] = [
    ['s3cret', 's3cret'],
    ['s3cret\n', 's3cret'],
    ['s3cret\r\nuser: me\n', 's3cret'],
    [' with blanks \n', ' with blanks '],
    ['pässwört\n', 'pässwört'],
  ];
  for (const [data, passphrase] of table) assert.equal(await readPassphrase(file(data), signal), passphrase);
});

test('no first line, a long one, foreign bytes or no file at all are errors that do not tell the secret', async () => {
  for (const data of ['', '\n', '\ns3cret\n', `s3cret${'x'.repeat(65536)}`, Uint8Array.of(0xff, 0xfe)])
    await assert.rejects(readPassphrase(file(data), signal), badKey);
  await assert.rejects(readPassphrase({ file: join(folder, 'missing') }, signal), badKey);
});

test('from a file descriptor', async () => {
  const fd = openSync(file('from fd\n').file, 'r');
  assert.equal(await readPassphrase({ fd }, signal), 'from fd');
  closeSync(fd);
  await assert.rejects(readPassphrase({ fd }, signal), badKey);
});

test('from a command; if that fails, its output is not used', async () => {
  assert.equal(await readPassphrase({ command: 'echo s3cret; echo second' }, signal), 's3cret');
  await assert.rejects(readPassphrase({ command: 'echo s3cret; exit 3' }, signal), /exit code 3/);
  await assert.rejects(readPassphrase({ command: 'yes | tr -d "\\n" | head -c 100000' }, signal), badKey);
});

test('a command is stopped with the run', async () => {
  const controller = new AbortController();
  const reading = readPassphrase({ command: 'exec sleep 60' }, controller.signal);
  controller.abort(new SalvageError('interrupted', 'Interrupted'));
  await assert.rejects(reading, /Interrupted/);
});
