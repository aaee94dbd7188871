import type { ObjectStat } from '../storage.ts';
import { fromFlatName } from './flat-name.ts';
import type { FileAttributes } from './sftp-packet.ts';
import type { FolderEntry } from './sftp-session.ts';

export function isRegular({ mode }: FileAttributes): boolean {
  return mode !== undefined && (mode & 0o170000) === 0o100000;
}

export function isFolder({ mode }: FileAttributes): boolean {
  return mode !== undefined && (mode & 0o170000) === 0o040000;
}

export function statOf(name: string, { sizeBytes = 0, mtime }: FileAttributes): ObjectStat {
  return { name, sizeBytes, receivedAt: mtime === undefined ? undefined : new Date(mtime * 1000) };
}

/** The objects under flat names, in the order of their names. */
export function flatObjects(entries: readonly FolderEntry[], prefix: string): ObjectStat[] {
  const found: ObjectStat[] = [];
  for (const { name: fileName, attributes } of entries) {
    const name = fromFlatName(fileName);
    if (name?.startsWith(prefix) && isRegular(attributes)) found.push(statOf(name, attributes));
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Both in one order; of two of one name the first. */
export async function* mergeByName(
  nested: AsyncIterable<ObjectStat>,
  flat: readonly ObjectStat[],
): AsyncGenerator<ObjectStat> {
  let next = 0;
  for await (const object of nested) {
    for (; next < flat.length && flat[next]!.name < object.name; next++) yield flat[next]!;
    if (flat[next]?.name === object.name) next++;
    yield object;
  }
  yield* flat.slice(next);
}
