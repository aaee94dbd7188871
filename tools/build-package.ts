// npm run build:package [-- FOLDER]: makes the npm package and leaves its tarball in FOLDER, by default dist/. It holds the
// bundle, and needs one package more: koffi's native code for the platform.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { bundle, dist, root, type BundleFiles } from './bundle.ts';

interface PackageJson {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly license: string;
  readonly engines: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
}

/** Makes the package out of a bundle. Returns the path of its tarball. */
export function buildPackage(folder: string, bundled: string, [program, ...assets]: BundleFiles): string {
  const work = mkdtempSync(join(tmpdir(), 'salvage-build-'));
  try {
    mkdirSync(join(work, 'lib'));
    for (const name of assets) copyFileSync(join(bundled, name), join(work, 'lib', name));
    const start = join(work, 'lib', program);
    writeFileSync(start, `#!/usr/bin/env node\n${readFileSync(join(bundled, program), 'utf8')}`);
    chmodSync(start, 0o755);
    for (const name of ['README.md', 'LICENSE', 'CHANGELOG.md', 'SECURITY.md'])
      copyFileSync(join(root, name), join(work, name));
    writeFileSync(
      join(work, 'package.json'),
      `${JSON.stringify(manifest(`lib/${program}`), undefined, 2)}\n`,
    );
    mkdirSync(folder, { recursive: true });
    return join(folder, pack(work, folder));
  } finally {
    rmSync(work, { recursive: true });
  }
}

function manifest(program: string): unknown {
  const checkout = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as PackageJson;
  const { name, version, description, license, engines, dependencies } = checkout;
  const native = ['arm64', 'x64'].map((cpu) => [`@koromix/koffi-linux-${cpu}`, dependencies['koffi']]);
  return {
    name,
    version,
    description,
    license,
    type: 'commonjs',
    os: ['linux'],
    engines,
    bin: { 'age-plugin-pkcs11': program, salvage: program },
    files: ['lib', 'CHANGELOG.md', 'SECURITY.md'],
    optionalDependencies: Object.fromEntries(native),
  };
}

/** Runs `npm pack`. Returns the name of the file that it made. */
export function pack(folder: string, into: string): string {
  const { status, stdout, stderr } = spawnSync(
    'npm',
    ['pack', '--json', '--ignore-scripts', `--pack-destination=${resolve(into)}`],
    {
      cwd: folder,
      encoding: 'utf8',
      env: { ...process.env, PATH: `${dirname(process.execPath)}:${process.env['PATH']}` },
    },
  );
  if (status !== 0) throw new Error(`npm pack failed: ${stderr}`);
  return (JSON.parse(stdout) as [{ filename: string }])[0].filename;
}

if (import.meta.main) {
  const work = mkdtempSync(join(tmpdir(), 'salvage-build-'));
  try {
    console.log(buildPackage(resolve(process.argv[2] ?? dist), work, await bundle(work)));
  } finally {
    rmSync(work, { recursive: true });
  }
}
