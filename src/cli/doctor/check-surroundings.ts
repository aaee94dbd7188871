import { accessSync, constants, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { isSea } from 'node:sea';
import { keyPaths } from '../../keys/key-paths.ts';
import { cacheRoot } from '../cache-folder.ts';
import type { CliContext } from '../context.ts';
import { stateFolder } from '../state-folder.ts';
import { version } from '../version.ts';
import type { MachineCheck } from './machine-check.ts';

const oldestNode = [24, 7] as const;
/** A backup has some hundred files and connections open; tests pass with 256. */
const fewOpenFiles = 1024;
const tooFewOpenFiles = 128;
/** Older than this program is no clock that is right. */
const earliest = Date.UTC(2026, 0, 1);

/** What is the same whatever the configuration says: the program, limits, the clock, folders of its own. */
export function checkSurroundings(context: CliContext): MachineCheck[] {
  return [
    checkVersion(process.versions.node),
    ...checkOpenFiles(readLimits()),
    checkClock(context.clock.now()),
    ...ownFolders(context).map(([what, path]) => checkFolder(what, path)),
    ...findScratch(tmpdir()),
  ];
}

export function checkVersion(node: string): MachineCheck {
  const [major = 0, minor = 0] = node.split('.').map(Number);
  const isNew = major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1]);
  const form = isSea() ? 'one executable, with Node' : 'with Node';
  return {
    check: 'salvage',
    subject: '',
    state: isNew ? 'ok' : 'bad',
    message: `version ${version}, ${form} ${node}`,
    mend: isNew
      ? undefined
      : `install Node ${oldestNode.join('.')} or newer, or the single executable of salvage`,
  };
}

function readLimits(): string {
  try {
    return readFileSync('/proc/self/limits', 'latin1');
  } catch {
    return '';
  }
}

/** Node has raised the soft limit to the hard one. Nothing where there is no such file. */
export function checkOpenFiles(limits: string): MachineCheck[] {
  const [, soft] = /^Max open files +(\S+)/m.exec(limits) ?? [];
  if (soft === undefined) return [];
  const count = soft === 'unlimited' ? Infinity : Number(soft);
  const state = count < tooFewOpenFiles ? 'bad' : count < fewOpenFiles ? 'warn' : 'ok';
  return [
    {
      check: 'limits',
      subject: '',
      state,
      message: `${soft} open files`,
      mend: state === 'ok' ? undefined : `raise the hard limit: ulimit -Hn ${fewOpenFiles * 4}, as root`,
    },
  ];
}

export function checkClock(now: Date): MachineCheck {
  const isOld = now.getTime() < earliest;
  return {
    check: 'clock',
    subject: '',
    state: isOld ? 'bad' : 'ok',
    message: `it is ${now.toISOString().slice(0, 16).replace('T', ' ')} UTC${isOld ? ', and that cannot be' : ''}`,
    mend: isOld ? 'timedatectl set-ntp true' : undefined,
  };
}

function ownFolders(context: CliContext): [what: string, path: string][] {
  return [
    ['keys and host configurations', keyPaths(context.env).folder],
    ['state', dirname(stateFolder('runs', context))],
    ['cache', cacheRoot(context)],
  ];
}

/** A folder that salvage writes to; it may yet have to be made. */
function checkFolder(what: string, path: string): MachineCheck {
  const folder = { check: 'folder', subject: path } as const;
  let above = path;
  while (!existsSync(above) && above !== dirname(above)) above = dirname(above);
  const status = statSync(above);
  if (!status.isDirectory())
    return {
      ...folder,
      state: 'bad',
      message: `"${above}" is no folder`,
      mend: `mv "${above}" "${above}.old"`,
    };
  try {
    accessSync(above, constants.W_OK | constants.X_OK);
  } catch (error) {
    const isReadOnly = (error as NodeJS.ErrnoException).code === 'EROFS';
    const mend = isReadOnly ? 'mount it writable' : `chown "$USER" "${above}"`;
    return { ...folder, state: 'bad', message: `for ${what}, and cannot be written`, mend };
  }
  if (above !== path) return { ...folder, state: 'ok', message: `for ${what}, will be made` };
  if ((status.mode & 0o022) !== 0)
    return {
      ...folder,
      state: 'bad',
      message: `for ${what}, and others can write in it`,
      mend: `chmod go-w "${path}"`,
    };
  return { ...folder, state: 'ok', message: `for ${what}, writable` };
}

/** What a killed drill has left is in clear. */
function findScratch(folder: string): MachineCheck[] {
  const own = process.getuid?.();
  return readdirSync(folder)
    .filter((name) => /^salvage-drill-\w{6}$/.test(name))
    .map((name) => join(folder, name))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.uid === own)
    .map((path) => ({
      check: 'leftover',
      subject: path,
      state: 'warn',
      message: 'restored files in clear, of a drill that is going on or was killed',
      mend: `rm -rf "${path}"`,
    }));
}
