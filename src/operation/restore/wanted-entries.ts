import type { FileEntry } from '../../posix/file-entry.ts';
import type { OpenSnapshot } from '../open-snapshot.ts';
import type { Selection } from './selection.ts';

/** The entries that the selection wants, in tree order, under the paths that it gives them. @throws as `readTree` */
export async function* wantedEntries(
  snapshot: OpenSnapshot,
  selection: Selection,
  signal?: AbortSignal,
): AsyncGenerator<FileEntry> {
  for (const path of selection.paths ?? [undefined])
    for await (const { records } of snapshot.readTree({ ...(path && { path }), ...(signal && { signal }) }))
      for (const { entry } of records) {
        if (!entry) continue;
        const mapped = selection.map(entry.path, entry.type === 'directory');
        if (mapped) yield mapped === entry.path ? entry : { ...entry, path: mapped };
      }
}
