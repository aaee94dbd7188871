// The manual's page on JSON tells the truth: every command that has --json prints what stands there, and nothing else.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { commands } from '../../src/cli/commands.ts';
import { createSandbox, salvage } from '../support/cli.ts';

const page = readFileSync(join(import.meta.dirname, '../../docs/manual/json.md'), 'utf8');
const words = (text: string): string[] =>
  [...text.matchAll(/`([\w-]+(?: [\w-]+)*)`/g)].map(([, word]) => word!);

/** The tables of the page: for each command, and each event if it has events, the members. "" is the one object or list. */
const documented = new Map<string, Map<string, Set<string>>>();
let about: readonly string[] = [];
for (const line of page.split('\n')) {
  const cells = line
    .slice(1, -1)
    .split(' | ')
    .map((cell) => cell.trim());
  if (!line.startsWith('|') || cells.length < 2) continue;
  if (cells[0] !== '') about = words(cells[0]!);
  const events = cells.length === 3 ? words(cells[1]!.replace(/: .*$/, '')) : [''];
  for (const command of about)
    for (const event of events) {
      const ofCommand = documented.get(command) ?? new Map<string, Set<string>>();
      documented.set(command, ofCommand.set(event, new Set(words(cells.at(-1)!))));
    }
}

/** Rows of the page that are about one form of a command, and the arguments that make it print that. */
type Run = readonly [row: string, kind: 'events' | 'lines' | 'one', ...args: string[]];

