// npm run check: the whole gate, in the order in which a mistake is cheapest to learn of.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const bin = (name: string): string => join(root, 'node_modules', '.bin', name);
const steps: [name: string, command: string, args: string[]][] = [
  ['format', bin('oxfmt'), ['--check']],
  ['lint', bin('oxlint'), ['--type-aware', '--deny-warnings']],
  ['types', bin('tsc'), []],
  ['layers', process.execPath, ['tools/check-layers.ts']],
  ['dead code', bin('knip'), []],
];
if (!process.argv.includes('--no-tests')) steps.push(['tests', process.execPath, ['tools/test.ts']]);

for (const [name, command, args] of steps) {
  console.log(`== ${name}`);
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, PATH: `${join(process.execPath, '..')}:${process.env['PATH']}` },
  });
  if (error) throw error;
  if (status !== 0) {
    console.error(`check: ${name} failed`);
    process.exit(1);
  }
}
console.log('check: all good');
