import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

const root = join(import.meta.dirname, '..', '..', 'src');

/** The files below src that these load, directly or not. Types vanish when the code runs, so `import type` does not count. Paths and texts. */
export function moduleGraph(...starts: readonly string[]): Map<string, string> {
  const graph = new Map<string, string>();
  const waiting = starts.map((start) => join(root, start));
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    const name = relative(root, file);
    if (graph.has(name)) continue;
    const text = readFileSync(file, 'utf8');
    graph.set(name, text);
    for (const [, clause, target] of text.matchAll(
      /(?:import|export)\s+((?!type\s)[^;]*?)\s+from\s+'(\.[^']+)'/g,
    ))
      if (clause !== undefined && target!.endsWith('.ts')) waiting.push(join(dirname(file), target!));
    for (const [, target] of text.matchAll(/new URL\('(\.[^']+\.ts)'/g))
      waiting.push(join(dirname(file), target!));
  }
  return graph;
}
