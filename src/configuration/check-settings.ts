import * as v from 'valibot';
import { nearestName } from '../errors/nearest-name.ts';
import { templateTrouble } from '../operation/alarms/fill-template.ts';
import { parseHost } from '../storage/ssh-program/ssh-target.ts';
import type { Finding } from './finding.ts';
import { configurationSchema, type Settings } from './schema/configuration-schema.ts';
import type { SettingsTree } from './settings-tree.ts';

/** What the tree says, if all of it is right; else what is wrong. Both the forms of values and the names that refer to others. */
export function checkSettings(tree: SettingsTree): Settings | Finding[] {
  const { success, output, issues } = v.safeParse(configurationSchema, tree.value);
  if (success) {
    const findings = checkReferences(output, tree);
    return findings.length > 0 ? findings : output;
  }
  return issues.map((issue) => describeIssue(issue, tree));
}

function describeIssue(issue: v.BaseIssue<unknown>, tree: SettingsTree): Finding {
  const path = (issue.path ?? []).map(({ key }) => key as string | number);
  const place = tree.placeOf(path);
  const name = path.at(-1);
  const owner = path.length > 1 ? `"${path.slice(0, -1).join('.')}"` : 'a configuration';
  if (issue.type === 'strict_object' && issue.expected === 'never') {
    const nearest = nearestName(String(name), keysAt(configurationSchema as Shape, path.slice(0, -1)));
    return { place, message: `there is no key "${name}" in ${owner}`, nearest };
  }
  if (issue.type === 'strict_object' && issue.received === 'undefined')
    return { place, message: `${owner} needs a key ${issue.expected}` };
  const isOurs = issue.message.startsWith('must ');
  const options = issue.type === 'picklist' ? [...(issue.expected ?? '').matchAll(/"([^"]+)"/g)] : [];
  const given = typeof issue.input === 'string' ? issue.input : '';
  return {
    place,
    message: `"${path.join('.')}" ${isOurs ? issue.message : 'must be a table'}`,
    nearest: nearestName(
      given,
      options.map(([, option]) => option!),
    ),
  };
}

/** What the shapes of valibot have that lead further down. */
interface Shape {
  readonly entries?: Readonly<Record<string, Shape>>;
  readonly wrapped?: Shape;
  readonly item?: Shape;
  readonly value?: Shape;
}

/** The keys that a table at this path may have. */
function keysAt(schema: Shape, path: readonly (string | number)[]): string[] {
  if (schema.wrapped) return keysAt(schema.wrapped, path);
  const [first, ...rest] = path;
  if (first === undefined) return Object.keys(schema.entries ?? {});
  const inner = schema.entries?.[first] ?? schema.item ?? schema.value;
  return inner ? keysAt(inner, rest) : [];
}

