// Bundles the program into CommonJS files without dependencies but Node: salvage.cjs, one file for each worker thread, and the
// files that the source reads from beside itself. The single executable and the npm package are both made of them.
import { copyFileSync, globSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { build } from 'esbuild';

export const root: string = join(import.meta.dirname, '..');
export const dist: string = join(root, 'dist');

/** Fills `folder` anew. Returns the names of its files: the program first, then the assets. */
export async function bundle(folder: string): Promise<[program: string, ...assets: string[]]> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const found = assetsOfSource();
  const workers = found.filter((file) => file.endsWith('-worker.ts'));
  const copied = found.filter((file) => !workers.includes(file));
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: [
      { in: 'src/cli/bundled.ts', out: 'salvage' },
      ...workers.map((file) => ({ in: file, out: basename(file, '.ts') })),
    ],
    outdir: folder,
    outExtension: { '.js': '.cjs' },
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node24.7',
    charset: 'utf8',
    // Readable, as what runs with a user's rights should be; comments of licences stay.
    legalComments: 'inline',
    // src/bundle/ knows what these mean.
    define: {
      'import.meta.url': '"salvage:///"',
      'import.meta.dirname': '__dirname',
      'import.meta.filename': '__filename',
    },
    metafile: true,
    logLevel: 'error',
    logOverride: { 'empty-import-meta': 'error' },
  });
  const outside = Object.values(metafile.outputs)
    .flatMap(({ imports }) => imports)
    .filter(({ path, external }) => external === true && !isBuiltin(path));
  if (outside.length > 0)
    throw new Error(`the bundle would need ${outside.map(({ path }) => path).join(', ')} when it runs`);
  for (const file of copied) copyFileSync(join(root, file), join(folder, basename(file)));
  return [
    'salvage.cjs',
    ...workers.map((file) => `${basename(file, '.ts')}.cjs`),
    ...copied.map((file) => basename(file)),
  ];
}

/** Every file that is named by `new URL('./file', import.meta.url)`, but for the program's own starts. */
function assetsOfSource(): string[] {
  const files = new Set<string>();
  for (const source of globSync('src/**/*.ts', { cwd: root }).toSorted()) {
    if (source.endsWith('.test.ts') || elsewhere.has(source)) continue;
    const text = readFileSync(join(root, source), 'utf8');
    for (const [, name] of text.matchAll(/new URL\(\s*'\.\/([^']+)',\s*import\.meta\.url/g))
      files.add(join(dirname(source), name!));
  }
  const names = [...files].map((file) => basename(file));
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw new Error(`two assets are called ${twice}`);
  return [...files];
}

/** These name files that a bundle gets from elsewhere: koffi's native code, the plugin's program. */
const elsewhere = new Set([
  'src/bundle/load-koffi.ts',
  'src/cli/plugin-program.ts',
  'src/bundle/read-asset.ts',
  'src/bundle/start-worker.ts',
]);
