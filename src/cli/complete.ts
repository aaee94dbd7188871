import type { Argument, Command, Option } from 'commander';
import { planSteps } from '../configuration/plan-steps.ts';
import { readBounded } from '../operation/reading/read-object.ts';
import { isSnapshotId, type SnapshotId } from '../repository/ids.ts';
import { snapshotFileName, snapshotsPrefix } from '../repository/layout.ts';
import { limits } from '../repository/limits.ts';
import { decodeSnapshotJson } from '../repository/snapshot/snapshot-json.ts';
import { openStorage } from '../storage/open-storage.ts';
import type { Storage } from '../storage/storage.ts';
import { commandProgram } from './command-program.ts';
import { commands } from './commands.ts';
import { loadConfiguration } from './configuration-option.ts';
import type { CliContext } from './context.ts';

export interface Candidate {
  readonly value: string;
  readonly description: string;
}

/** What could stand where the cursor is: these words, or names of files or folders, which the shell knows best. */
export type Completion = readonly Candidate[] | 'files' | 'folders';

/** Somebody waits with a finger on the key. */
const patienceMs = 2000;
const latestWithLabel = 'latest:';
/** Labels of so many snapshots are offered. */
const mostLabelled = 20;

/**
 * Completes the last of the words that follow `salvage` on a command line; it may be empty. What it knows comes from the
 * same table as the help. Never asks anything and never fails: what cannot be found out is not offered.
 */
export async function complete(words: readonly string[], context: CliContext): Promise<Completion> {
  const [name = '', ...rest] = words;
  if (words.length <= 1) return startingWith(name, commandNames());
  if (name === 'help') return rest.length === 1 ? startingWith(rest[0]!, commandNames()) : [];
  const found = await commandProgram(name, context);
  return found === undefined ? [] : await completeArguments(found.program, rest, context);
}

function commandNames(): Candidate[] {
  return Object.entries(commands).map(([value, { summary }]) => ({ value, description: summary }));
}

/** What the words before the cursor come to, as far as it matters here. */
interface Line {
  readonly operands: string[];
  readonly values: Map<string, string>;
  /** The option whose value comes next. */
  expecting: Option | undefined;
  onlyOperands: boolean;
}

async function completeArguments(
  program: Command,
  words: readonly string[],
  context: CliContext,
): Promise<Completion> {
  const current = words.at(-1)!;
  const line: Line = { operands: [], values: new Map(), expecting: undefined, onlyOperands: false };
  for (const word of words.slice(0, -1)) readWord(word, line, program);
  if (line.expecting) return await completeValue(line.expecting, '', current, line, context);
  const [, flag, value] = /^(--[^=]+)=(.*)$/s.exec(current) ?? [];
  if (!line.onlyOperands && flag !== undefined) {
    const option = findOption(program, flag);
    return option?.required ? await completeValue(option, `${flag}=`, value!, line, context) : [];
  }
  if (!line.onlyOperands && current.startsWith('-')) return startingWith(current, flagsOf(program));
  const declared = program.registeredArguments;
  const argument =
    declared[line.operands.length] ?? (declared.at(-1)?.variadic ? declared.at(-1) : undefined);
  return argument === undefined ? [] : await completeOperand(argument, current, line, context);
}

function readWord(word: string, line: Line, program: Command): void {
  if (line.expecting) {
    line.values.set(line.expecting.attributeName(), word);
    line.expecting = undefined;
  } else if (line.onlyOperands || !word.startsWith('-') || word === '-') line.operands.push(word);
  else if (word === '--') line.onlyOperands = true;
  else {
    const [flag = '', ...value] = word.split('=');
    const option = findOption(program, flag);
    if (!option?.required) return;
    if (value.length > 0) line.values.set(option.attributeName(), value.join('='));
    else line.expecting = option;
  }
}

function findOption(program: Command, flag: string): Option | undefined {
  return program.options.find(({ long, short }) => flag === long || flag === short);
}

function flagsOf(program: Command): Candidate[] {
  const shown = program.options.filter(({ hidden }) => !hidden);
  return [
    ...shown.map(({ long, short, description }) => ({ value: long ?? short!, description })),
    { value: '--help', description: 'show this help' },
  ].toSorted((a, b) => (a.value < b.value ? -1 : 1));
}

async function completeValue(
  option: Option,
  prefix: string,
  typed: string,
  line: Line,
  context: CliContext,
): Promise<Completion> {
  const placeholder = /<(.*?)(?:\.\.\.)?>/.exec(option.flags)?.[1];
  const found = option.argChoices
    ? option.argChoices.map((value) => ({ value, description: '' }))
    : await valuesOf(placeholder, typed, line, context);
  return typeof found === 'string'
    ? found
    : startingWith(typed, found).map(({ value, description }) => ({ value: prefix + value, description }));
}

