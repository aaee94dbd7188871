// A real backup, and salvage out of reach: everything that the format promises, with the system's own programs.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createSandbox } from '../support/cli.ts';
import { compareTrees } from '../support/compare-trees.ts';
import { isRoot, makeTree } from '../support/make-tree.ts';
import { needsPeers } from '../support/peers.ts';

describe('a backup without salvage', needsPeers, () => {
  const sandbox = createSandbox({ after });
  let id: string;
  /** Programs as they are on any machine: no salvage on the way to them. */
  const shell = async (script: string): Promise<string> => {
    // A shell as its user has it, in which `tail | head` ends well though head is content first.
    const { code, stdout, stderr } = await sandbox.shell(`set +o pipefail; ${script}`, {
      env: { PATH: '/usr/local/bin:/usr/bin:/bin' },
      cwd: 'repository',
    });
    assert.equal(code, 0, stderr);
    return stdout.toString();
  };

  before(async () => {
    makeTree(sandbox.path('tree'));
    const { code, stderr } = await sandbox.shell(`
      ssh-keygen -q -t ed25519 -N '' -f id
      salvage init --repo repository -R id.pub --name web-1 | grep ssh-ed25519 > allowed_signers
      salvage backup -q --repo repository tree
      head -c 3000000 /dev/urandom > tree/plain/random
      touch -d @1234567890.123456789 tree/plain
      salvage backup -q --repo repository tree
    `);
    assert.equal(code, 0, stderr);
    id = readdirSync(sandbox.path('repository', 'snapshots'))
      .sort((a, b) => (a < b ? -1 : 1))
      .at(-1)!;
  });

  it('is whole by sha256sum -c', async () => {
    const listed = await shell(`sha256sum -c snapshots/${id}/SHA256SUMS`);
    assert.ok(listed.split('\n').length > 4);
    assert.doesNotMatch(listed, /FAILED/);
  });

  it('is genuine by ssh-keygen -Y verify', async () => {
    const answer = await shell(
      `ssh-keygen -Y verify -f ../allowed_signers -I web-1 -n salvage-snapshot -s snapshots/${id}/SHA256SUMS.sig < snapshots/${id}/SHA256SUMS`,
    );
    assert.match(answer, /^Good "salvage-snapshot" signature for web-1/);
  });

  it('opens with age and zstd, every object of it', async () => {
    await shell(
      `for object in packs/*/*.age index/*.age snapshots/*/root.age; do age -d -i ../id "$object" | zstd -d > ../raw; done`,
    );
  });

  it('is restored by recover.py as it was', async () => {
    await shell(`python3 recover.py --repo . -i ../id --target ../recovered latest`);
    const sockets = { sockets: false };
    const differences = compareTrees(
      sandbox.path('tree'),
      sandbox.path('recovered', 'tree'),
      isRoot ? {} : sockets,
    );
    assert.deepEqual(differences, []);
  });

  it('is restored by salvage as it was, from a mirror made by rsync', async () => {
    await shell(`rsync -a ./ ../mirror`);
    const { code, stderr } = await sandbox.shell(`
      salvage verify -q --repo mirror --allowed-signers allowed_signers --signer web-1 -i id
      salvage restore latest -q --repo mirror -i id --allowed-signers allowed_signers --signer web-1 --allow-devices --verify --target restored`);
    assert.equal(code, 0, stderr);
    assert.deepEqual(compareTrees(sandbox.path('tree'), sandbox.path('restored', 'tree')), []);
  });

  // The commands are taken out of README.txt, and done as its reader would do them.
  it('gives back one file by hand, by what README.txt says alone', async () => {
    const readme = readFileSync(sandbox.path('repository', 'README.txt'), 'utf8');
    const section = readme.slice(readme.indexOf('RESTORE ONE FILE BY HAND'));
    const commands = section
      .split('\n')
      .filter((line) => /^ {7}\S/.test(line))
      .map((line) => line.trim());
    const [readRoot, readTree, cutTree, fetchPack, cutPack, digestOf] = commands as [
      string,
      string,
      string,
      string,
      string,
      string,
    ];
    assert.equal(commands.length, 6, commands.join('\n'));
    const fill = (command: string, values: Readonly<Record<string, string | number>>): string =>
      Object.entries(values).reduce((text, [name, value]) => text.replaceAll(name, String(value)), command);
    const constants = { IDENTITY: '../id', '<id>': id };

    const root = JSON.parse(await shell(fill(readRoot, constants))) as {
      packs: string[];
      segments: [number, number, number, string, string][];
    };
    await shell('rm -f restored tree pack');
    const wanted = 'tree/plain/random';
    for (const [number, offset, length] of root.segments) {
      const place = (pack: string, from: number, bytes: number): Record<string, string | number> => ({
        ...constants,
        'packs/AA/PACK': `packs/${pack.slice(0, 2)}/${pack}`,
        OFFSET: from,
        LENGTH: bytes,
      });
      const treePlace = place(root.packs[number]!, offset, length);
      await shell(fill(readTree, treePlace));
      const lines = (await shell(fill(cutTree, treePlace))).trimEnd().split('\n');
      const { packs } = JSON.parse(lines[0]!) as { packs: string[] };
      const line = lines
        .slice(1)
        .map((text) => JSON.parse(text) as FileLine)
        .find(({ path }) => path === wanted);
      for (const [pack, from, bytes, digest] of line?.content ?? []) {
        const blobPlace = place(packs[pack]!, from, bytes);
        await shell(fill(fetchPack, blobPlace));
        await shell(fill(cutPack, blobPlace));
        const found = await shell(fill(digestOf, blobPlace));
        assert.equal(Buffer.from(found, 'base64').toString('base64url'), digest);
      }
    }
    await shell('rm -f tree pack');
    const restored = readFileSync(sandbox.path('repository', 'restored'));
    assert.ok(restored.equals(readFileSync(join(sandbox.path('tree'), 'plain', 'random'))));
    await shell('rm restored');
  });
});

interface FileLine {
  readonly path: string;
  readonly content?: [number, number, number, string][];
}
