import { fileURLToPath } from 'node:url';
import { SalvageError } from '../errors/salvage-error.ts';
import { LocalStorage } from './local/local-storage.ts';
import type { Storage } from './storage.ts';

const scheme = /^([a-z][a-z0-9+.-]*):(?=\/\/|[^/\\])/i;

/**
 * The storage that a URL or path names: a path, absolute or not, or `file:///path`. Nothing is asked of it yet.
 * @throws usage if it is not a URL of a known kind
 */
export function openStorage(url: string): Storage {
  const kind = scheme.exec(url)?.[1]?.toLowerCase();
  if (url === '' || url.includes('\0')) throw unusable(url, 'it is no path');
  if (kind === undefined) return new LocalStorage(url);
  if (kind === 'file') return new LocalStorage(filePath(url));
  throw unusable(url, `there is no storage of the kind "${kind}"`);
}

/** True if the URL names a folder on this machine. */
export function isLocalUrl(url: string): boolean {
  const kind = scheme.exec(url)?.[1]?.toLowerCase();
  return kind === undefined || kind === 'file';
}

function filePath(url: string): string {
  try {
    return fileURLToPath(url);
  } catch (cause) {
    throw unusable(url, 'it is not of the form file:///path', cause);
  }
}

function unusable(url: string, state: string, cause?: unknown): SalvageError {
  // A URL may carry a password.
  const shown = url.replace(/(\/\/[^/@:]*):[^/@]*@/, '$1:…@').slice(0, 300);
  return new SalvageError('usage', `Cannot use the repository "${shown}": ${state}`, {
    hint: 'Give a path, or file:///path.',
    ...(cause === undefined ? {} : { cause }),
  });
}
