// Bundles the program into CommonJS files without dependencies but Node: salvage.cjs, one file for each worker thread and each
// large package, and the files that the source reads from beside itself. The single executable and the npm package are both
// made of them. Nothing is minified: what runs with a user's rights should be readable.
import { copyFileSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { build, type BuildOptions, type Metafile, type Plugin } from 'esbuild';

export const root: string = join(import.meta.dirname, '..');
export const dist: string = join(root, 'dist');

/** What the licences of the libraries ask for: their texts go where their code goes. */
export const licencesName = 'THIRD-PARTY-LICENSES.txt';

/** Kept out of the main file, which starts in two thirds of the time without it. */
const largePackages = ['@aws-sdk/client-s3', 'nodemailer'];
/** What stands for import.meta.url: src/bundle/read-asset.ts finds the files that are named relative to it. */
const bundleUrl = 'salvage:///';
/** What `src/bundle/` loads otherwise: the assets that it names are none. */
const notScanned = ['src/bundle/', 'src/cli/plugin-program.ts'];

export type BundleFiles = readonly [program: string, ...assets: string[]];

/** Fills `folder` anew. Returns the names of its files: the program first, then the assets. */
export async function bundle(folder: string): Promise<BundleFiles> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const found = assetsOfSource();
  const workers = found.filter((file) => file.endsWith('-worker.ts'));
  const copied = found.filter((file) => !workers.includes(file));
  const options = {
    absWorkingDir: root,
    outdir: folder,
    outExtension: { '.js': '.cjs' },
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node24.7',
    legalComments: 'inline',
    // src/bundle/ knows what these mean.
    define: {
      'import.meta.url': JSON.stringify(bundleUrl),
      'import.meta.dirname': '__dirname',
      'import.meta.filename': '__filename',
    },
    metafile: true,
    logLevel: 'error',
  } as const satisfies BuildOptions;
  const own = await build({
    ...options,
    entryPoints: [
      { in: 'src/cli/bundled.ts', out: 'salvage' },
      ...workers.map((file) => ({ in: file, out: basename(file, '.ts') })),
    ],
    plugins: [keepApart],
  });
  const large = await build({
    ...options,
    entryPoints: largePackages.map((name) => ({ in: name, out: basename(assetOf(name), '.cjs') })),
  });
  refuseNeeds([own.metafile, large.metafile]);
  for (const file of copied) copyFileSync(join(root, file), join(folder, basename(file)));
  writeFileSync(join(folder, licencesName), licencesOf([own.metafile, large.metafile]));
  return [
    'salvage.cjs',
    ...workers.map((file) => `${basename(file, '.ts')}.cjs`),
    ...largePackages.map(assetOf),
    ...copied.map((file) => basename(file)),
    licencesName,
  ];
}

/** Every file that the source names by `new URL('./file', import.meta.url)`. */
function assetsOfSource(): string[] {
  const files = new Set<string>();
  for (const source of globSync('src/**/*.ts', { cwd: root }).toSorted()) {
    if (source.endsWith('.test.ts') || notScanned.some((path) => source.startsWith(path))) continue;
    const text = readFileSync(join(root, source), 'utf8');
    if (/new Worker\(/.test(text)) throw new Error(`${source} starts a thread without startWorker`);
    for (const [, name] of text.matchAll(/new URL\(\s*'\.\/([^']+)',\s*import\.meta\.url/g))
      files.add(join(dirname(source), name!));
  }
  const names = [...files].map((file) => basename(file));
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw new Error(`two assets are called ${twice}`);
  return [...files];
}

/** In place of a large package: a module that loads its asset when it is first imported. */
const keepApart: Plugin = {
  name: 'keep large packages apart',
  setup(build) {
    const exactly = largePackages.map((name) => RegExp.escape(name)).join('|');
    build.onResolve({ filter: new RegExp(`^(?:${exactly})$`) }, ({ path }) => ({ path, namespace: 'large' }));
    build.onLoad({ filter: /./, namespace: 'large' }, ({ path }) => ({
      contents: `module.exports = require('./src/bundle/load-package.ts')
        .loadPackage(new URL('${bundleUrl}${assetOf(path)}'));`,
      resolveDir: root,
    }));
  },
};

function assetOf(packageName: string): string {
  return `${packageName.replace('@', '').replaceAll('/', '-')}.cjs`;
}

/** @throws if there would be no Node program without packages */
function refuseNeeds(metafiles: readonly Metafile[]): void {
  const needs = metafiles
    .flatMap(({ outputs }) => Object.values(outputs))
    .flatMap(({ imports }) => imports)
    .filter(({ path, external }) => external === true && !isBuiltin(path))
    .map(({ path }) => path);
  if (needs.length > 0) throw new Error(`the bundle would need ${needs.join(', ')} when it runs`);
}

function licencesOf(metafiles: readonly Metafile[]): string {
  const bundled = metafiles
    .flatMap(({ inputs }) => Object.keys(inputs))
    .flatMap((path) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []);
  const texts = [...new Set([...bundled, 'node_modules/koffi'])].toSorted().map((folder) => {
    const { name, version, license } = JSON.parse(
      readFileSync(join(root, folder, 'package.json'), 'utf8'),
    ) as Record<'name' | 'version' | 'license', string>;
    const files = globSync(['LICEN[CS]E*', 'NOTICE*'], { cwd: join(root, folder) }).toSorted();
    const text = files.map((file) => readFileSync(join(root, folder, file), 'utf8').trim()).join('\n\n');
    return `${name} ${version} (${license})\n\n${text}\n`;
  });
  return texts.join(`\n${'='.repeat(80)}\n\n`);
}
