import { isObjectName } from '../object-name.ts';

/**
 * An object whose folder an account cannot make is stored beside the folders, under its name with '+' for each '/': a
 * character that object names do not have. `tr + /` gives the name back.
 * Undefined for a name without folders, or one too long for a file.
 */
export function toFlatName(name: string): string | undefined {
  return name.includes('/') && name.length <= 255 ? name.replaceAll('/', '+') : undefined;
}

/** The object's name, or undefined if this is no such file name. */
export function fromFlatName(fileName: string): string | undefined {
  if (!fileName.includes('+') || fileName.includes('/')) return undefined;
  const name = fileName.replaceAll('+', '/');
  return isObjectName(name) ? name : undefined;
}
