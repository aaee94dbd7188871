// Who takes the storage reads everything that is there, and searches it for what was backed up.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createSandbox } from '../support/cli.ts';

test('content, names, paths, host, tags and recipients are nowhere in what is stored', async (t) => {
  const box = createSandbox(t);
  const secrets = [
    'content-of-the-file',
    'name-of-the-file',
    'name-of-the-folder',
    'name-of-the-host',
    'name-of-the-tag',
    'target-of-the-link',
    'name-of-the-stream',
  ];
  const [content, file, folder, host, tag, target, stream] = secrets as [
    string,
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  box.write(`${folder}/${file}`, content.repeat(1000));
  await box.shell(`ln -s ${target} ${folder}/link
    salvage keygen -q -o key.txt
    salvage keygen -y key.txt > key.pub
    salvage init --repo repo -R key.pub --name ${host} > allowed
    salvage backup -q --repo repo --tag ${tag} --label public=by-choice ${folder}
    salvage backup -q --repo repo --command 'echo ${content}' --as ${stream}
    salvage forget --repo repo --allowed-signers allowed --keep-last 1 --max-remove 100%
    salvage backup -q --repo repo ${folder}
    salvage prune --repo repo
    salvage host rotate-signing-key --repo repo`);
  const recipient = box.read('key.pub').toString().trim();
  const indexKey = /AGE-SECRET-KEY-1[A-Z0-9]+/.exec(
    (await box.shell('cat "$XDG_CONFIG_HOME"/salvage/repositories/*.json')).stdout.toString(),
  )?.[0];
  assert.ok(indexKey);
  const stored = filesBelow(box.path('repo'));
  assert.ok(stored.length > 12, String(stored.length));
  let isPublic = false;
  for (const name of stored) {
    const bytes = readFileSync(name).toString('latin1');
    // Who hands over to another key says so by name, for verifiers to find.
    const isHandover = name.startsWith(box.path('repo', 'handover'));
    assert.equal(bytes.includes(host), isHandover && name.endsWith('.json'), name);
    const unknown = secrets.filter((secret) => !isHandover || secret !== host);
    for (const secret of [...unknown, recipient, indexKey, box.folder])
      assert.ok(
        !bytes.includes(secret) && !name.slice(box.folder.length).includes(secret),
        `${secret} in ${name}`,
      );
    isPublic ||= bytes.includes('by-choice');
  }
  assert.ok(isPublic, 'what was made public is found like this');
});

test('a few bytes more or less of content do not show', async (t) => {
  const box = createSandbox(t);
  await box.shell('salvage keygen -q -o key.txt; salvage keygen -y key.txt > key.pub');
  const sizes: number[] = [];
  for (const [index, bytes] of [900_001, 900_999].entries()) {
    box.write('data/file', randomBytes(bytes));
    await box.shell(`salvage init --repo repo${index} -R key.pub --name host > allowed
      salvage backup -q --repo repo${index} data`);
    sizes.push(Math.max(...filesBelow(box.path(`repo${index}`, 'packs')).map((path) => statSync(path).size)));
  }
  assert.equal(sizes[0], sizes[1]);
  assert.ok(sizes[0]! > 901_000);
});

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
