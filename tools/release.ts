// npm run release -- [--signing-key KEY]: fills dist/release/ with what is published: the single executable for this platform,
// the npm package, the man pages, the bill of materials, SHA256SUMS, and its signature if there is a key (a private key file,
// or a public one whose private half is in ssh-agent).
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { binaryName, buildBinary } from './build-binary.ts';
import { buildPackage } from './build-package.ts';
import { dist, root } from './bundle.ts';
import { makeSbom, type LockFile } from './sbom.ts';

/** Not that of archives: nobody can pass off one for the other. */
const namespace = 'salvage-release';

const { values } = parseArgs({ options: { 'signing-key': { type: 'string' } } });
const folder = join(dist, 'release');
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });

const { platform, arch } = process;
const binary = join(folder, binaryName());
await buildBinary(binary);
await buildPackage(folder);
const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as LockFile;
const sbom = makeSbom(lock, { os: platform, cpu: arch });
writeFileSync(join(folder, `${binaryName()}.cdx.json`), `${JSON.stringify(sbom, undefined, 2)}\n`);

const sums = readdirSync(folder)
  .toSorted()
  .map(
    (name) =>
      `${createHash('sha256')
        .update(readFileSync(join(folder, name)))
        .digest('hex')}  ${name}\n`,
  );
const sumsFile = join(folder, 'SHA256SUMS');
writeFileSync(sumsFile, sums.join(''));
const key = values['signing-key'];
if (key !== undefined) {
  const { status } = spawnSync(binary, ['sign', '--signing-key', key, '--namespace', namespace, sumsFile], {
    stdio: 'inherit',
  });
  if (status !== 0) process.exit(1);
}
console.log(
  readdirSync(folder)
    .map((name) => join(folder, name))
    .join('\n'),
);
if (key === undefined) console.log('Not signed: npm run release -- --signing-key KEY does.');