test('every command with --json prints what the manual says', async (t) => {
  const box = createSandbox(t);
  box.write('data/file', 'precious');
  const quick = await box.salvage(['quickstart', 'data']);
  assert.equal(quick.code, 0, quick.stderr);
  const config = box.path('.home/.config/salvage');
  const repository = box.path('.home/.local/share/salvage/repository');
  box.write('data/more', 'precious, too');
  const allowed = join(config, 'allowed_signers');
  const [principal = ''] = readFileSync(allowed, 'utf8').split(' ');
  const identity = ['-i', join(config, 'identity.txt')];
  const signers = ['--allowed-signers', allowed];
  const signed = [...signers, '--signer', principal];
  box.write(
    'salvage.toml',
    `[repositories.main]\nurl = "${repository}"\nallowed-signers = "${allowed}"\n[jobs.files]\npaths = ["data"]\n`,
  );
  const settings = ['--config', 'salvage.toml'];
  // In place of ssh: the host is this machine.
  box.write('ssh', `#!/bin/sh\nexec '${salvage}' backup --quiet --repo stdio: data\n`, 0o755);
  const runs: Run[] = [
    ['backup', 'events', 'backup', 'data'],
    ['snapshots', 'lines', 'snapshots', ...identity],
    ['ls', 'lines', 'ls', 'latest', ...identity],
    ['find', 'lines', 'find', 'file', ...identity],
    ['diff', 'lines', 'diff', '1', '2', ...identity],
    ['restore', 'events', 'restore', 'latest', ...identity, '--target', 'restored', '-n'],
    ['restore', 'events', 'restore', 'latest', ...identity, '--target', 'restored'],
    ['verify', 'events', 'verify', ...signed],
    ['verify --root', 'lines', 'verify', '--root', join(repository, '..'), ...signed],
    ['copy', 'events', 'copy', repository, 'copied', ...signed],
    ['run -n', 'lines', 'run', '-n', ...settings],
    ['run', 'events', 'run', ...settings],
    ['schedule list', 'lines', 'schedule', 'list', '--kind', 'systemd', '--user', ...settings],
    ['status', 'lines', 'status', ...settings],
    ['config check', 'one', 'config', 'check', ...settings],
    ['doctor', 'lines', 'doctor', ...settings],
    ['doctor --keys', 'lines', 'doctor', '--keys'],
    ['doctor --repo', 'one', 'doctor', '--repo', 'tried'],
    ['pull', 'one', 'pull', 'root@here', '--ssh-command', box.path('ssh'), ...signed],
    ['drill', 'one', 'drill', ...identity, ...signers],
    ['recipients list', 'lines', 'recipients', 'list', ...signed],
    ['recipients rewrap', 'one', 'recipients', 'rewrap', '-n', ...identity, ...signed],
    ['forget', 'lines', 'forget', '--keep-last', '1', '-n', ...signers],
    ['prune', 'one', 'prune', '-n', ...signers],
    [
      'seal',
      'one',
      'seal',
      'data',
      '-R',
      join(config, 'recipients.txt'),
      '-o',
      'sealed.tar.zst.age',
      '--signing-key',
      join(config, 'signing-key'),
    ],
    ['open --list', 'lines', 'open', 'sealed.tar.zst.age', '--list', ...identity],
    ['open --test', 'one', 'open', 'sealed.tar.zst.age', '--test', ...identity],
    ['open', 'one', 'open', 'sealed.tar.zst.age', '-C', 'opened', ...identity],
    ['inspect', 'one', 'inspect', 'sealed.tar.zst.age'],
    [
      'check-signature',
      'one',
      'check-signature',
      'sealed.tar.zst.age',
      '--allowed-signers',
      box.write('anybody', `anybody ${readFileSync(join(config, 'signing-key.pub'), 'utf8')}`),
      '--signer',
      'anybody',
    ],
  ];
  const progress = new Set(['bytes', 'files', 'objects']);
  const undocumented: string[] = [];
  for (const [row, kind, ...args] of runs) {
    const { code, stdout, stderr } = await box.salvage([...args, '--json'], {
      env: { SALVAGE_REPOSITORY: repository },
    });
    assert.equal(code, 0, `${row}: ${stderr}`);
    const events = documented.get(row);
    assert.ok(events, `${row} is not in json.md`);
    const text = stdout.toString();
    assert.ok(text.endsWith('\n'), `${row} ends its last line`);
    const objects = (row === 'inspect' ? [text] : text.trimEnd().split('\n')).map(
      (line) => JSON.parse(line) as Record<string, unknown>,
    );
    assert.ok(
      kind === 'one' ? objects.length === 1 : objects.length > 0,
      `${row}: ${objects.length} objects`,
    );
    if (kind === 'events') assert.equal(objects.at(-1)!['event'], 'summary', row);
    for (const object of objects) {
      const event = typeof object['event'] === 'string' ? object['event'] : '';
      assert.equal(event !== '', kind === 'events', `${row}: ${event}`);
      const members = event === 'progress' ? progress : events.get(event);
      assert.ok(members, `${row}: the event ${event} is not in json.md`);
      const known = new Set(['event', ...members]);
      const extra = Object.keys(object).filter((member) => !known.has(member.replace(/64$/, '')));
      if (extra.length > 0) undocumented.push(`${row} ${event}: ${extra.join(', ')}`);
    }
  }
  assert.deepEqual([...new Set(undocumented)], []);

  // No command was left out, neither here nor on the page.
  const tried = new Set(runs.map(([, , command]) => command));
  for (const name of Object.keys(commands)) {
    const file = join(import.meta.dirname, `../../src/cli/commands/${name}.ts`);
    if (/option\(\s*'--json'/.test(readFileSync(file, 'utf8')))
      assert.ok(tried.has(name), `${name} was not tried`);
  }
  const rows = new Set(runs.map(([row]) => row));
  assert.deepEqual(
    [...documented.keys()].filter((row) => Object.hasOwn(commands, row.split(' ')[0]!) && !rows.has(row)),
    [],
  );

  const wrong = await box.salvage([
    'restore',
    'latest',
    '--json',
    '--repo',
    'none',
    '--target',
    'x',
    ...identity,
  ]);
  assert.equal(wrong.code, 10);
  assert.equal(wrong.stdout.length, 0);
  assert.deepEqual(Object.keys(JSON.parse(wrong.stderr) as object), ['error']);
});
