import type { Clock } from '../../clock/clock.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import type { RetrySettings } from '../retry/backoff.ts';
import { sshCommandLine, type SshCommandSettings } from '../ssh-program/ssh-command.ts';
import { parseSshUrl } from '../ssh-program/ssh-target.ts';
import { urlWithoutPassword } from '../object-url.ts';
import { SftpConnection } from './sftp-connection.ts';
import { SftpStorage } from './sftp-storage.ts';

export interface SftpSettings extends SshCommandSettings {
  readonly clock: Clock;
  /** How uploads go on after a lost connection; without it they do not. */
  readonly resume?: RetrySettings | undefined;
  /** A server that owes an answer and is silent for so long counts as dead. Default two minutes. */
  readonly silenceMs?: number | undefined;
}

const defaultSilenceMs = 120_000;

/**
 * The storage at `sftp://[user@]host[:port]/path`. The path is relative to the folder where a login starts, in most
 * accounts the home folder; with a second slash, `sftp://host//srv/backup`, it is absolute.
 * @throws usage for another URL; failed if there is no connection
 */
export async function openSftpStorage(url: string, settings: SftpSettings): Promise<SftpStorage> {
  const parsed = parseSshUrl(url);
  if (typeof parsed === 'string')
    throw new SalvageError('usage', `Cannot use the repository "${urlWithoutPassword(url)}": ${parsed}`, {
      hint: 'Give sftp://user@host/path for a path in the home folder, or sftp://user@host//path for one from the root.',
    });
  const { target, path } = parsed;
  const { clock, silenceMs = defaultSilenceMs, env, isInteractive = false } = settings;
  const connection = new SftpConnection({
    commandLine: sshCommandLine(settings, target, { subsystem: 'sftp' }),
    target,
    env,
    clock,
    silenceMs,
    isInteractive,
  });
  return await SftpStorage.open(
    { description: url, folder: folderOf(path ?? '') },
    connection,
    settings.resume,
  );
}

function folderOf(path: string): string {
  const folder = path.replace(/\/{2,}/g, '/').replace(/(?!^)\/$/, '');
  return folder === '.' ? '' : folder.replace(/^(?:\.\/)+/, '');
}
