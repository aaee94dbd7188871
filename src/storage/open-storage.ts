import { fileURLToPath } from 'node:url';
import type { Clock } from '../clock/clock.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { urlWithoutPassword } from './object-url.ts';
import { LocalStorage } from './local/local-storage.ts';
import { patientRetries, retry, type RetryNotice, type RetrySettings } from './retry/backoff.ts';
import { RetryingStorage } from './retry/retrying-storage.ts';
import type { Storage } from './storage.ts';

// What follows `rclone:` is rclone's own notation, in which a path may stand.
const scheme = /^(rclone(?=:)|[a-z][a-z0-9+.-]*(?=:(?:\/\/|[^/\\])))/i;

/** What a storage may need to know of the process it serves. */
export interface StorageSettings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** The ssh program with its first arguments, as in a shell command; default SALVAGE_SSH, then `ssh`. */
  readonly sshCommand?: string | undefined;
  /** True if somebody is there to answer what ssh asks: for a passphrase, say. */
  readonly isInteractive?: boolean | undefined;
  /** Ends the attempts to connect. */
  readonly signal?: AbortSignal | undefined;
  /** Told what a user should know while the storage is used: that something was overwritten, say. */
  readonly notify?: ((message: string) => void) | undefined;
}

/** By scheme. What a kind of storage needs is loaded only when it is used. */
const kinds: Readonly<Record<string, (url: string, settings: StorageSettings) => Promise<Storage>>> = {
  file: async (url) => new LocalStorage(filePath(url)),
  sftp: async (url, settings) => {
    const { openSftpStorage } = await import('./sftp/open-sftp-storage.ts');
    const retries = retriesFor(settings);
    const open = async (): Promise<Storage> => await openSftpStorage(url, { ...settings, resume: retries });
    return new RetryingStorage(await connect(open, retries, settings.signal), retries);
  },
  ssh: async (url, settings) => {
    const { openSshStorage } = await import('./ssh/connect-ssh.ts');
    const retries = retriesFor(settings);
    const open = async (): Promise<Storage> => await openSshStorage(url, settings);
    return new RetryingStorage(await connect(open, retries, settings.signal), retries);
  },
  rclone: async (url, settings) => {
    const { openRclone } = await import('./rclone/open-rclone.ts');
    return new RetryingStorage(openRclone(url, settings), retriesFor(settings));
  },
  s3: async (url, settings) => {
    const { openS3 } = await import('./s3/open-s3.ts');
    const retries = retriesFor(settings);
    return new RetryingStorage(openS3(url, { ...settings, retries }), retries);
  },
};

/**
 * The storage that a URL or path names: a path, absolute or not, or a URL of one of the kinds above. It is to be closed.
 * @throws usage if it is not a URL of a known kind
 */
export async function openStorage(url: string, settings: StorageSettings): Promise<Storage> {
  const kind = scheme.exec(url)?.[1]?.toLowerCase();
  if (url === '' || url.includes('\0')) throw unusable(url, 'it is no path');
  if (kind === undefined) return new LocalStorage(url);
  if (!Object.hasOwn(kinds, kind)) throw unusable(url, `there is no storage of the kind "${kind}"`);
  return await kinds[kind]!(url, settings);
}

/** True if the URL names a folder on this machine. */
export function isLocalUrl(url: string): boolean {
  const kind = scheme.exec(url)?.[1]?.toLowerCase();
  return kind === undefined || kind === 'file';
}

/** True if the storage is reached by a program ssh, which takes many round trips to get through. */
export function isSshUrl(url: string): boolean {
  return /^s(?:sh|ftp):\/\//i.test(url);
}

/** Whoever starts a run may have mistyped the name of the server: they are to hear of it soon. */
const connectingPatienceMs = 15_000;
/** One lost connection fails many requests at once. */
const quietMs = 5000;

/** Patient, and not silent about it. */
function retriesFor({ clock, notify }: StorageSettings): RetrySettings {
  let quietUntilMs = 0;
  const onRetry = ({ error, delayMs }: RetryNotice): void => {
    const nowMs = clock.monotonicMs();
    if (nowMs < quietUntilMs) return;
    quietUntilMs = nowMs + Math.max(delayMs, quietMs);
    notify?.(`${error.message}. Trying again in ${Math.ceil(delayMs / 1000)} s`);
  };
  return { ...patientRetries, clock, onRetry };
}

/** Opens what may not be reachable yet. */
async function connect(
  open: () => Promise<Storage>,
  retries: RetrySettings,
  signal: AbortSignal | undefined,
): Promise<Storage> {
  return await retry({ ...retries, patienceMs: connectingPatienceMs }, open, signal);
}

function filePath(url: string): string {
  try {
    return fileURLToPath(url);
  } catch (cause) {
    throw unusable(url, 'it is not of the form file:///path', cause);
  }
}

function unusable(url: string, state: string, cause?: unknown): SalvageError {
  return new SalvageError('usage', `Cannot use the repository "${urlWithoutPassword(url)}": ${state}`, {
    hint: 'Give a path, file:///path, sftp://user@host/path, ssh://user@host/, s3://bucket/prefix or rclone:remote:path.',
    ...(cause === undefined ? {} : { cause }),
  });
}
