// npm run release -- [--signing-key KEY]: fills dist/release/ with what is published: the single executable for this platform,
// the npm package, the licences of what they contain, the bill of materials, SHA256SUMS, and its signature if there is a key
// (a private key file, or a public one whose private half is in ssh-agent).
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { binaryName, buildBinary } from './build-binary.ts';
import { buildPackage } from './build-package.ts';
import { bundle, dist, licencesName, root } from './bundle.ts';
import { makeSbom, type LockFile } from './sbom.ts';

/** Not that of archives: nobody can pass off one for the other. */
const namespace = 'salvage-release';

/** Fills the folder anew. Returns the names of the files in it. */
export async function makeRelease(folder: string, signingKey?: string): Promise<string[]> {
  rmSync(folder, { recursive: true, force: true });
  const bundled = join(folder, 'bundle');
  const files = await bundle(bundled);
  const binary = join(folder, binaryName());
  await buildBinary(binary, bundled, files);
  buildPackage(folder, bundled, files);
  writeFileSync(join(folder, licencesName), readFileSync(join(bundled, licencesName)));
  rmSync(bundled, { recursive: true });

  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as LockFile;
  const sbom = makeSbom(lock, { os: process.platform, cpu: process.arch });
  writeFileSync(join(folder, `${binaryName()}.cdx.json`), `${JSON.stringify(sbom, undefined, 2)}\n`);

  const sums = join(folder, 'SHA256SUMS');
  const lines = readdirSync(folder)
    .toSorted()
    .map((name) => `${sha256(join(folder, name))}  ${name}\n`);
  writeFileSync(sums, lines.join(''));
  if (signingKey !== undefined) {
    const sign = ['sign', '--signing-key', signingKey, '--namespace', namespace, sums];
    if (spawnSync(binary, sign, { stdio: 'inherit' }).status !== 0)
      throw new Error('the release could not be signed');
  }
  return readdirSync(folder).toSorted();
}

function sha256(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { 'signing-key': { type: 'string' } } });
  const folder = join(dist, 'release');
  const names = await makeRelease(folder, values['signing-key']);
  console.log(names.map((name) => join(folder, name)).join('\n'));
  if (values['signing-key'] === undefined)
    console.log('Not signed: npm run release -- --signing-key KEY does.');
}