async function completeOperand(
  argument: Argument,
  typed: string,
  line: Line,
  context: CliContext,
): Promise<Completion> {
  const { argChoices, description } = argument;
  if (argChoices)
    return startingWith(
      typed,
      argChoices.map((value) => ({ value, description: '' })),
    );
  if (argument.name() === 'action') return startingWith(typed, actionsIn(description));
  const found = await valuesOf(argument.name(), typed, line, context);
  return typeof found === 'string' ? found : startingWith(typed, found);
}

/** "split: into shares; join: shares into the key again". */
function actionsIn(description: string): Candidate[] {
  return description.split('; ').flatMap((part) => {
    const [, value, meaning = ''] = /^([a-z-]+)(?:: (.*))?$/s.exec(part) ?? [];
    return value === undefined ? [] : [{ value, description: meaning }];
  });
}

/** By the placeholder that stands for the value in the help. */
async function valuesOf(
  placeholder: string | undefined,
  typed: string,
  line: Line,
  context: CliContext,
): Promise<Completion> {
  switch (placeholder) {
    case 'command':
      return commandNames();
    case 'snapshot':
    case 'before':
    case 'after':
      return await snapshotNames(line, typed, context);
    case 'job':
      return jobNames(line, context);
    case 'folder':
    case 'directory':
      return 'folders';
    case 'file':
    case 'path':
    case 'input':
    case 'signature':
    case 'archive':
    case 'url':
    case 'place':
    case 'source':
    case 'target':
      return 'files';
    default:
      return [];
  }
}

/** From what the storage shows: nobody has checked signatures. Labels only when they are begun, for they take longer. */
async function snapshotNames({ values }: Line, typed: string, context: CliContext): Promise<Candidate[]> {
  const found: Candidate[] = [{ value: 'latest', description: 'the newest snapshot' }];
  const repo = values.get('repo') ?? context.env['SALVAGE_REPOSITORY'] ?? '';
  if (repo === '') return found;
  const { env, clock } = context;
  const signal = AbortSignal.any([context.signal, AbortSignal.timeout(patienceMs)]);
  const sshCommand = values.get('sshCommand');
  const ids = new Set<SnapshotId>();
  const labels = new Set<string>();
  const list = async (): Promise<void> => {
    const storage = await openStorage(repo, { env, clock, sshCommand, isInteractive: false, signal });
    context.atEnd(() => storage.close());
    for await (const { name } of storage.list(snapshotsPrefix, signal)) {
      const id = name.slice(snapshotsPrefix.length).split('/')[0]!;
      if (isSnapshotId(id)) ids.add(id);
    }
    if (!typed.startsWith(latestWithLabel)) return;
    for (const id of [...ids].toSorted().slice(-mostLabelled).toReversed())
      for (const label of await labelsOf(storage, id, signal)) labels.add(label);
  };
  const late = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
  await Promise.race([list().catch(() => {}), late]);
  return [
    ...found,
    ...[...labels].map((label) => ({ value: latestWithLabel + label, description: 'the newest with it' })),
    ...[...ids].toReversed().map((value) => ({ value, description: '' })),
  ];
}

/** NAME and NAME=VALUE of each. */
async function labelsOf(storage: Storage, id: SnapshotId, signal: AbortSignal): Promise<string[]> {
  const bytes = await readBounded(
    storage,
    snapshotFileName(id, 'snapshot.json'),
    limits.snapshotJson,
    signal,
  );
  const labels = bytes ? decodeSnapshotJson(bytes, id).labels : {};
  const shown = Object.entries(labels).flatMap(([name, value]) => [name, `${name}=${value}`]);
  // A shell would take what a line break divides for two words.
  return shown.filter((label) => /^[\p{L}\p{N}._=/-]+$/u.test(label));
}

function jobNames({ values }: Line, context: CliContext): Candidate[] {
  try {
    const config = values.get('config');
    const { settings } = loadConfiguration(config === undefined ? {} : { config }, context);
    const steps = planSteps(settings);
    const described = steps.map(({ id, repository, schedule }) => ({
      value: id,
      description: `${repository}, ${schedule}`,
    }));
    const named = [...new Set(steps.map(({ name }) => name))].map((value) => ({ value, description: '' }));
    return [...named.filter(({ value }) => !steps.some(({ id }) => id === value)), ...described];
  } catch {
    return [];
  }
}

function startingWith(typed: string, candidates: readonly Candidate[]): Candidate[] {
  return candidates.filter(({ value }) => value.startsWith(typed));
}
