import type { Command } from 'commander';
import { planSteps } from '../../configuration/plan-steps.ts';
import { readJsonSchema } from '../../configuration/schema/json-schema.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { addConfigurationFlag, loadConfiguration, type ConfigurationFlag } from '../configuration-option.ts';
import type { CliContext } from '../context.ts';

interface Options extends ConfigurationFlag {
  readonly json?: boolean;
}

export const examples: readonly string[] = [
  'salvage config check',
  'salvage config check --config /etc/salvage/salvage.toml --json',
  'salvage config schema > salvage.schema.json',
];

export function register(program: Command, context: CliContext): void {
  program.argument(
    '<action>',
    'check: read the configuration, and say where it is wrong; schema: print its JSON Schema, for editors',
  );
  addConfigurationFlag(program);
  program
    .option('--json', 'print what the configuration comes to as one JSON object')
    .action((action: string, options: Options) => run(action, options, context));
}

async function run(action: string, options: Options, context: CliContext): Promise<void> {
  if (action === 'schema') return await context.stdout.write(readJsonSchema());
  if (action !== 'check')
    throw new SalvageError('usage', `Cannot do "${action}" with the configuration: give check or schema`);
  const configuration = loadConfiguration(options, context);
  const { file, included, settings } = configuration;
  const steps = planSteps(settings);
  if (options.json) await context.stdout.write(`${JSON.stringify({ file, included, steps, settings })}\n`);
  const { terminal } = context;
  const files = included.length === 0 ? '' : `, with ${included.length} that it includes`;
  terminal.info(`"${file}"${files} is right`);
  for (const { id, repository, schedule } of steps) terminal.info(`${id} (${repository}): ${schedule}`);
  if (steps.length === 0)
    terminal.warning('It says nothing that is to be done: no job, copy, verify, retention or drill');
}
