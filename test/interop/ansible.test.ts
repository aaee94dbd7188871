// The Ansible role sets up a keeper and two hosts, each in a scratch root, with a real sshd between them.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createSandbox, salvage, type RunResult, type Sandbox } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';
import { startSshd, type TestSshd } from '../support/sshd.ts';

const playbooks = join(import.meta.dirname, '../../deploy/ansible');
const hosts = ['web-1', 'db-1'];
/** The keeper pulls from it. */
const pulled = 'app-1';

describe('the Ansible role', needsPeers, () => {
  const cleanups: (() => void | Promise<void>)[] = [];
  let sandbox: Sandbox;
  let sshd: TestSshd;

  before(async () => {
    const lifetime = { after: (clean: () => void | Promise<void>) => void cleanups.unshift(clean) };
    sandbox = createSandbox(lifetime);
    const doors = sandbox.path('keeper/var/lib/salvage/.ssh/authorized_keys');
    const pulls = sandbox.path(`${pulled}/root/.ssh/authorized_keys`);
    sshd = await startSshd(lifetime, { config: `Match all\nAuthorizedKeysFile ${doors} ${pulls}` });
    // What a release would install: one executable.
    sandbox.write('salvage-executable', `#!/bin/sh\nexec '${salvage}' "$@"\n`, 0o755);
    await ok(`salvage keygen -q -o key.txt && salvage keygen -y key.txt > key.pub
      for host in ${hosts.join(' ')} ${pulled}; do mkdir -p $host-data "$host"; echo "of $host" > "$host-data/ünï 🗝 'x'"; done
      mkdir keeper && mkdir -p cron/keeper cron/web-1 cron/db-1 cron/${pulled}`);
    writeInventory(await ok(`ssh-keyscan -t ed25519 -p ${sshd.port} ${sshd.host} | cut -d ' ' -f 2-`));
  });
  after(async () => {
    for (const clean of cleanups) await clean();
  });

  async function ok(script: string, env: Record<string, string> = {}): Promise<string> {
    const { code, stdout, stderr } = await sandbox.shell(script, { env });
    assert.equal(code, 0, `${script}\n${stdout.toString()}\n${stderr}`);
    return stdout.toString().trim();
  }

  function writeInventory(hostKey: string): void {
    const machine = (name: string): object => ({ salvage_root: sandbox.path(name) });
    const inventory = {
      all: {
        vars: {
          ansible_connection: 'local',
          ansible_python_interpreter: '/usr/bin/python3',
          salvage_binary: sandbox.path('salvage-executable'),
          salvage_recipients: [sandbox.read('key.pub').toString().trim()],
          salvage_keeper_user: userInfo().username,
          salvage_cron_folder: sandbox.path('cron/{{ inventory_hostname }}'),
          salvage_environment: { HOME: '{{ salvage_root }}/root' },
          salvage_keeper_environment: { HOME: sandbox.path('keeper/home') },
        },
        children: {
          salvage_keeper: { hosts: { keeper: machine('keeper') } },
          salvage_hosts: {
            vars: {
              salvage_keeper_address: sshd.host,
              salvage_keeper_port: sshd.port,
              salvage_keeper_host_keys: [hostKey],
              salvage_jobs: {
                files: {
                  paths: [`${sandbox.folder}/{{ inventory_hostname }}-data`],
                  exclude: ['*.tmp', 'a "quoted\\ 🗝 name"'],
                  'exclude-caches': true,
                  threads: 1,
                },
                dump: { command: 'printf "a\\tdump"', as: 'app.sql', labels: { 'data base': 'app' } },
              },
              salvage_extra: '[records]\njournal = false',
            },
            hosts: {
              'web-1': machine('web-1'),
              // A keeper that removes nothing, and sees to the rest once a month.
              'db-1': { ...machine('db-1'), salvage_retention: {}, salvage_verify: { schedule: 'monthly' } },
              [pulled]: {
                ...machine(pulled),
                salvage_pull: true,
                salvage_pull_user: userInfo().username,
                salvage_pull_arguments: [`${sandbox.folder}/${pulled}-data`, '--exclude', "*.tmp '"],
                salvage_address: sshd.host,
                salvage_port: sshd.port,
                salvage_host_keys: [hostKey],
              },
            },
          },
        },
      },
    };
    writeFileSync(sandbox.path('inventory.json'), JSON.stringify(inventory));
  }

  function play(...flags: string[]): Promise<RunResult> {
    return sandbox.program('ansible-playbook', ['-i', sandbox.path('inventory.json'), 'site.yml', ...flags], {
      cwd: playbooks,
      env: { ANSIBLE_PIPELINING: '1', ANSIBLE_RETRY_FILES_ENABLED: '0' },
      timeoutMs: 600_000,
    });
  }

  /** How many tasks of each machine changed something. */
  function changes({ code, stdout, stderr }: RunResult): Record<string, number> {
    assert.equal(code, 0, `${stdout.toString()}\n${stderr}`);
    const found = [...stdout.toString().matchAll(/^(\S+) +: ok=\d+ +changed=(\d+) .*failed=0 /gm)];
    return Object.fromEntries(found.map(([, name, count]) => [name, Number(count)]));
  }

  test('check mode tells what would change, and changes nothing', async () => {
    const found = changes(await play('--check', '--diff', '--limit', `keeper,web-1,${pulled}`));
    assert.deepEqual(Object.keys(found).toSorted(), [pulled, 'keeper', 'web-1']);
    for (const count of Object.values(found)) assert.ok(count > 0);
    for (const name of ['keeper', ...hosts, pulled, 'cron/keeper', 'cron/web-1'])
      assert.deepEqual(readdirSync(sandbox.path(name)), []);
  });

  test('a first run sets everything up, and what it set up works', async () => {
    changes(await play());
    const trusted = sandbox.path('keeper/etc/salvage/allowed_signers');
    const signers = readFileSync(trusted, 'utf8').trimEnd().split('\n');
    assert.deepEqual(
      new Set(signers.map((line) => line.split(' ')[0])),
      new Set(['keeper', pulled, ...hosts]),
    );
    assert.equal(signers.length, 4);
    for (const name of hosts) {
      const root = sandbox.path(name);
      // As init printed it.
      assert.ok(signers.includes(sandbox.read(`${name}/etc/salvage/allowed_signers`).toString().trim()));
      await ok(`${root}/usr/local/bin/salvage run --config ${root}/etc/salvage/salvage.toml`, {
        HOME: join(root, 'root'),
      });
    }
    const names = await ok(`ls keeper/srv/backups/*/snapshots`);
    assert.equal([...names.matchAll(/^\d{8}-/gm)].length, 4);
    // The line of cron, as cron would have sh run it.
    const [line] = /^\S+ \* \* \* \* .*$/m.exec(sandbox.read('cron/keeper/salvage').toString()) ?? [];
    await ok(line!.split(' ').slice(6).join(' '), { XDG_STATE_HOME: sandbox.path('keeper/state') });
    await ok(`salvage restore latest --repo keeper/srv/backups/${pulled} -i key.txt --allowed-signers ${trusted} --signer ${pulled} --target pulled
      diff -r ${pulled}-data pulled/${sandbox.folder}/${pulled}-data`);
    await ok(`salvage restore 1 --repo keeper/srv/backups/web-1 -i key.txt --allowed-signers ${trusted} --signer web-1 --target restored
      diff -r web-1-data restored/${sandbox.folder}/web-1-data`);
  });

  test('the key of a host opens its door and nothing else', async () => {
    const config = sandbox.path('web-1/etc/salvage/ssh_config');
    const { stdout } = await sandbox.program('ssh', ['-F', config, 'salvage-keeper', 'id'], { stdin: '' });
    assert.doesNotMatch(stdout.toString('latin1'), /uid=/);
    const lines = sandbox
      .read('keeper/var/lib/salvage/.ssh/authorized_keys')
      .toString()
      .trimEnd()
      .split('\n');
    assert.equal(lines.length, 2);
    // Nor does the keeper get anything of the host that it pulls from but a backup.
    const reach = sandbox.path(`keeper/etc/salvage/hosts/${pulled}.ssh_config`);
    const asked = await sandbox.program('ssh', ['-F', reach, pulled, 'id'], { stdin: '' });
    assert.doesNotMatch(asked.stdout.toString('latin1'), /uid=/);
    const keys = sandbox.read(`${pulled}/root/.ssh/authorized_keys`).toString().trimEnd().split('\n');
    assert.equal(keys.length, 1);
    assert.match(
      keys[0]!,
      /^command="env HOME=\S+ \S+ backup --quiet --repo stdio: .*",restrict ssh-ed25519 /,
    );
    for (const line of lines)
      assert.match(
        line,
        /^command="\S+ serve --stdio --root \S+\/(web-1|db-1) --append-only --quota 200G",restrict ssh-ed25519 \S+ salvage-\1$/,
      );
  });

  test('no machine but the restorer has anything that opens a backup', async () => {
    // A host's own key opens indexes of its repository and nothing else.
    const found = await sandbox.shell(
      `grep -rl AGE-SECRET-KEY keeper web-1 db-1 ${pulled} --exclude-dir repositories`,
    );
    assert.equal(found.stdout.toString(), '');
  });

  test('a second run changes nothing', async () => {
    assert.deepEqual(changes(await play('--limit', `keeper,web-1,${pulled}`)), {
      keeper: 0,
      'web-1': 0,
      [pulled]: 0,
    });
  });

  test('the example of an inventory is one', async () => {
    await ok(`cd '${playbooks}' && ansible-playbook --syntax-check -i inventory.example.yml site.yml`);
  });
});
