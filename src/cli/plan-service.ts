import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, isAbsolute, resolve } from 'node:path';
import { isSea } from 'node:sea';
import { fileURLToPath } from 'node:url';
import type { Configuration } from '../configuration/configuration.ts';
import { planSteps } from '../configuration/plan-steps.ts';
import type { ServicePlan } from '../configuration/service/service-plan.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { keyPaths } from '../keys/key-paths.ts';
import { isLocalUrl } from '../storage/open-storage.ts';
import { cacheRoot } from './cache-folder.ts';
import type { CliContext } from './context.ts';
import { parseDuration } from './parse-duration.ts';
import { repositoryUrl } from './perform-step.ts';
import { runPlaces } from './run-places.ts';

/** What a timer needs to know to do what this configuration asks for. @throws usage if that is nothing */
export function planService(name: string, configuration: Configuration, context: CliContext): ServicePlan {
  const { file, settings } = configuration;
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/.test(name))
    throw new SalvageError('usage', `Cannot use --name "${name}": give letters, digits, ".", "_" and "-"`);
  if (/[\n\r]/.test(file))
    throw new SalvageError('usage', 'Cannot schedule: the path of the configuration has a line break in it');
  const schedules = new Set(planSteps(settings).map(({ schedule }) => schedule));
  if (schedules.size === 0)
    throw new SalvageError('usage', `Cannot schedule "${file}": it says nothing that is to be done`, {
      hint: 'Add a job, or a copy, or verify, retention or a drill to a repository.',
    });
  const { service, credentials } = settings;
  return {
    name,
    configuration: file,
    command: [...program(context), 'run', '--scheduled', '--no-progress', '--config', file],
    environment: environment(context),
    schedules: [...schedules],
    ownFolders: ownFolders(configuration, context),
    writablePaths: writablePaths(configuration),
    credentials: Object.fromEntries(
      Object.entries(credentials).map(([credential, path]) => [credential, configuration.path(path)]),
    ),
    randomizedDelay: Math.round(parseDuration(service['randomized-delay'], 'randomized-delay') / 1000),
    nice: service.nice,
    ioClass: service['io-class'],
  };
}

/** For what is to differ from host to host. */
export function hostName(): string {
  return hostname();
}

/** How this program was called, by absolute paths. */
function program({ env }: CliContext): string[] {
  if (isSea()) return [process.execPath];
  const called = env['SALVAGE_PROGRAM'] ?? '';
  if (called.includes('/')) return [resolve(called)];
  return [process.execPath, resolve(process.argv[1]!)];
}

function environment({ env }: CliContext): Record<string, string> {
  const names = ['HOME', 'XDG_CONFIG_HOME', 'XDG_STATE_HOME', 'XDG_CACHE_HOME'];
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = env[name] ?? '';
      return isAbsolute(value) && !/[\n\r]/.test(value) ? [[name, value]] : [];
    }),
  );
}

function ownFolders(configuration: Configuration, context: CliContext): string[] {
  const makesKeys = Object.values(configuration.settings.repositories).some(
    ({ retention, drill, 'signing-key': key }) =>
      (retention && key === undefined) || (drill && drill['signing-key'] === undefined),
  );
  return [
    dirname(runPlaces(configuration, context).folder),
    cacheRoot(context),
    ...(makesKeys ? [keyPaths(context.env).folder] : []),
  ];
}

function writablePaths(configuration: Configuration): string[] {
  const { repositories, records, notify, service } = configuration.settings;
  const local = Object.keys(repositories)
    .map((name) => repositoryUrl(name, configuration))
    .filter(isLocalUrl)
    .map((url) => (url.startsWith('file:') ? fileURLToPath(url) : url))
    // What is yet to be made is made in the folder above it.
    .map((path) => (existsSync(path) ? path : dirname(path)));
  const scratch = Object.values(repositories).flatMap(({ drill }) => drill?.scratch ?? []);
  const files = [records['log-file']?.path, records['metrics-file']].filter((path) => path !== undefined);
  return [
    ...new Set([
      ...local,
      ...scratch.map((path) => configuration.path(path)),
      ...files.map((path) => dirname(configuration.path(path))),
      // A local mail program puts messages into its queue.
      ...(notify.emails.some(({ smtp }) => smtp === undefined) ? ['/var/spool'] : []),
      ...service['read-write-paths'].map((path) => configuration.path(path)),
    ]),
  ];
}
