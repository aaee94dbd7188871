// Signing and checking as a user does it, with ssh-keygen on the other side.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, test } from 'node:test';
import { createSandbox, type Sandbox } from '../support/cli.ts';
import { needsPeers } from '../support/peers.ts';

async function sandboxWithKey(t: Parameters<typeof createSandbox>[0], passphrase = ''): Promise<Sandbox> {
  const sandbox = createSandbox(t);
  await sandbox.shell(
    `ssh-keygen -q -t ed25519 -a 2 -N '${passphrase}' -f key; echo "web-1 $(cat key.pub)" > allowed; echo hello > file`,
  );
  return sandbox;
}

describe('salvage sign and check-signature', needsPeers, () => {
  test('what one signs the other checks', async (t) => {
    const sandbox = await sandboxWithKey(t);
    const signed = await sandbox.salvage(['sign', '--signing-key', 'key', 'file']);
    assert.equal(signed.code, 0, signed.stderr);
    const theirs = await sandbox.shell(
      'ssh-keygen -Y verify -f allowed -I web-1 -n salvage-archive -s file.sig < file; mv file.sig ours.sig; ssh-keygen -Y sign -f key -n other file; cmp file ours.sig || true',
    );
    assert.equal(theirs.code, 0, theirs.stderr);
    const check = ['check-signature', '--allowed-signers', 'allowed', '--signer', 'web-1'];
    const good = await sandbox.salvage([...check, '--namespace', 'other', 'file']);
    assert.equal(good.code, 0, good.stderr);
    assert.match(
      good.stdout.toString(),
      /^Good "other" signature by web-1 with ssh-ed25519 key SHA256:\S{43}\n$/,
    );
    const json = await sandbox.salvage([...check, '--json', 'file', 'ours.sig']);
    const { fingerprint, ...rest } = JSON.parse(json.stdout.toString()) as Record<string, string>;
    assert.match(fingerprint!, /^SHA256:/);
    assert.deepEqual(rest, {
      file: 'file',
      principal: 'web-1',
      namespace: 'salvage-archive',
      keyType: 'ssh-ed25519',
      hash: 'sha512',
    });
  });

  test('standard input and output', async (t) => {
    const sandbox = await sandboxWithKey(t);
    const { code, stderr } = await sandbox.shell(
      `salvage sign --signing-key key - < file > s
       salvage check-signature --allowed-signers allowed --signer web-1 - s < file
       salvage check-signature --allowed-signers allowed --signer web-1 file - < s`,
    );
    assert.equal(code, 0, stderr);
    const twice = await sandbox.shell(
      'salvage check-signature --allowed-signers allowed --signer web-1 - - < s',
    );
    assert.equal(twice.code, 2, twice.stderr);
    const both = await sandbox.salvage([
      'check-signature',
      '--allowed-signers',
      'allowed',
      '--signer',
      'web-1',
      '-',
    ]);
    assert.equal(both.code, 2);
  });

  test('every bad signature ends with 13 and says why', async (t) => {
    const sandbox = await sandboxWithKey(t);
    await sandbox.shell(
      `salvage sign --signing-key key file
       salvage sign --signing-key key --namespace other - < file > other.sig
       ssh-keygen -q -t ed25519 -N '' -f stranger
       salvage sign --signing-key stranger - < file > stranger.sig
       echo "web-1 valid-before=\\"20200101Z\\" $(cat key.pub)" > expired
       echo hellO > changed; head -c 100 file.sig > short.sig; : > empty`,
    );
    const table: [args: string[], message: RegExp][] = [
      [['changed', 'file.sig'], /does not fit the signed data/],
      [['file', 'short.sig'], /Cannot read the SSH signature/],
      [['file', 'missing.sig'], /no such file/],
      [['file', 'other.sig'], /namespace "other", not "salvage-archive"/],
      [['file', 'stranger.sig'], /is not among those of "web-1"/],
      [['--allowed-signers', 'empty', 'file'], /do not list "web-1"/],
      [['--allowed-signers', 'expired', 'file'], /not valid after 2020-01-01/],
      [['--signer', 'web-2', 'file'], /belongs to another principal/],
      [['--revoked', 'key.pub', 'file'], /is revoked/],
    ];
    for (const [args, message] of table) {
      const defaults = ['--allowed-signers', 'allowed', '--signer', 'web-1'];
      const { code, stdout, stderr } = await sandbox.salvage(['check-signature', ...defaults, ...args]);
      assert.equal(code, 13, stderr);
      assert.match(stderr, message);
      assert.equal(stdout.length, 0);
    }
    const past = ['--allowed-signers', 'expired', '--signer', 'web-1', '--verify-time', '20191231Z'];
    assert.equal((await sandbox.salvage(['check-signature', ...past, 'file'])).code, 0);
  });

  test('a signature is not overwritten without --force, and none is left when signing fails', async (t) => {
    const sandbox = await sandboxWithKey(t, 'a passphrase');
    sandbox.write('pass', 'a passphrase\n');
    sandbox.write('wrong', 'another\n');
    const sign = (...args: string[]): ReturnType<Sandbox['salvage']> =>
      sandbox.salvage(['sign', '--signing-key', 'key', ...args]);
    const wrong = await sign('--passphrase-file', 'wrong', 'file');
    assert.equal(wrong.code, 1);
    assert.match(wrong.stderr, /the passphrase is wrong/);
    assert.ok(!existsSync(sandbox.path('file.sig')));
    assert.equal((await sign('--passphrase-file', 'pass', 'missing')).code, 1);
    assert.ok(!existsSync(sandbox.path('missing.sig')));
    assert.equal((await sign('--passphrase-file', 'pass', 'file')).code, 0);
    sandbox.write('file.sig', 'something else');
    const again = await sign('--passphrase-file', 'pass', 'file');
    assert.equal(again.code, 1);
    assert.match(again.stderr, /--force/);
    assert.equal(sandbox.read('file.sig').toString(), 'something else');
    assert.equal((await sign('--passphrase-command', 'cat pass', '--force', 'file')).code, 0);
    assert.match(sandbox.read('file.sig').toString(), /^-----BEGIN SSH SIGNATURE-----\n/);
  });

  test('with the public key alone, ssh-agent signs', async (t) => {
    const sandbox = await sandboxWithKey(t);
    const socket = sandbox.path('agent.sock');
    const agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: 'ignore' });
    try {
      while (!existsSync(socket)) await new Promise((resolve) => setTimeout(resolve, 20));
      const env = { SSH_AUTH_SOCK: socket };
      const signed = await sandbox.shell('ssh-add -q key; rm key; salvage sign --signing-key key.pub file', {
        env,
      });
      assert.equal(signed.code, 0, signed.stderr);
      const forced = await sandbox.salvage(['sign', '--force', '--signing-key', 'key', 'file'], { env });
      assert.equal(forced.code, 0, forced.stderr);
    } finally {
      agent.kill();
    }
    const checked = await sandbox.shell(
      'salvage check-signature --allowed-signers allowed --signer web-1 file; ssh-keygen -Y verify -f allowed -I web-1 -n salvage-archive -s file.sig < file',
    );
    assert.equal(checked.code, 0, checked.stderr);
    const without = await sandbox.salvage(['sign', '--force', '--signing-key', 'key.pub', 'file']);
    assert.equal(without.code, 1);
    assert.match(without.stderr, /no ssh-agent runs/);
  });
});
