import { SettingsTree } from './settings-tree.ts';

/** A variable of the environment that stands for a key. */
export interface Override {
  /** Of the variable. */
  readonly name: string;
  /** `NAME=VALUE`. */
  readonly text: string;
  readonly path: readonly string[];
  readonly value: unknown;
  /** Why it cannot be used. */
  readonly problem?: string;
}

/**
 * `SALVAGE_JOBS__ETC__SCHEDULE=hourly` is the key `schedule` of `[jobs.etc]`: two underscores for each point, one for a
 * hyphen. A value that looks like a TOML number, list, table, truth value or quoted text is one; all else is text.
 */
export function overridesIn(
  env: Readonly<Record<string, string | undefined>>,
  root: Readonly<Record<string, unknown>>,
): Override[] {
  return Object.entries(env)
    .filter(([name, value]) => /^SALVAGE_[A-Z0-9]+__/i.test(name) && value !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, given]) => readOverride(name, given!, root));
}

function readOverride(name: string, given: string, root: Readonly<Record<string, unknown>>): Override {
  const path: string[] = [];
  let table: unknown = root;
  for (const part of name.slice('SALVAGE_'.length).split('__')) {
    const found = keysOf(table).find((key) => fold(key) === fold(part));
    const key: string = found ?? part.toLowerCase().replaceAll('_', '-');
    path.push(key);
    table = keysOf(table).includes(key) ? (table as Record<string, unknown>)[key] : undefined;
  }
  const override = { name, text: `${name}=${given}`, path };
  if (Array.isArray(table) && path.length === 1)
    return { ...override, value: undefined, problem: 'a list of tables cannot be set by a variable' };
  if (!/^(?:[["'{]|(?:true|false|-?\d+)$)/.test(given)) return { ...override, value: given };
  const tree = new SettingsTree();
  tree.add(`value = ${given}`, name);
  if (tree.findings.length > 0 || Object.keys(tree.value).length !== 1)
    return { ...override, value: undefined, problem: 'the value is no valid TOML' };
  return { ...override, value: tree.value['value'] };
}

function keysOf(table: unknown): string[] {
  return typeof table === 'object' && table !== null && !Array.isArray(table) ? Object.keys(table) : [];
}

function fold(key: string): string {
  return key.toLowerCase().replaceAll(/[._-]/g, '_');
}
