// Backups and copies over a long and unreliable line, between network namespaces: connections that are cut in the middle of
// an upload, a line that is dead for a while, a server that is killed. The run ends well or says why, and the next goes on.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { on } from 'node:events';
import { mkdirSync } from 'node:fs';
import { describe, test, type TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { createSandbox, salvage, type RunResult, type Sandbox } from '../support/cli.ts';
import { farAway, startNetworkLink, type NetworkLink } from '../support/network-link.ts';
import { needsPeers } from '../support/peers.ts';
import { needsRoot, startSshd, type TestSshd } from '../support/sshd.ts';

const schemes = ['sftp', 'ssh'] as const;
type Scheme = (typeof schemes)[number];

/** At the other end of the line: a host, its repositories, and who verifies them. */
interface Surroundings {
  readonly box: Sandbox;
  readonly link: NetworkLink;
  readonly sshd: TestSshd;
  readonly url: (name: string) => string;
  /** Where the server keeps it. */
  readonly folder: (name: string) => string;
  readonly run: (args: readonly string[], onStart?: (child: ChildProcess) => void) => Promise<RunResult>;
}

async function prepare(t: TestContext, scheme: Scheme): Promise<Surroundings> {
  const link = await startNetworkLink(t, farAway);
  const network = { host: link.serverAddress, enter: link.atServer };
  const sshd = await startSshd(t, { network });
  const box = createSandbox(t);
  const served = box.path('served');
  mkdirSync(served);
  const command = `${salvage} serve --stdio --root ${served} --allow-remove`;
  const { sshCommand } =
    scheme === 'sftp' ? sshd.client : sshd.addClient('served', `command="${command}",restrict`);
  const [enter, ...words] = link.atClient;
  return {
    box,
    link,
    sshd,
    url: (name) =>
      scheme === 'sftp' ? sshd.url(name) : `ssh://${sshd.user}@${sshd.host}:${sshd.port}/${name}`,
    folder: (name) => `${scheme === 'sftp' ? sshd.folder : served}/${name}`,
    run: (args, onStart) =>
      box.program(enter!, [...words, salvage, ...args], {
        env: { SALVAGE_SSH: sshCommand },
        ...(onStart && { onStart }),
      }),
  };
}

async function succeed(result: Promise<RunResult>): Promise<RunResult> {
  const { code, stdout, stderr } = await result;
  assert.equal(code, 0, stderr);
  return { code, stdout, stderr };
}

async function says(program: ChildProcess, text: string): Promise<void> {
  let said = '';
  for await (const [data] of on(program.stderr!, 'data') as AsyncIterable<[Buffer]>) {
    said += data.toString();
    if (said.includes(text)) return;
  }
}

const signers = ['--allowed-signers', 'allowed', '--signer', 'web-1'];

async function verifyWhole({ box }: Surroundings, repository: string, snapshots: number): Promise<void> {
  const { stdout } = await succeed(
    box.salvage(['verify', '--repo', repository, ...signers, '--read-data', '--json']),
  );
  const lines = stdout.toString().trim().split('\n');
  const summary = JSON.parse(lines.at(-1)!) as { clean: boolean; snapshots: number };
  assert.deepEqual([summary.clean, summary.snapshots], [true, snapshots]);
}

async function makeHost({ box, run }: Surroundings, repository: string): Promise<void> {
  await box.program('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', 'restore']);
  const { stdout } = await succeed(
    run(['init', '--repo', repository, '-R', 'restore.pub', '--name', 'web-1']),
  );
  box.write('allowed', stdout);
}

const options = { skip: needsPeers.skip || needsRoot.skip, concurrency: true };

describe('far away, over a line that loses packets', options, () => {
  for (const scheme of schemes)
    test(`back up to ${scheme}://, copy from there, verify`, async (t) => {
      const there = await prepare(t, scheme);
      const { box, run, url } = there;
      await makeHost(there, url('first'));
      for (const name of ['a', 'b', 'c']) box.write(`data/${name}`, randomBytes(500_000));
      await succeed(run(['backup', '--repo', url('first'), 'data']));
      await succeed(run(['copy', url('first'), 'here', ...signers]));
      await verifyWhole(there, 'here', 1);
    });
});

describe('the network fails in the middle of an upload', options, () => {
  for (const scheme of schemes)
    test(scheme, async (t) => {
      const there = await prepare(t, scheme);
      const { box, link, sshd, run, url, folder } = there;
      const quick = { roundTripMs: 10, loss: 0 };
      link.set(quick);
      await makeHost(there, 'here');
      for (const name of ['a', 'b', 'c']) {
        box.write(`data/${name}`, randomBytes(3_000_000));
        await succeed(box.salvage(['backup', '--repo', 'here', 'data']));
      }

      await t.test('a copy goes on after cut connections, a dead line, and another server', async () => {
        const copying = run(['copy', 'here', url('copied'), ...signers]);
        await link.hold(1_000_000);
        sshd.cutConnections();
        link.set(quick);
        await link.hold(1_500_000);
        await setTimeout(300);
        link.set(quick);
        await link.hold(1_500_000);
        await sshd.kill();
        await sshd.start();
        link.set(quick);
        await succeed(copying);
        await verifyWhole(there, folder('copied'), 3);
      });

      await t.test(
        'a backup that has lost its server says so and can be ended; the next goes on',
        async () => {
          box.write('data/d', randomBytes(3_000_000));
          let program: ChildProcess | undefined;
          const backup = (): Promise<RunResult> =>
            run(['backup', '--repo', url('copied'), 'data'], (child) => (program = child));
          const lost = backup();
          const said = says(program!, 'Trying again in');
          await link.hold(1_000_000);
          await sshd.kill();
          link.set(quick);
          await said;
          program!.kill('SIGINT');
          const { code, stderr } = await lost;
          assert.equal(code, 130, stderr);
          await sshd.start();
          await succeed(backup());
          await verifyWhole(there, folder('copied'), 4);
        },
      );
    });
});
