// npm run bench -- age | archive | remote | repository: paired measurements with the real peers. Prints them and appends them to
// bench/results/NAME.md, newest last.
import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { preparePeers } from '../tools/peers.ts';
import { machineShape } from './measure.ts';

const benches: Readonly<Record<string, () => Promise<string>>> = {
  age: async () => {
    const rounds = Number(process.env['SALVAGE_BENCH_ROUNDS'] ?? 5);
    const table = await (await import('./age.ts')).benchAge(rounds);
    return `## ${new Date().toISOString().slice(0, 16)}Z, ${machineShape()}\n\n${rounds} rounds, medians.\n\n${table}`;
  },
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
