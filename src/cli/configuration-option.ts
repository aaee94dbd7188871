import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { Configuration } from '../configuration/configuration.ts';
import { keyPaths } from '../keys/key-paths.ts';
import type { CliContext } from './context.ts';

/** What addConfigurationFlag puts among the options of a command. */
export interface ConfigurationFlag {
  readonly config?: string;
}

const systemFile = '/etc/salvage/salvage.toml';

/** Adds --config. */
export function addConfigurationFlag(program: Command): void {
  program.option(
    '--config <file>',
    `the configuration (default: $SALVAGE_CONFIG, then salvage.toml among your keys, then ${systemFile})`,
  );
}

/** @throws as `Configuration.load` */
export function loadConfiguration(flag: ConfigurationFlag, context: CliContext): Configuration {
  return Configuration.load(configurationPath(flag, context), context.env);
}

function configurationPath({ config }: ConfigurationFlag, { env }: CliContext): string {
  const given = config ?? env['SALVAGE_CONFIG'] ?? '';
  if (given !== '') return given;
  const own = ownFile(env);
  return own !== undefined && existsSync(own) ? own : systemFile;
}

/** Undefined where there is no HOME, as under a bare system service. */
function ownFile(env: CliContext['env']): string | undefined {
  try {
    return join(keyPaths(env).folder, 'salvage.toml');
  } catch {
    return undefined;
  }
}
