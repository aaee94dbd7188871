// Every complete configuration that the manual shows is accepted as it stands.
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Configuration } from '../../src/configuration/configuration.ts';
import { createSandbox } from '../support/cli.ts';

const manual = join(import.meta.dirname, '..', '..', 'docs', 'manual');

test('the configurations in the manual are right', (t) => {
  const box = createSandbox(t);
  const roles = new Set<string>();
  for (const page of globSync('*.md', { cwd: manual })) {
    const text = readFileSync(join(manual, page), 'utf8');
    for (const [, block] of text.matchAll(/^```toml\n([^]*?)^```$/gm)) {
      if (!block!.includes('[repositories.') || block!.includes('include =')) continue;
      const { settings } = Configuration.load(box.write('salvage.toml', block!), {});
      if (page !== 'operate.md') continue;
      const repositories = Object.values(settings.repositories);
      if (repositories.some(({ drill }) => drill)) roles.add('restorer');
      else if (repositories.some(({ retention }) => retention)) roles.add('keeper');
      else roles.add(Object.keys(settings.jobs).length > 0 ? 'host' : 'auditor');
    }
  }
  assert.deepEqual([...roles], ['host', 'keeper', 'auditor', 'restorer']);
});
