// What the tests of `npm test` run: the bundle of this checkout, as it is released, which starts in less than half of the
// time. There are some thousand starts. A test file that is run by itself runs ./salvage.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundle, root } from './bundle.ts';

/** Bundles this checkout and returns the folder that has the programs `salvage` and `age-plugin-pkcs11`. */
export async function buildTestPrograms(): Promise<string> {
  const folder = join(root, '.cache', 'test-programs');
  const [program] = await bundle(join(folder, 'lib'));
  mkdirSync(folder, { recursive: true });
  const start = (name: string, ...args: string[]): void => {
    const script = `#!/bin/sh
: "\${NODE_COMPILE_CACHE=${folder}/compiled}"
export NODE_COMPILE_CACHE
SALVAGE_PROGRAM=$0
export SALVAGE_PROGRAM
exec '${process.execPath}' --min-semi-space-size=4 '${join(folder, 'lib', program)}' ${args.map((arg) => `${arg} `).join('')}"$@"
`;
    writeFileSync(join(folder, name), script, { mode: 0o755 });
  };
  start('salvage');
  start('age-plugin-pkcs11', 'age-plugin-pkcs11');
  return folder;
}
