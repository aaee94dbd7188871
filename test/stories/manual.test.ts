// Every ```sh block of the manual runs as it stands, page by page, in a folder of its own.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createSandbox } from '../support/cli.ts';

const root = join(import.meta.dirname, '..', '..');

for (const page of [
  'docs/manual/install.md',
  'docs/manual/json.md',
  'docs/manual/archives.md',
  'docs/manual/encrypt-and-decrypt.md',
  'docs/manual/keys.md',
  'docs/manual/recipients.md',
  'docs/manual/restore.md',
  'docs/manual/verify.md',
  'docs/manual/back-up.md',
  'docs/manual/keep.md',
  'docs/manual/drill.md',
  'docs/manual/alarms.md',
  'docs/manual/copy.md',
  'docs/manual/doctor.md',
  'docs/manual/rsync.md',
  'docs/manual/storage-rclone.md',
  'docs/manual/operate.md',
])
  test(`the commands of ${page} work`, async (t) => {
    const text = readFileSync(join(root, page), 'utf8');
    const blocks = [...text.matchAll(/^```sh\n([^]*?)^```$/gm)].map(([, block]) => block!);
    assert.ok(blocks.length > 0);
    const { code, stderr } = await createSandbox(t).shell(`set -x\n${blocks.join('\n')}`);
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stderr, /^(salvage|warning):/m);
  });
