// npm run build:binary [-- FILE]: makes the single executable, by default dist/salvage-linux-x64 (or arm64): the pinned Node
// with the bundle, its assets and koffi's native code inside. It needs glibc, and nothing else.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { inject } from 'postject';
import { bundle, dist, root, type BundleFiles } from './bundle.ts';

/**
 * Room for what the main thread makes and forgets while it walks: with V8's first megabyte it collects garbage for a tenth of
 * its time. `./salvage` says the same.
 */
const nodeFlags = ['--min-semi-space-size=4'];
/** The name by which Node finds what was put into it, and the mark that it flips; node:sea's documentation has both. */
const resource = 'NODE_SEA_BLOB';
const sentinelFuse = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';

/** Makes the executable out of a bundle. */
export async function buildBinary(file: string, bundled: string, files: BundleFiles): Promise<void> {
  const work = mkdtempSync(join(tmpdir(), 'salvage-build-'));
  try {
    const [program, ...assets] = files;
    const { platform, arch } = process;
    const koffi = join(
      root,
      `node_modules/@koromix/koffi-${platform}-${arch}/${platform}_${arch}/koffi.node`,
    );
    const blob = join(work, 'blob');
    const configuration = {
      // Relative, for it is the name of the file in stack traces.
      main: program,
      output: blob,
      disableExperimentalSEAWarning: true,
      useCodeCache: true,
      execArgv: [...nodeFlags],
      // NODE_OPTIONS are for the Node programs of this machine; nobody can know that this is one.
      execArgvExtension: 'none',
      assets: { ...Object.fromEntries(assets.map((name) => [name, name])), 'koffi.node': koffi },
    };
    writeFileSync(join(work, 'sea.json'), JSON.stringify(configuration));
    const { status, stderr } = spawnSync(
      process.execPath,
      // With a seed, the same bundle gives the same code cache, and the same executable.
      ['--random-seed=1', '--experimental-sea-config', join(work, 'sea.json')],
      { cwd: bundled, encoding: 'utf8' },
    );
    if (status !== 0) throw new Error(`Node could not prepare the executable: ${stderr}`);
    mkdirSync(dirname(file), { recursive: true });
    const unfinished = `${file}.unfinished`;
    copyFileSync(pinnedNode(), unfinished);
    chmodSync(unfinished, 0o755);
    await quietly(() => inject(unfinished, resource, readFileSync(blob), { sentinelFuse }));
    renameSync(unfinished, file);
  } finally {
    rmSync(work, { recursive: true });
  }
}

/** postject wonders at names of sections that an official Node does not have. */
async function quietly(work: () => Promise<void>): Promise<void> {
  const { warn, log } = console;
  console.warn = console.log = () => {};
  try {
    await work();
  } finally {
    console.warn = warn;
    console.log = log;
  }
}

/** From the lock file, so that what is released is what was locked; and this script must run under it. */
function pinnedNode(): string {
  const node = join(root, `node_modules/node-${process.platform}-${process.arch}/bin/node`);
  if (process.execPath !== node) throw new Error(`this must run under ${node}: npm run build:binary`);
  return node;
}

/** As release files are named. */
export function binaryName(): string {
  return `salvage-${process.platform}-${process.arch}`;
}

if (import.meta.main) {
  const file = resolve(process.argv[2] ?? join(dist, binaryName()));
  const work = mkdtempSync(join(tmpdir(), 'salvage-build-'));
  try {
    await buildBinary(file, work, await bundle(work));
  } finally {
    rmSync(work, { recursive: true });
  }
  console.log(file);
}
