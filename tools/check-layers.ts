// The direction of imports, as data. A folder may import from the folders listed for it and from itself; what is not
// listed is refused, so that a newcomer can trust the picture in docs/design/overview.md.
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

const base = ['errors', 'bytes', 'clock', 'bundle'];
const pure = ['age', 'ssh', 'tar', 'chunker', 'compression', 'posix', 'storage'];
const middle = ['repository', 'source', 'keys'];
const layers: Record<string, string[]> = {
  bundle: [],
  errors: [],
  bytes: ['errors'],
  clock: [],
  ssh: base,
  age: [...base, 'ssh'],
  pkcs11: [...base, 'age'],
  tar: [...base, 'posix'],
  chunker: base,
  compression: base,
  posix: base,
  storage: [...base, 'posix'],
  repository: [...base, ...pure],
  source: [...base, ...pure],
  keys: [...base, 'age', 'ssh'],
  operation: [...base, ...pure, 'repository', 'source', 'keys'],
  configuration: [...base, ...pure, ...middle, 'operation'],
  ui: base,
  cli: [...base, ...pure, ...middle, 'operation', 'configuration', 'pkcs11', 'ui'],
};

const root = join(import.meta.dirname, '..');
const found: string[] = [];
for (const file of globSync('src/**/*.ts', { cwd: root })) {
  if (file.endsWith('.test.ts')) continue;
  const layer = file.split('/')[1]!;
  const allowed = layers[layer];
  if (!allowed) found.push(`${file}: the folder ${layer} has no place in tools/check-layers.ts`);
  const text = readFileSync(join(root, file), 'utf8');
  for (const [, target] of text.matchAll(/(?:from|import\(|new URL\()\s*'(\.[^']+)'/g)) {
    const path = relative(root, join(root, dirname(file), target!));
    const other = path.split('/')[1]!;
    if (!path.startsWith('src/')) found.push(`${file} reaches out of src: ${target}`);
    else if (other !== layer && !allowed?.includes(other))
      found.push(`${file} (${layer}) must not import ${path}`);
  }
  if (
    layer !== 'clock' &&
    /\b(Date\.now\(|new Date\(\)|Math\.random\(|randomBytes\s*\}\s*from 'node:crypto')/.test(text)
  )
    found.push(`${file} reads time or randomness; only src/clock may`);
  if (layer !== 'cli' && /process\.exitCode|process\.exit\(/.test(text))
    found.push(`${file} sets the exit code; only src/cli may`);
  if (!['cli', 'ui'].includes(layer) && /process\.(stdout|stderr|env|argv)\b/.test(text))
    found.push(`${file} touches process.stdout, stderr, env or argv; only src/cli and src/ui may`);
}
for (const line of found) console.error(line);
if (found.length > 0) process.exit(1);
