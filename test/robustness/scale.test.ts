// SLOW=1 only: a million small files, and one file of 50 GB with holes, through backup, an unchanged backup, verify and
// restore, each in no more memory than docs/design/status.md allows. Takes 6 GB of disk and some minutes.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { closeSync, ftruncateSync, mkdirSync, openSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { createSandbox, type Sandbox } from '../support/cli.ts';

const mostMemoryKib = 250 * 1024;
const timeoutMs = 3_600_000;

/** What a command took at most, and how long. */
class Peaks {
  readonly #box: Sandbox;
  readonly #lines: string[] = [];
  #isTooMuch = false;

  constructor(box: Sandbox) {
    this.#box = box;
  }

  async run(what: string, args: readonly string[]): Promise<void> {
    const command = ['-f', '%M %e', '-o', 'peak', 'salvage', ...args];
    const { code, stderr } = await this.#box.program('/usr/bin/time', command, { timeoutMs });
    assert.equal(code, 0, stderr);
    const [kib, seconds] = this.#box.read('peak').toString().trim().split(' ').map(Number);
    this.#lines.push(`${what}: ${Math.round(kib! / 1024)} MiB, ${seconds} s`);
    this.#isTooMuch ||= kib! > mostMemoryKib;
  }

  /** All of them, whichever is too much. */
  check(t: TestContext): void {
    for (const line of this.#lines) t.diagnostic(line);
    assert.ok(!this.#isTooMuch, `more than ${mostMemoryKib / 1024} MiB:\n${this.#lines.join('\n')}`);
  }
}

async function throughEverything(t: TestContext, box: Sandbox): Promise<Peaks> {
  const made = await box.shell(
    `salvage keygen -q -o key.txt; salvage keygen -y key.txt > recipients
     salvage init -q --repo repo -R recipients --name host > allowed`,
  );
  assert.equal(made.code, 0, made.stderr);
  const peaks = new Peaks(box);
  const trusted = ['--repo', 'repo', '--allowed-signers', 'allowed'];
  await peaks.run('first backup', ['backup', '-q', '--repo', 'repo', 'tree']);
  await peaks.run('unchanged backup', ['backup', '-q', '--repo', 'repo', 'tree']);
  await peaks.run('verify', ['verify', '-q', ...trusted, '--read-data']);
  await peaks.run('verify -i', ['verify', '-q', ...trusted, '-i', 'key.txt']);
  await peaks.run('restore', ['restore', 'latest', '-q', ...trusted, '-i', 'key.txt', '--target', 'out']);
  await peaks.run('restore again', [
    'restore',
    'latest',
    '-q',
    ...trusted,
    '-i',
    'key.txt',
    '--target',
    'out',
  ]);
  t.diagnostic((await box.shell('du -sh repo')).stdout.toString().trim());
  return peaks;
}

if (process.env['SLOW'] === '1') {
  test('a million small files in flat memory', { timeout: timeoutMs }, async (t) => {
    const box = createSandbox(t);
    for (let folder = 0; folder < 1000; folder++) {
      const path = box.path('tree', `folder-${folder}`);
      mkdirSync(path, { recursive: true });
      // A third of them empty, and a third like others.
      for (let file = 0; file < 1000; file++)
        writeFileSync(join(path, `file-${file}`), ['', `${file}`, `${folder} ${file}`][file % 3]!);
    }
    try {
      const peaks = await throughEverything(t, box);
      const same = await box.shell('diff -r tree out/tree', { timeoutMs });
      assert.equal(same.code, 0, same.stdout.toString().slice(0, 1000));
      peaks.check(t);
    } finally {
      // In a tenth of the time that Node takes.
      await box.shell('rm -rf tree out', { timeoutMs });
    }
  });

  test('a file of 50 GB, most of it holes, in flat memory', { timeout: timeoutMs }, async (t) => {
    const box = createSandbox(t);
    mkdirSync(box.path('tree'));
    const fd = openSync(box.path('tree', 'disk.img'), 'w');
    const sizeBytes = 50_000_000_000;
    // More pieces than a line of the tree may have.
    for (let offset = 1_000_000; offset < sizeBytes; offset += 40_000_000)
      writeSync(fd, randomBytes(1_000_000), 0, 1_000_000, offset);
    ftruncateSync(fd, sizeBytes);
    closeSync(fd);
    const peaks = await throughEverything(t, box);
    const { size, blocks } = statSync(box.path('out', 'tree', 'disk.img'));
    assert.equal(size, sizeBytes);
    assert.ok(blocks * 512 < 2_000_000_000, `${blocks * 512} bytes of disk`);
    const same = await box.shell('cmp tree/disk.img out/tree/disk.img', { timeoutMs });
    assert.equal(same.code, 0, same.stdout.toString());
    peaks.check(t);
  });
}
