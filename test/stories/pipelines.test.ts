// The examples for CI/CD pipelines: every line of shell in them parses, and the script that they share does its work.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createSandbox, type Sandbox } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';

const examples = join(import.meta.dirname, '../../deploy/ci');
const script = join(examples, 'seal-before-deploy.sh');

/** As Python's YAML, which comes with Ansible, understands it. */
async function readYaml(sandbox: Sandbox, name: string): Promise<Record<string, unknown>> {
  const python = 'import json, sys, yaml; json.dump(yaml.load(sys.stdin, yaml.BaseLoader), sys.stdout)';
  const { code, stdout, stderr } = await sandbox.program('/usr/bin/python3', ['-c', python], {
    stdin: readFileSync(join(examples, name)),
  });
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout.toString()) as Record<string, unknown>;
}

async function assertShell(sandbox: Sandbox, shell: string, text: string): Promise<void> {
  const { code, stderr } = await sandbox.program(shell, ['-n'], { stdin: text });
  assert.equal(code, 0, `${text}\n${stderr}`);
}

/** Every `salvage …` in a line of shell names a command and flags that there are. */
async function assertCommands(sandbox: Sandbox, text: string): Promise<void> {
  for (const [, command, rest] of text.matchAll(/^\s*salvage ([a-z-]+)(.*)$/gm)) {
    const help = (await sandbox.salvage([command!, '--help'])).stdout.toString();
    for (const [flag] of rest!.matchAll(/--[a-z-]+/g))
      assert.match(help, new RegExp(`${flag}\\b`), `salvage ${command} has no ${flag}`);
  }
}

test('the example for GitHub Actions', needsPeers, async (t) => {
  const sandbox = createSandbox(t);
  interface Workflow {
    readonly on: object;
    readonly jobs: Record<string, { 'runs-on': string; steps: { uses?: string; run?: string }[] }>;
  }
  const { on, jobs } = (await readYaml(sandbox, 'github-actions.yml')) as unknown as Workflow;
  assert.deepEqual(Object.keys(on), ['push', 'schedule']);
  assert.deepEqual(Object.keys(jobs), ['deploy', 'verify']);
  for (const job of Object.values(jobs)) {
    assert.ok(job['runs-on']);
    for (const { uses, run } of job.steps) {
      assert.ok((uses === undefined) !== (run === undefined));
      // What comes from outside reaches a shell by its environment only.
      assert.doesNotMatch(run ?? '', /\$\{\{/);
      await assertShell(sandbox, 'bash', run ?? '');
      await assertCommands(sandbox, run ?? '');
    }
  }
});

test('the example for GitLab CI', needsPeers, async (t) => {
  const sandbox = createSandbox(t);
  interface Job {
    readonly stage?: string;
    readonly extends?: string;
    readonly before_script?: string[];
    readonly script?: string[];
  }
  const { stages, ...jobs } = await readYaml(sandbox, 'gitlab-ci.yml');
  for (const job of Object.values(jobs) as Job[]) {
    assert.ok(job.extends === undefined || job.extends in jobs);
    assert.ok(job.stage === undefined || (stages as string[]).includes(job.stage));
    const lines = [...(job.before_script ?? []), ...(job.script ?? [])];
    // An unquoted ": " would have made a table of a line.
    for (const line of lines) assert.equal(typeof line, 'string');
    await assertShell(sandbox, 'sh', lines.join('\n'));
    await assertCommands(sandbox, lines.join('\n'));
  }
});

test('the script that they share seals, and fails where something is missing', async (t) => {
  const sandbox = createSandbox(t);
  const shell = async (line: string): Promise<number> => {
    const { code, stderr } = await sandbox.shell(line, {
      env: { SALVAGE_STORAGE: `file://${sandbox.path('storage')}`, SALVAGE_SIGNING_KEY: 'signing-key' },
    });
    if (code !== 0) t.diagnostic(stderr);
    return code;
  };
  assert.equal(
    await shell(`mkdir storage content && echo precious > content/file
      salvage keygen -q -o key.txt && salvage keygen -y key.txt > key.pub
      ssh-keygen -q -t ed25519 -N '' -f signing-key && chmod 644 signing-key
      echo "pipeline $(cat signing-key.pub)" > allowed_signers
      SALVAGE_RECIPIENTS=$(cat key.pub) sh '${script}' 17-1 content
      salvage open "$SALVAGE_STORAGE/17-1.tar.zst.age" -i key.txt -C opened --allowed-signers allowed_signers --signer pipeline
      diff -r content opened/content`),
    0,
  );
  assert.notEqual(await shell(`sh '${script}' 17-2 content`), 0, 'no recipients');
  assert.notEqual(await shell(`SALVAGE_RECIPIENTS=$(cat key.pub) sh '${script}' 17-3 content missing`), 0);
  assert.notEqual(
    await shell(`SALVAGE_RECIPIENTS=$(cat key.pub) sh '${script}' 17-1 content`),
    0,
    'replaced',
  );
  assert.ok(!existsSync(sandbox.path('storage/17-2.tar.zst.age')));
});
