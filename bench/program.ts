import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildBinary } from '../tools/build-binary.ts';
import { bundle, root } from '../tools/bundle.ts';

let building: Promise<string> | undefined;

/** Makes the single executable out of this checkout, once: what users install is measured, as of the peers. Its path. */
export async function buildMeasured(): Promise<string> {
  building ??= build();
  return await building;
}

async function build(): Promise<string> {
  const file = join(root, '.cache', 'bench', 'salvage');
  const work = mkdtempSync(join(tmpdir(), 'salvage-build-'));
  try {
    await buildBinary(file, work, await bundle(work));
  } finally {
    rmSync(work, { recursive: true });
  }
  return file;
}
