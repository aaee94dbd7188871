// The manual's way to pull from many hosts: one configuration, one run, several at a time, through a real sshd with forced
// commands.
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
  'a keeper pulls from many hosts, two at a time; those that are down or hang hold up nobody',
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
until [ "$(grep -c '^+' log)" -ge 2 ] || [ $((tries += 1)) -gt 2400 ]; do sleep 0.05; done
'${salvage}' backup --threads 1 --repo stdio: "$1/data"
code=$?
echo "- $1" >> log
exit $code
`,
    );
    const configuration = blockWith('[jobs.web-1]');
    const writeHost = (name: string, target: string, sshCommand: string, more = ''): void => {
      const text = configuration
        .replaceAll('/etc/salvage', sandbox.path('etc'))
        .replaceAll('/srv/backups', sandbox.path('backups'))
        .replace('root@web-1', target)
        .replaceAll('web-1', name)
        .replace(/^pull = .*$/m, (line) => `${line}\nssh-command = "${sshCommand}"\n${more}`);
      sandbox.write(`etc/whole/${name}.toml`, text);
      // Only the pull: what else the page has there is tried elsewhere.
      sandbox.write(`etc/hosts/${name}.toml`, text.replace(/^(?:verify|retention) = .*\n/gm, ''));
    };
    const setUp = await sandbox.shell(`mkdir etc
      salvage keygen -q -o key.txt && salvage keygen -y key.txt > key.pub
      for host in ${hosts.join(' ')}; do
        mkdir -p $host/data && echo "of $host" > $host/data/file
        HOME=$PWD/$host XDG_CONFIG_HOME= salvage init --repo backups/$host -R key.pub --name $host >> etc/allowed_signers
      done
      cp -r backups/web-1 backups/gone && cp -r backups/web-1 backups/hangs`);
    assert.equal(setUp.code, 0, setUp.stderr);
    const address = `ssh://${sshd.user}@${sshd.host}:${sshd.port}`;
    for (const name of hosts) {
      const { sshCommand } = sshd.addClient(name, `command="sh ${sandbox.path('host.sh')} ${name}",restrict`);
      writeHost(name, address, sshCommand);
    }
    // Nobody listens on the port of the discard service; the other one never says a word.
    writeHost('gone', 'ssh://root@127.0.0.1:9', sshd.client.sshCommand);
    const silent = sshd.addClient('hangs', 'command="exec sleep 600",restrict');
    writeHost('hangs', address, silent.sshCommand, 'max-time = "1s"\n');
    const keeper = blockWith('include = ').replace('concurrency = 4', 'concurrency = 2');
    sandbox.write('etc/whole.toml', keeper.replace('hosts/', 'whole/'));
    sandbox.write(
      'etc/salvage.toml',
      `${keeper}
[records]
log-file = { path = "records.log" }
[[hooks]]
on = ["after"]
command = "echo $SALVAGE_NAME $SALVAGE_OUTCOME >> '${sandbox.path('hooks')}'"
`,
    );
    const check = await sandbox.salvage(['config', 'check', '-q', '--config', 'etc/whole.toml']);
    assert.equal(check.code, 0, check.stderr);

    const run = ['run', '--scheduled', '--config', 'etc/salvage.toml'];
    const { code, stdout, stderr } = await sandbox.salvage([...run, '--json']);
    assert.equal(code, 1, stderr);
    const outcomes = stdout
      .toString()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { event: string; id: string; outcome: string })
      .filter(({ event }) => event === 'step')
      .map(({ id, outcome }) => `${id} ${outcome}`)
      .toSorted();
    assert.deepEqual(
      outcomes,
      ['pull:gone failure', 'pull:hangs failure', ...hosts.map((name) => `pull:${name} success`)],
      stderr,
    );
    assert.match(stderr, /^pull:gone: warning: failed: Cannot pull from "127\.0\.0\.1"/m);
    assert.match(stderr, /^pull:hangs: warning: failed: .*it took longer than 1s/m);
    assert.match(stderr, /^pull:web-2: Snapshot 00000001-\S+ is stored/m);
    // Every line says whose it is, but the last one, which is about all.
    const others = stderr.split('\n').filter((line) => !/^pull:[\w-]+: /.test(line));
    assert.match(others.join(''), /^\{"error":.*2 of 5 steps failed.*\}$/);
    for (const name of hosts) {
      const signatures = globSync('snapshots/*/SHA256SUMS.sig', { cwd: sandbox.path('backups', name) });
      assert.equal(signatures.length, 1, `${name}: ${stderr}`);
    }
    const hooks = sandbox.read('hooks').toString().trimEnd().split('\n').toSorted();
    assert.deepEqual(
      hooks,
      outcomes.map((line) => line.replace('pull:', '')),
    );
    assert.equal(sandbox.read('etc/records.log').toString().trimEnd().split('\n').length, 5);

    const log = sandbox.read('log').toString().trimEnd().split('\n');
    let atOnce = 0;
    let most = 0;
    for (const entry of log) most = Math.max(most, (atOnce += entry.startsWith('+') ? 1 : -1));
    assert.deepEqual([log.length, most, atOnce], [6, 2, 0], log.join());

    // What is not due is left alone; what failed is tried again after an hour.
    const again = await sandbox.salvage(run);
    assert.equal(again.code, 0, again.stderr);
    assert.equal(sandbox.read('log').toString().trimEnd().split('\n').length, 6);
  },
);
