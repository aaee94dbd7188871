// npm test [-- PATH...]: makes sure that the real peers are there, then runs every test file (or those below PATH).
// In CI a skipped test is a failed run: there is no list of tests that may be left out.
import { availableParallelism } from 'node:os';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { run } from 'node:test';
import { preparePeers } from './peers.ts';
import { reportTests } from './report-tests.ts';
import { buildTestPrograms } from './test-programs.ts';

const root = join(import.meta.dirname, '..');
process.chdir(root);
preparePeers();
process.env['SALVAGE_TEST_PROGRAMS'] = await buildTestPrograms();

const wanted = process.argv.slice(2).filter((argument) => !argument.startsWith('-'));
const files = globSync(['src/**/*.test.ts', 'test/**/*.test.ts', 'tools/**/*.test.ts'])
  .filter((file) => wanted.length === 0 || wanted.some((path) => file.startsWith(path.replace(/^\.\//, ''))))
  .toSorted()
  .map((file) => join(root, file));
if (files.length === 0) {
  console.error(`no test file below ${wanted.join(', ')}`);
  process.exit(1);
}

const timeout = process.env['SLOW'] === '1' ? 4 * 3_600_000 : 900_000;
// One more than processors: many tests wait for programs, networks and disks most of their time.
const stream = run({ files, concurrency: availableParallelism() + 1, timeout });
let failed = 0;
let skipped = 0;
stream.on('test:fail', () => {
  failed++;
});
stream.on('test:pass', (event) => {
  if (event.skip !== undefined) skipped++;
});
stream.on('end', () => {
  if (process.env['CI'] && skipped > 0) {
    console.error(`${skipped} tests were skipped, and CI skips none.`);
    failed++;
  }
  if (failed > 0) process.exitCode = 1;
});
for await (const text of reportTests(stream)) process.stdout.write(text);
