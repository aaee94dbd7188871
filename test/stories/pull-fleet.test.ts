// The manual's way to pull from many hosts, several at a time, through a real sshd with forced commands.
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createSandbox, salvage } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';
import { startSshd } from '../support/sshd.ts';

const page = readFileSync(join(import.meta.dirname, '../../docs/manual/fleet.md'), 'utf8');
const hosts = ['web-1', 'web-2', 'web-3'];

/** What the page has between a line with these words and the end of that block. */
function blockWith(words: string): string {
  const block = [...page.matchAll(/^```[a-z]*\n([^]*?)^```$/gm)].find(([, text]) => text!.includes(words));
  return block![1]!;
}

test(
  'a keeper pulls from many hosts, two at a time, and one that is down holds up nobody',
  needsPeers,
  async (t) => {
    const cleanups: (() => void | Promise<void>)[] = [];
    t.after(async () => {
      for (const clean of cleanups) await clean();
    });
    const lifetime = { after: (clean: () => void | Promise<void>) => void cleanups.unshift(clean) };
    const sandbox = createSandbox(lifetime);
    const sshd = await startSshd(lifetime);
    // A host: writes down when its backup begins and ends, and waits until a second host has begun too.
    sandbox.write(
      'host.sh',
      `cd '${sandbox.folder}'
export HOME="$PWD/$1"
echo "+ $1" >> log
tries=0
until [ "$(grep -c '^+' log)" -ge 2 ] || [ $((tries += 1)) -gt 600 ]; do sleep 0.05; done
'${salvage}' backup --threads 1 --repo stdio: "$1/data"
code=$?
echo "- $1" >> log
exit $code
`,
    );
    const configuration = blockWith('[jobs.pull-web-1]');
    sandbox.write('etc/common.toml', '[records]\njournal = false\n');
    const writeConfiguration = (name: string, target: string, sshCommand: string): void => {
      const text = configuration
        .replaceAll('/etc/salvage', sandbox.path('etc'))
        .replaceAll('/srv/backups', sandbox.path('backups'))
        .replace('root@web-1', target)
        .replaceAll('web-1', name)
        .replace(/^url.*$/m, (line) => `${line}\nssh-command = "${sshCommand}"`);
      const whole = blockWith('include = ') + text;
      sandbox.write(`etc/whole/${name}.toml`, whole);
      // Only the pull: what else the page has there is tried elsewhere.
      sandbox.write(`etc/hosts/${name}.toml`, whole.replace(/^(?:verify|retention) = .*\n/gm, ''));
    };
    const setUp = await sandbox.shell(`salvage keygen -q -o key.txt && salvage keygen -y key.txt > key.pub
    for host in ${hosts.join(' ')}; do
      mkdir -p $host/data && echo "of $host" > $host/data/file
      HOME=$PWD/$host XDG_CONFIG_HOME= salvage init --repo backups/$host -R key.pub --name $host >> etc/allowed_signers
    done`);
    assert.equal(setUp.code, 0, setUp.stderr);
    for (const name of hosts) {
      const { sshCommand } = sshd.addClient(name, `command="sh ${sandbox.path('host.sh')} ${name}",restrict`);
      writeConfiguration(name, `ssh://${sshd.user}@${sshd.host}:${sshd.port}`, sshCommand);
    }
    // Nobody listens on the port of the discard service.
    writeConfiguration('gone', 'root@127.0.0.1:9', sshd.client.sshCommand);
    const check = await sandbox.shell(
      'for file in etc/whole/*; do salvage config check -q --config $file; done',
    );
    assert.equal(check.code, 0, check.stderr);

    const line = blockWith('xargs -0').replace('/etc/salvage', sandbox.path('etc')).replace('-P 4', '-P 2');
    const { code, stderr } = await sandbox.shell(line);
    assert.equal(code, 123, stderr);
    assert.match(stderr, /pull:pull-gone failed: Cannot pull from "127\.0\.0\.1"/);
    for (const name of hosts) {
      const signatures = globSync('snapshots/*/SHA256SUMS.sig', { cwd: sandbox.path('backups', name) });
      assert.equal(signatures.length, 1, `${name}: ${stderr}`);
    }
    const log = sandbox.read('log').toString().trimEnd().split('\n');
    let atOnce = 0;
    let most = 0;
    for (const entry of log) most = Math.max(most, (atOnce += entry.startsWith('+') ? 1 : -1));
    assert.deepEqual([log.length, most, atOnce], [6, 2, 0], log.join());

    // What is not due is left alone; what failed is tried again after an hour.
    const again = await sandbox.shell(line);
    assert.equal(again.code, 0, again.stderr);
    assert.equal(sandbox.read('log').toString().trimEnd().split('\n').length, 6);
  },
);
