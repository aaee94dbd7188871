import { hash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import type { Configuration } from '../configuration/configuration.ts';
import { RunState } from '../operation/run/run-state.ts';
import type { CliContext } from './context.ts';
import { stateFolder } from './state-folder.ts';

/** Where a configuration has its lock and its memory of what ran last. */
export interface RunPlaces {
  readonly folder: string;
  readonly lock: string;
  readonly state: string;
}

export function runPlaces({ file }: Configuration, context: CliContext): RunPlaces {
  const folder = stateFolder('runs', context);
  const name = hash('sha256', realpathSync(file)).slice(0, 16);
  return { folder, lock: join(folder, `${name}.lock`), state: join(folder, `${name}.json`) };
}

/** @throws failed */
export function readRunState(configuration: Configuration, context: CliContext): RunState {
  const notice = (message: string): void => context.terminal.warning(message);
  return RunState.read(runPlaces(configuration, context).state, configuration.file, notice);
}