/** What no shape can say: names of other tables, and keys that exclude each other. */
function checkReferences(settings: Settings, tree: SettingsTree): Finding[] {
  const { repositories, jobs, copies, credentials } = settings;
  const findings: Finding[] = [];
  const find = (path: readonly (string | number)[], message: string, nearest?: string): void =>
    void findings.push({ place: tree.placeOf(path), message, nearest });
  const known = Object.keys(repositories);
  const checkRepository = (path: readonly string[], name: string): void => {
    if (!known.includes(name)) find(path, `there is no [repositories.${name}]`, nearestName(name, known));
  };
  for (const [name, job] of Object.entries(jobs)) {
    const path = ['jobs', name];
    if (job.repository !== undefined) checkRepository([...path, 'repository'], job.repository);
    else if (known.length !== 1) find(path, `"jobs.${name}" must say which repository it is for`);
    const kinds = (['paths', 'command', 'pull'] as const).filter((kind) => job[kind] !== undefined);
    if (kinds.length !== 1) find(path, `"jobs.${name}" must have one of the keys paths, command, pull`);
    const [kind] = kinds;
    if ((kind === 'command') !== (job.as !== undefined))
      find(path, `"jobs.${name}" must have both of the keys command and as, or neither`);
    const host = job.pull === undefined ? undefined : parseHost(job.pull);
    if (typeof host === 'string') find([...path, 'pull'], `"pull" names no host: ${host}`);
    const foreign = Object.keys(job).filter((key) => !fitting(kind, key));
    for (const key of foreign) find([...path, key], `"${key}" does not go with "${kind}"`);
  }
  for (const [name, { from, to, ...copy }] of Object.entries(copies)) {
    checkRepository(['copies', name, 'from'], from);
    checkRepository(['copies', name, 'to'], to);
    if (from === to) find(['copies', name, 'to'], 'a copy needs two repositories');
    if (copy['lock-mode'] !== undefined && copy['lock-days'] === undefined)
      find(['copies', name, 'lock-mode'], '"lock-mode" needs "lock-days"');
    const commands = [from, to].map((end) => repositories[end]?.['ssh-command']);
    if (commands[0] !== undefined && commands[1] !== undefined && commands[0] !== commands[1])
      find(['copies', name], 'both repositories have an ssh-command, and they differ: a copy has one');
  }
  for (const [name, repository] of Object.entries(repositories)) {
    const path = ['repositories', name];
    const { identities = [], plugins = [], signer } = repository;
    if (repository.drill && identities.length + plugins.length === 0)
      find([...path, 'drill'], `a drill needs "identities" in [repositories.${name}]`);
    if (signer !== undefined && repository['allowed-signers'] === undefined)
      find([...path, 'signer'], '"signer" needs "allowed-signers"');
  }
  const named = [...Object.keys(jobs), ...Object.keys(copies), ...known];
  const { hooks, notify } = settings;
  for (const [group, members] of Object.entries({ hooks, ...notify }))
    for (const [at, { names = [] }] of members.entries())
      for (const name of names)
        if (!named.includes(name)) {
          const path = group === 'hooks' ? [group, at, 'names'] : ['notify', group, at, 'names'];
          find(path, `there is no job, copy or repository "${name}"`, nearestName(name, named));
        }
  for (const [at, { kind, template }] of notify.webhooks.entries()) {
    const path = ['notify', 'webhooks', at, 'template'];
    const trouble = template === undefined ? undefined : templateTrouble(template);
    if (trouble !== undefined) find(path, `the template cannot be filled in: ${trouble}`);
    if (template !== undefined && kind !== 'generic') find(path, `"template" does not go with "${kind}"`);
  }
  for (const [at, { smtp, username, password }] of notify.emails.entries()) {
    const path = ['notify', 'emails', at];
    if (smtp !== undefined && !URL.canParse(smtp)) find([...path, 'smtp'], '"smtp" is no URL');
    if ((username === undefined) !== (password === undefined))
      find(path, 'an e-mail must have both of the keys username and password, or neither');
    if (smtp === undefined && username !== undefined) find([...path, 'username'], '"username" needs "smtp"');
  }
  for (const { path, name } of credentialsIn(settings))
    if (!Object.hasOwn(credentials, name))
      find(path, `there is no "${name}" in [credentials]`, nearestName(name, Object.keys(credentials)));
  return findings;
}

const always = new Set(['repository', 'schedule']);
const forPull = new Set(['pull', 'arguments', 'ssh-command', 'max-time']);
const forAllBackups = new Set(['tags', 'labels', 'paranoid', 'memory', 'threads', 'limit-upload']);

function fitting(kind: 'paths' | 'command' | 'pull' | undefined, key: string): boolean {
  if (kind === undefined || always.has(key)) return true;
  if (kind === 'pull' || forPull.has(key)) return kind === 'pull' && forPull.has(key);
  return kind === 'paths' || key === kind || key === 'as' || forAllBackups.has(key);
}

/** Every place that asks for a credential. */
function credentialsIn(
  value: unknown,
  path: readonly string[] = [],
): { path: readonly string[]; name: string }[] {
  if (typeof value !== 'object' || value === null || path[0] === 'credentials') return [];
  return Object.entries(value).flatMap(([key, inner]: [string, unknown]) =>
    key === 'credential' && typeof inner === 'string'
      ? [{ path: [...path, key], name: inner }]
      : credentialsIn(inner, [...path, key]),
  );
}
