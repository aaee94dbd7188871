// "latest:LABEL" wherever a snapshot is named: several jobs share one repository, and each has a newest snapshot of its own.
import assert from 'node:assert/strict';
import { readdirSync, rmSync } from 'node:fs';
import { test } from 'node:test';
import { createSandbox } from '../support/cli.ts';

test('the newest snapshot with a label or a tag', async (t) => {
  const box = createSandbox(t);
  box.write('files/file', 'of files');
  const made = await box.shell(`
    ssh-keygen -q -t ed25519 -N '' -f id
    export SALVAGE_REPOSITORY=repo
    salvage init -q -R id.pub --name web-1 > allowed
    echo 'first dump' | salvage backup -q --stdin app.sql --label database=app --tag nightly
    echo 'other dump' | salvage backup -q --stdin other.sql --label database=other
    salvage backup -q files --label kind=files`);
  assert.equal(made.code, 0, made.stderr);
  const trust = ['--repo', 'repo', '-i', 'id', '--allowed-signers', 'allowed', '--signer', 'web-1'];
  const run = (...args: string[]): ReturnType<typeof box.salvage> => box.salvage([...args, ...trust]);
  const table: [selector: string, path: string][] = [
    ['latest:database', 'other.sql'],
    ['latest:database=app', 'app.sql'],
    ['latest:nightly', 'app.sql'],
  ];
  for (const [selector, path] of table) {
    const { code, stdout, stderr } = await run('ls', selector);
    assert.equal(code, 0, stderr);
    assert.match(stdout.toString(), new RegExp(`^${path}$`, 'm'), selector);
  }
  const printed = await run('cat', 'latest:database=app', 'app.sql');
  assert.equal(printed.stdout.toString(), 'first dump\n', printed.stderr);
  const changed = await run('diff', 'latest:database=app', 'latest:kind');
  assert.match(changed.stdout.toString(), /files\/file/);
  const found = await run('find', '*.sql', '--snapshot', 'latest:database');
  assert.match(found.stdout.toString(), /other\.sql/);
  assert.doesNotMatch(found.stdout.toString(), /app\.sql/);
  const nothing = await run('restore', 'latest:nobody', '--target', 'restored');
  assert.equal(nothing.code, 2);
  assert.match(nothing.stderr, /"latest:nobody": no snapshot has such a label or tag/);

  // A copy has no identity: labels it can see, tags it cannot.
  const copied = await box.shell(
    'salvage copy -q repo small --snapshot latest:database=app --allowed-signers allowed --signer web-1; ls small/snapshots',
  );
  assert.match(copied.stdout.toString(), /^00000001-[^\n]*\n$/, copied.stderr);
  const secret = await box.salvage(['copy', 'repo', 'small', '--snapshot', 'latest:nightly']);
  assert.equal(secret.code, 2);
  assert.match(secret.stderr, /tags are seen with an identity only/);

  const offered = await box.salvage(['completion', 'bash', '--', 'ls', '--repo', 'repo', 'latest:da']);
  assert.equal(
    offered.stdout.toString().replaceAll(/\t.*/g, ''),
    'words\nlatest:database\nlatest:database=other\nlatest:database=app\n',
  );

  // Whoever takes a snapshot away, or damages it, does not have an older one restored without a word.
  const [, second = ''] = readdirSync(box.path('repo/snapshots')).toSorted();
  await box.shell(`cp -r repo gone && cp -r repo damaged && echo >> damaged/snapshots/${second}/SHA256SUMS`);
  rmSync(box.path('gone/snapshots', second), { recursive: true });
  const [, , ...keys] = trust;
  const gone = await box.salvage(['cat', 'latest:database', 'app.sql', '--repo', 'gone', ...keys]);
  assert.equal(gone.code, 0, gone.stderr);
  assert.match(gone.stderr, /warning: 1 of the snapshots after 00000001-\S+ is gone/);
  const damaged = await box.salvage(['cat', 'latest:database', 'app.sql', '--repo', 'damaged', ...keys]);
  assert.equal(damaged.code, 13, damaged.stderr);
  assert.equal(damaged.stdout.length, 0);
});
