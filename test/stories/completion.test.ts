// Completion in the real shells, with a real Tab key where a shell has no other way to ask.
import assert from 'node:assert/strict';
import { symlinkSync } from 'node:fs';
import { suite, test } from 'node:test';
import { createSandbox, type Sandbox } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';

const words = (stdout: Buffer): string[] =>
  stdout
    .toString()
    .split('\n')
    .slice(1, -1)
    .map((line) => line.split('\t')[0]!);

suite('what could stand at the cursor', () => {
  async function completed(box: Sandbox, ...line: string[]): Promise<string[]> {
    const { code, stdout, stderr } = await box.salvage(['completion', 'bash', '--', ...line]);
    assert.equal(code, 0, stderr);
    return stdout.toString().startsWith('words\n') ? words(stdout) : [stdout.toString().trim()];
  }

  test('commands, options, actions, choices, files and folders', async (t) => {
    const box = createSandbox(t);
    const table: [line: string[], expected: string[]][] = [
      [['sn'], ['snapshots']],
      [['help', 'qu'], ['quickstart']],
      [['nonsense', ''], []],
      [
        ['key', ''],
        ['split', 'join', 'paper'],
      ],
      [
        ['completion', ''],
        ['bash', 'zsh', 'fish'],
      ],
      [['sign', '--sig'], ['--signing-key']],
      [['sign', '--signing-key', ''], ['files']],
      [['sign', '--signing-key=ke'], ['files']],
      [['sign', '--signing-key', 'key', 'arch'], ['files']],
      [['sign', '--', '--sig'], ['files']],
      [['restore', 'latest', '--target', ''], ['folders']],
      [['sign', '--namespace', ''], []],
      [['run', '--config', '/nonexistent', ''], []],
    ];
    for (const [line, expected] of table)
      assert.deepEqual(await completed(box, ...line), expected, line.join(' '));
  });

  test('snapshots of the repository, the newest first, and jobs', async (t) => {
    const box = createSandbox(t);
    box.write('data/file', 'x');
    for (let run = 0; run < 2; run++) await box.salvage(['quickstart', 'data']);
    const repository = box.path('.home/.local/share/salvage/repository');
    const found = await completed(box, 'restore', '--repo', repository, '');
    assert.equal(found.length, 3);
    assert.equal(found[0], 'latest');
    assert.match(found[1]!, /^00000002-/);
    assert.match(found[2]!, /^00000001-/);
    const { stdout } = await box.salvage(['completion', 'bash', '--', 'ls', '00000002'], {
      env: { SALVAGE_REPOSITORY: repository },
    });
    assert.deepEqual(words(stdout), [found[1]]);
    assert.deepEqual(await completed(box, 'restore', '--repo', '/nonexistent', ''), ['latest']);

    box.write(
      'salvage.toml',
      `[repositories.main]\nurl = "${repository}"\n[jobs.etc]\nrepository = "main"\npaths = ["/etc"]\n`,
    );
    const jobs = await completed(box, 'run', '--config', box.path('salvage.toml'), 'e');
    assert.deepEqual(jobs, ['etc']);
  });
});

suite('in the shells themselves', needsPeers, () => {
  async function quickRepository(box: Sandbox): Promise<void> {
    box.write('data/file', 'x');
    box.write('ke y.pub', '');
    await box.salvage(['quickstart', 'data']);
    symlinkSync(box.path('.home/.local/share/salvage/repository'), box.path('repo'));
  }

  /** Types lines that end with a Tab at the prompt of an interactive shell, and waits for what they become. */
  async function typed(
    box: Sandbox,
    shell: string,
    setUp: string,
    lines: readonly [string, string][],
  ): Promise<void> {
    const steps = lines.map(
      ([line, becomes]) =>
        `send -- {${line}}; send "\\t"; expect {\n  -ex {${becomes}} {}\n  timeout { puts "NOT: ${becomes}"; exit 1 }\n}\nsend "\\025"`,
    );
    const script = `log_user 1\nset timeout 60\nset stty_init "columns 200"\nspawn ${shell}\nsend -- {${setUp}}\nsend "\\r"\nexpect {\n  -ex {READY> } {}\n  timeout { puts {NOT READY}; exit 1 }\n}\n${steps.join('\n')}\nsend "exit\\r"\nexpect eof\n`;
    const { code, stdout } = await box.program('expect', ['-c', script], {
      env: { PS1: 'BEFORE> ', TERM: 'dumb' },
    });
    assert.equal(code, 0, stdout.toString());
  }

  const lines: [string, string][] = [
    ['salvage snapsh', 'salvage snapshots '],
    ['salvage seal --outp', 'salvage seal --output '],
    ['salvage ls --repo repo 00', 'salvage ls --repo repo 00000001-'],
    ['salvage ls --repo=repo 00', 'salvage ls --repo=repo 00000001-'],
    ['salvage seal -R ke', 'salvage seal -R ke\\ y.pub'],
  ];

  test('bash', async (t) => {
    const box = createSandbox(t);
    await quickRepository(box);
    await typed(
      box,
      'bash --norc --noprofile -i',
      'source <(salvage completion bash); PS1="READY""> "',
      lines,
    );
    const syntax = await box.shell('salvage completion bash | bash -n');
    assert.equal(syntax.code, 0, syntax.stderr);
  });

  test('zsh', async (t) => {
    const box = createSandbox(t);
    await quickRepository(box);
    const setUp = 'autoload -U compinit; compinit -u -D; source <(salvage completion zsh); PS1="READY""> "';
    await typed(box, 'zsh -f -i', setUp, lines);
  });

  test('fish', async (t) => {
    const box = createSandbox(t);
    await quickRepository(box);
    const ask = async (line: string): Promise<string> => {
      const { stdout, stderr, code } = await box.program('fish', [
        '--no-config',
        '-c',
        `salvage completion fish | source; complete -C '${line}'`,
      ]);
      assert.equal(code, 0, stderr);
      return stdout.toString();
    };
    assert.match(await ask('salvage snapsh'), /^snapshots\tlist the snapshots/);
    assert.match(await ask('salvage seal --outp'), /^--output\t/);
    assert.match(await ask('salvage ls --repo repo 00'), /^00000001-/);
    assert.match(await ask('salvage seal -R ke'), /ke y\.pub|ke\\ y\.pub/);
  });
});

test('every manual page is sound roff', needsPeers, async (t) => {
  const box = createSandbox(t);
  const { code, stderr } = await box.salvage(['man', '--all', 'pages']);
  assert.equal(code, 0, stderr);
  const checked = await box.shell(
    'for page in pages/*; do groff -man -Tutf8 -P-cbu -ww -b "$page" > "$page.text"; done; grep -L "EXIT STATUS" pages/*.text',
  );
  assert.equal(checked.stderr, '');
  assert.equal(checked.stdout.toString(), '');
  const sign = box.read('pages/salvage-sign.1.text').toString();
  assert.match(sign, /salvage-sign - sign files as ssh-keygen -Y sign does/);
  assert.match(sign, /--signing-key <file>/);
});
