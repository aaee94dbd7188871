// npm run bench -- archive | remote | repository: paired measurements with the real peers. Prints them and appends them to
// bench/results/NAME.md, newest last.
import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { preparePeers } from '../tools/peers.ts';

const benches: Readonly<Record<string, () => Promise<string>>> = {
  archive: async () => (await import('./archive.ts')).benchArchive(),
  remote: async () => await (await import('./remote.ts')).benchRemote(),
  repository: async () => (await import('./repository.ts')).benchRepository(),
};

const names = process.argv.slice(2);
const unknown = names.filter((name) => !Object.hasOwn(benches, name));
if (names.length === 0 || unknown.length > 0) {
  console.error(`usage: npm run bench -- ${Object.keys(benches).join(' | ')}`);
  process.exit(2);
}
preparePeers();
const folder = join(import.meta.dirname, 'results');
mkdirSync(folder, { recursive: true });
for (const name of names) {
  const section = await benches[name]!();
  console.log(section);
  appendFileSync(join(folder, `${name}.md`), `${section}\n`);
}
