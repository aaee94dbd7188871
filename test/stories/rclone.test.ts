// A repository behind rclone, with the real binary: what docs/manual/storage-rclone.md tells.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { after, before, suite, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { createSandbox, salvage, type RunResult, type Sandbox } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';

suite('a repository behind rclone', needsPeers, () => {
  const box: Sandbox = createSandbox({ after });
  const trust = '--allowed-signers allowed --signer host';

  before(async () => {
    box.write(
      'rclone.conf',
      `[disk]\ntype = local\n[vault]\ntype = alias\nremote = disk:${box.path('far')}\n`,
    );
    for (let index = 0; index < 40; index++)
      box.write(`src/d${index % 4}/f${index}`, `content of ${index}\n`.repeat(index * 40));
    await run('salvage keygen -q -o key.txt; salvage keygen -y key.txt > key.pub');
  });

  async function run(script: string, code = 0): Promise<RunResult> {
    const env = { RCLONE_CONFIG: box.path('rclone.conf'), SALVAGE_REPOSITORY: 'rclone:vault:web-1' };
    const result = await box.shell(script, { env });
    assert.equal(result.code, code, result.stderr);
    return result;
  }

  test('init, backup, verify, restore; what it stores is a repository like any other', async () => {
    await run(`salvage init -R key.pub --name host > allowed
      salvage backup src
      salvage verify ${trust} --read-data
      salvage restore latest -i key.txt ${trust} --target out
      diff -r src out/src`);
    box.write('src/new', 'new');
    const { stdout } = await run('salvage backup src --json');
    const summary = JSON.parse(stdout.toString().trim().split('\n').at(-1)!) as { filesNew: number };
    assert.equal(summary.filesNew, 1);
    await run(`salvage verify --repo far/web-1 ${trust} --read-data
      python3 far/web-1/recover.py --repo far/web-1 -i key.txt --target by-hand latest
      diff -r src by-hand/src`);
    const listed = await run('salvage snapshots --json');
    assert.equal(listed.stdout.toString().trim().split('\n').length, 2);
  });

  test('doctor finds it fit, and clears up', async () => {
    const before = readdirSync(box.path('far/web-1'), { recursive: true, withFileTypes: true });
    const { stdout } = await run('salvage doctor --repo "$SALVAGE_REPOSITORY"');
    assert.match(stdout.toString(), /^an object that is there is never rewritten +yes$/m);
    const { fit } = JSON.parse(
      (await run('salvage doctor --repo "$SALVAGE_REPOSITORY" --json')).stdout.toString(),
    ) as { fit: boolean };
    assert.equal(fit, true);
    const files = (entries: typeof before): number => entries.filter((entry) => entry.isFile()).length;
    const now = readdirSync(box.path('far/web-1'), { recursive: true, withFileTypes: true });
    assert.equal(files(now), files(before));
  });

  test('killed in the middle, nothing runs on or stays behind, and the next run carries on', async () => {
    box.write(
      'src/big',
      Buffer.from(crypto.getRandomValues(new Uint8Array(65_536)))
        .toString('hex')
        .repeat(100),
    );
    const lines = (await run('env -0')).stdout
      .toString()
      .split('\0')
      .filter((line) => line.includes('='));
    const env = Object.fromEntries(
      lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    );
    const child = spawn(salvage, ['backup', 'src'], { cwd: box.folder, env, stdio: 'ignore' });
    const ended = once(child, 'exit');
    while (child.exitCode === null && rclonesOf(box).length === 0) await setTimeout(5);
    child.kill('SIGKILL');
    await ended;
    while (rclonesOf(box).length > 0) await setTimeout(10);
    while (readdirSync(box.path('.home/tmp')).some((name) => name.startsWith('salvage-rclone-')))
      await setTimeout(10);
    rmSync(box.path('out'), { recursive: true, force: true });
    await run(`salvage backup src; salvage verify ${trust} --read-data
      salvage restore latest -i key.txt ${trust} --target out; diff -r src out/src`);
  });

  test('what rclone cannot do is said in its words', async () => {
    const { stderr } = await run('salvage snapshots --repo rclone:nowhere:x', 1);
    assert.match(stderr, /nowhere[^]*didn't find section in config file/);
    assert.match((await run('salvage snapshots --repo rclone:x', 2)).stderr, /rclone listremotes/);
  });
});

/** The rclone programs that run with this sandbox's HOME. */
function rclonesOf(box: Sandbox): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return (
        /^\d+$/.test(pid) &&
        readFileSync(`/proc/${pid}/comm`, 'latin1') === 'rclone\n' &&
        readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`HOME=${box.path('.home')}\0`)
      );
    } catch {
      return false;
    }
  });
}
