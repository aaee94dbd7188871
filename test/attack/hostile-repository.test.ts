// Repositories by a host that turned hostile: signed as they should be, and made to harm whoever restores them.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { createEnvelope } from '../../src/age/envelope.ts';
import { encryptPayload } from '../../src/age/payload.ts';
import { concatBytes } from '../../src/bytes/bytes.ts';
import { encodeSeekTable } from '../../src/compression/seek-table.ts';
import { SalvageError } from '../../src/errors/salvage-error.ts';
import { readContent } from '../../src/operation/browse/read-content.ts';
import type { PackId } from '../../src/repository/ids.ts';
import { packName } from '../../src/repository/layout.ts';
import { LocalStorage } from '../../src/storage/local/local-storage.ts';
import { createSandbox } from '../support/cli.ts';
import { HandMadeRepository } from '../support/hand-made-repository.ts';
import {
  directoryLine as directory,
  harmlessBlob as blob,
  harmlessDigest as digest,
  harmlessFile as file,
  linkLine as link,
  restoreTree,
  storeLines,
  treeLine as line,
} from '../support/hostile-tree.ts';
import { openHandMade, restoreHandMade } from '../support/restore-hand-made.ts';

const scratch = mkdtempSync(join(tmpdir(), 'salvage-hostile-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

let count = 0;

async function restoreLines(
  lines: readonly string[],
  packs?: (own: readonly PackId[]) => readonly string[],
): Promise<{ readonly target: string; readonly lost: readonly string[]; readonly outside: string[] }> {
  const tree = await storeLines(join(scratch, String(count++)), lines, packs);
  const { lost, outside } = await restoreTree(tree);
  return { target: tree.target, lost, outside };
}

describe('a hostile tree', () => {
  const refused: readonly (readonly [what: string, lines: readonly string[]])[] = [
    ['a path that goes up', [line('../outside/file')]],
    ['a path with ".." inside', [line('a/../../outside/file')]],
    ['an absolute path', [line('/etc/salvage-was-here')]],
    ['a path that ends in a slash', [line('a/')]],
    ['an empty path', [line('')]],
    ['a NUL in a path', [line('a\0b')]],
    ['a path twice', [line('a'), line('a')]],
    ['paths out of order', [line('b'), line('a')]],
    ['a path below a file', [line('a'), line('a/b')]],
    ['a path below a symlink', [link('a', 'symlink', '../outside'), line('a/file')]],
    ['a range beyond what a pack can hold', [line('a', { content: [[0, 2 ** 31, blob.length, digest]] })]],
    ['a negative range', [line('a', { content: [[0, -1, blob.length, digest]] })]],
    ['a pack that is not in the list', [line('a', { content: [[7, 0, blob.length, digest]] })]],
    ['more content than the file has', [line('a', { size: 3 })]],
    ['less content than the file has', [line('a', { size: 2 ** 50 }), line('b')]],
    ['an impossible mode', [line('a', { mode: 0o177777 })]],
    [
      'holes that overlap',
      [
        line('a', {
          size: 108,
          holes: [
            [0, 50],
            [40, 50],
          ],
        }),
      ],
    ],
    ['an unknown member', [line('a', { setuid: true })]],
    ['a hard link that goes up', [link('a', 'hardlink', '../../outside')]],
    ['no JSON', ['{"path":']],
  ];
  for (const [what, lines] of refused)
    it(`with ${what} is refused as a whole`, async () => {
      const { target, lost, outside } = await restoreLines(lines);
      assert.equal(lost.length, 1);
      assert.match(lost[0]!, /Cannot trust "packs\//);
      assert.deepEqual([readdirSync(target), outside], [[], []]);
    });

  it('that ends within a file loses that file', async () => {
    const { target, lost } = await restoreLines([line('a'), line('b', { size: 2 ** 40 })]);
    assert.match(lost.join('\n'), /"b": the snapshot does not tell where \d+ of its bytes are/);
    assert.deepEqual(readdirSync(target), ['a']);
  });

  it('whose hard link leads nowhere loses that one only', async () => {
    const { target, lost } = await restoreLines([line('a'), link('b', 'hardlink', 'zzz')]);
    assert.equal(lost.length, 1);
    assert.deepEqual(readdirSync(target), ['a']);
  });

  it('whose hard link leads to a later entry loses that one only', async () => {
    const { target, lost } = await restoreLines([line('a'), link('b', 'hardlink', 'c'), line('c')]);
    assert.deepEqual(lost, ['Cannot restore the hard link "b": its first name would come after it']);
    assert.deepEqual(readdirSync(target), ['a', 'c']);
  });

  it('whose hard link leads through a symlink stays inside', async () => {
    const { lost, outside } = await restoreLines([
      directory('a'),
      link('a/out', 'symlink', '../../outside'),
      link('b', 'hardlink', 'a/out/file'),
    ]);
    assert.equal(lost.length, 1);
    assert.deepEqual(outside, []);
  });

  it('that refers to a pack outside the signed list is not followed', async () => {
    const { target, lost } = await restoreLines([line('a')], () => ['ab'.repeat(32)]);
    assert.match(lost.join(), /the signed list does not have it/);
    assert.deepEqual(readdirSync(target), []);
  });

  it('with a range that is in no frame, or a digest that is wrong, loses that file', async () => {
    const wrong = createHash('sha256').update('other').digest('base64url');
    const { target, lost } = await restoreLines([
      line('a'),
      line('beyond', { content: [[0, 5, blob.length, digest]] }),
      line('other', { content: [[0, 0, blob.length, wrong]] }),
    ]);
    // What is read by frames is checked blob by blob; what is read as a whole pack is what the host signed.
    assert.match(lost.join(), /has no blob of 8 bytes at 5/);
    assert.ok(!existsSync(join(target, 'beyond')));
    assert.ok(existsSync(join(target, 'a')));
  });
});

describe('a hostile pack', () => {
  it('whose frame expands without end takes no more memory than it announces', async () => {
    const folder = join(scratch, String(count++));
    const storage = new LocalStorage(join(folder, 'repository'));
    const repository = await HandMadeRepository.create(storage);
    // 1 GiB of zeros behind a seek table that speaks of one MiB.
    const bomb = zstdCompressSync(Buffer.alloc(2 ** 30));
    const table = encodeSeekTable([{ compressedBytes: bomb.length, rawBytes: 2 ** 20 }]);
    const { header, fileKey } = await createEnvelope([repository.identity.recipient]);
    const bytes = concatBytes([header, ...encryptPayload(fileKey, concatBytes([bomb, table]))]);
    const pack = createHash('sha256').update(bytes).digest('hex') as PackId;
    await storage.create(packName(pack), [bytes]);
    const content = [[0, 0, 2 ** 20, digest]];
    const { id } = await repository.snapshot([file('harmless')], {
      alsoListed: [pack],
      segments: () => [
        {
          bytes: Buffer.from(
            `${JSON.stringify({ packs: [pack] })}\n${line('a', { size: 2 ** 20, content })}`,
          ),
          first: Buffer.from('a'),
        },
      ],
    });
    const { lost } = await restoreHandMade(repository, id, { target: join(folder, 'target') });
    assert.match(lost.join(), /cannot trust .*decompress/);
    assert.deepEqual(readdirSync(join(folder, 'target')), []);
    const { snapshot, objects } = await openHandMade(repository, id);
    await assert.rejects(async () => {
      for await (const _ of readContent(snapshot, objects, Buffer.from('a')))
        assert.fail('nothing is to be shown');
    }, SalvageError);
    assert.ok(process.memoryUsage.rss() < 700 * 2 ** 20);
  });
});

describe('a hostile name', () => {
  it('moves no cursor in anything that is printed', async (t) => {
    const sandbox = createSandbox(t);
    const repository = await HandMadeRepository.create(new LocalStorage(sandbox.path('repository')));
    const names = ['\u001b[2J\u001b]0;owned\u0007', 'new\nline', '\u202egnp.exe', '\u009b31m'];
    await repository.snapshot(
      names.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))).map((name) => file(name)),
    );
    await repository.snapshot([]);
    sandbox.write('identity', `${repository.identity.toSecretString()}\n`, 0o600);
    writeFileSync(sandbox.path('allowed'), repository.allowedSignersText);
    const common = ['--repo', 'repository', '-i', 'identity', '--allowed-signers', 'allowed'];
    for (const command of [
      ['ls', '1'],
      ['ls', '-l', '1'],
      ['find', '*'],
      ['diff', '1', '2'],
      ['restore', '1', '--target', 'out', '-v'],
      ['restore', '1', '--target', 'other', '--dry-run'],
    ]) {
      const { code, stdout, stderr } = await sandbox.salvage([...command, ...common]);
      assert.equal(code, 0, stderr);
      // eslint-disable-next-line no-control-regex
      assert.doesNotMatch(
        stdout.toString() + stderr,
        /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/,
        command.join(' '),
      );
    }
  });
});
