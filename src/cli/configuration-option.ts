import { existsSync, statSync } from 'node:fs';
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

/** Warns if others could have written it, for it says what commands are run. @throws as `Configuration.load` */
export function loadConfiguration(flag: ConfigurationFlag, context: CliContext): Configuration {
  const configuration = Configuration.load(configurationPath(flag, context), context.env);
  for (const file of [configuration.file, ...configuration.included])
    if (isOthers(file))
      context.terminal.warning(
        `Others can write "${file}", and so have commands run as you`,
        `chmod go-w "${file}", or chown it`,
      );
  return configuration;
}

/** Whether somebody else could have written it. */
export function isOthers(file: string): boolean {
  const { uid, mode } = statSync(file);
  return (mode & 0o002) !== 0 || (uid !== 0 && uid !== process.getuid?.());
}

/** The file that is meant; it need not be there. */
export function configurationPath({ config }: ConfigurationFlag, { env }: CliContext): string {
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
