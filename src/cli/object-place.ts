import { SalvageError } from '../errors/salvage-error.ts';
import { isObjectName } from '../storage/object-name.ts';
import { parseObjectUrl } from '../storage/object-url.ts';
import { openStorage } from '../storage/open-storage.ts';
import type { Storage } from '../storage/storage.ts';
import type { CliContext } from './context.ts';

/** Where an object is or will be. */
export interface ObjectPlace {
  readonly storage: Storage;
  readonly name: string;
  /** For messages and reports. */
  readonly label: string;
}

/**
 * The object that an argument names by URL, in a storage that is closed at the end of the command; undefined if the
 * argument is a path. A URL that ends in a slash or a colon names a folder, in which `defaultName` is meant.
 * @throws usage for a name that no object can have, or none; what openStorage throws
 */
export async function openObjectPlace(
  argument: string,
  sshCommand: string | undefined,
  context: CliContext,
  defaultName = '',
): Promise<ObjectPlace | undefined> {
  const url = parseObjectUrl(argument);
  if (!url) return undefined;
  const name = url.name === '' ? defaultName : url.name;
  if (!isObjectName(name))
    throw new SalvageError(
      'usage',
      name === ''
        ? 'Cannot use a URL that names no object'
        : `Cannot use the object name ${JSON.stringify(name.slice(0, 300))}: letters, digits, ".", "_" and "-" make one`,
      { hint: 'The last part of the URL is the name of the object.' },
    );
  const { env, clock, signal, terminal } = context;
  const storage = await openStorage(url.storage, {
    env,
    clock,
    sshCommand,
    isInteractive: context.stdin.isTerminal,
    signal,
    notify: (message) => terminal.warning(message),
  });
  context.atEnd(() => storage.close());
  const { description } = storage;
  return { storage, name, label: `${description}${/[/:]$/.test(description) ? '' : '/'}${name}` };
}

/** An object beside another one. */
export function besideObject({ storage, name, label }: ObjectPlace, extension: string): ObjectPlace {
  return { storage, name: name + extension, label: label + extension };
}

/** @throws failed if an object of that name is there */
export async function checkAbsent(place: ObjectPlace, signal: AbortSignal): Promise<void> {
  if (await place.storage.stat(place.name, signal)) throw alreadyThere(place);
}

export function alreadyThere({ label }: ObjectPlace): SalvageError {
  return new SalvageError('failed', `Cannot write "${label}": it is there already`, {
    hint: 'Choose another name: what is in storage is never replaced.',
  });
}
