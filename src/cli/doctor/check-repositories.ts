import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SalvageError } from '../../errors/salvage-error.ts';
import { listSnapshots, readRepositoryJson } from '../../operation/open-repository.ts';
import { snapshotTime } from '../../operation/reading/signed-snapshot.ts';
import { isLocalUrl, openStorage } from '../../storage/open-storage.ts';
import { count } from '../../ui/count.ts';
import { formatDuration } from '../../ui/duration.ts';
import type { CliContext } from '../context.ts';
import type { MachineCheck } from './machine-check.ts';

/** A repository that this machine has to do with. */
export interface NamedRepository {
  readonly name: string;
  readonly url: string;
  readonly sshCommand?: string | undefined;
}

const dayMs = 24 * 3_600_000;
/** Clocks of two machines are never quite alike. */
const clockSlackMs = 5 * 60_000;

/** Opens each, reads what it is and which snapshots it has, and changes nothing; all at once, each with its own time limit. */
export async function checkRepositories(
  repositories: readonly NamedRepository[],
  limitMs: number,
  context: CliContext,
): Promise<MachineCheck[]> {
  return (
    await Promise.all(repositories.map((repository) => checkRepository(repository, limitMs, context)))
  ).flat();
}

async function checkRepository(
  { name, url, sshCommand }: NamedRepository,
  limitMs: number,
  context: CliContext,
): Promise<MachineCheck[]> {
  const limit = AbortSignal.timeout(limitMs);
  const signal = AbortSignal.any([context.signal, limit]);
  const repository = { check: 'repository', subject: name } as const;
  const late = new Promise<never>((_, reject) =>
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }),
  );
  try {
    const look = async (): Promise<MachineCheck[]> => {
      const { env, clock } = context;
      // Who looks after a machine is not asked for a passphrase by it.
      const storage = await openStorage(url, { env, clock, sshCommand, isInteractive: false, signal });
      context.atEnd(() => storage.close());
      await readRepositoryJson(storage, signal);
      const { committed, unfinished } = await listSnapshots(storage, signal);
      const now = context.clock.now().getTime();
      const newest = committed.at(-1);
      const time = newest && snapshotTime(newest.id).getTime();
      const snapshots = count(committed.length, 'snapshot');
      const left = leftovers(name, url, now, unfinished.length);
      if (time === undefined)
        return [{ ...repository, state: 'warn', message: 'no snapshot yet', mend: 'salvage run' }, ...left];
      if (time > now + clockSlackMs)
        return [
          {
            ...repository,
            state: 'bad',
            message: `${snapshots}, the newest from the future (${new Date(time).toISOString()}): a clock is wrong, here or at its host`,
            mend: 'timedatectl set-ntp true',
          },
          ...left,
        ];
      const age = formatDuration(Math.max(0, now - time));
      return [{ ...repository, state: 'ok', message: `${snapshots}, the newest made ${age} ago` }, ...left];
    };
    return await Promise.race([look(), late]);
  } catch (error) {
    context.signal.throwIfAborted();
    if (limit.aborted)
      return [
        {
          ...repository,
          state: 'bad',
          message: `no answer within ${formatDuration(limitMs)}`,
          mend: advice(url),
        },
      ];
    if (!(error instanceof SalvageError)) throw error;
    const isNone = error.code === 'no-repository';
    return [
      {
        ...repository,
        state: isNone ? 'missing' : 'bad',
        message: error.message,
        mend: isNone ? `salvage init --repo "${url}" -R FILE` : (error.hint ?? advice(url)),
      },
    ];
  }
}

function advice(url: string): string {
  return `see to the machine and the line there; salvage snapshots -v --repo "${url}" tells more`;
}

/** What killed runs have left. It takes room, and does no other harm. */
function leftovers(name: string, url: string, now: number, unfinished: number): MachineCheck[] {
  const found: MachineCheck[] = [];
  if (unfinished > 0)
    found.push({
      check: 'leftover',
      subject: name,
      state: 'warn',
      message: `${unfinished} unfinished: a backup that is going on, or one that was killed`,
      mend: 'the next backup carries on from there; prune removes what is left',
    });
  if (!isLocalUrl(url)) return found;
  const folder = join(url.startsWith('file:') ? fileURLToPath(url) : url, '.incoming');
  const old = namesIn(folder).filter((file) => {
    const status = statSync(join(folder, file), { throwIfNoEntry: false });
    return status && status.mtimeMs < now - dayMs;
  });
  if (old.length > 0)
    found.push({
      check: 'leftover',
      subject: folder,
      state: 'warn',
      message: `${old.length} half stored, older than a day`,
      mend: 'the next backup removes them',
    });
  return found;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
