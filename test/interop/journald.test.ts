// Records as a real journald takes them: by its native protocol, and as one more syslogd. It runs in a mount namespace of its
// own, since its sockets have fixed names.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSandbox } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';

const needsRoot = { skip: needsPeers.skip || (process.getuid?.() !== 0 && 'needs root for a namespace') };

const inNamespace = `
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
mkdir -p /run/systemd/journal /run/log/journal
if ! test -s /etc/machine-id; then
  echo 0123456789abcdef0123456789abcdef > /run/machine-id
  mount --bind /run/machine-id /etc/machine-id
fi
/lib/systemd/systemd-journald > journald.log 2>&1 &
until test -S /run/systemd/journal/socket; do sleep 0.02; done
! salvage run web gone --config salvage.toml
journalctl --sync
journalctl -D /run/log/journal -o json SYSLOG_IDENTIFIER=salvage
`;

test('the journal has an entry with fields for each step, and the line for syslog', needsRoot, async (t) => {
  const box = createSandbox(t);
  box.write(
    'salvage.toml',
    `[repositories.main]
url = "backups"
[repositories.gone]
url = "gone"
[jobs.web]
repository = "main"
paths = ["data"]
[jobs.gone]
repository = "gone"
paths = ["data"]
[records]
journal = true
syslog = { socket = "/run/systemd/journal/dev-log", facility = "local5" }
`,
  );
  await box.shell(`mkdir data; echo content > data/file
    ssh-keygen -q -t ed25519 -N '' -f id
    salvage init --repo backups -R id.pub --name web-1`);
  box.write('in-namespace.sh', inNamespace);
  // Processes of their own, too: all of them end with the first.
  const flags = ['--mount', '--fork', '--pid', '--mount-proc', '--kill-child'];
  const { code, stdout, stderr } = await box.program('unshare', [...flags, 'bash', '-eu', 'in-namespace.sh']);
  assert.equal(code, 0, stderr);
  const entries = stdout
    .toString()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, string>);
  const facts = (transport: string): (string | undefined)[][] =>
    entries
      .filter((entry) => entry['_TRANSPORT'] === transport)
      .map((entry) => [
        entry['PRIORITY'],
        entry['SALVAGE_NAME'],
        entry['SALVAGE_OUTCOME'],
        entry['SALVAGE_CODE'],
      ]);
  assert.deepEqual(facts('journal'), [
    ['6', 'web', 'success', undefined],
    ['3', 'gone', 'failure', 'no-repository'],
  ]);
  assert.deepEqual(
    facts('syslog').map(([priority]) => priority),
    ['6', '3'],
  );
  const [line] = entries.filter((entry) => entry['_TRANSPORT'] === 'syslog');
  assert.equal(line!['SYSLOG_FACILITY'], '21');
  assert.match(line!['MESSAGE']!, /^backup of web on .* is done: 1 new, .*\(step=backup name=web /);
  assert.equal(entries[0]!['SALVAGE_SNAPSHOT']!.slice(0, 9), '00000001-');
});
