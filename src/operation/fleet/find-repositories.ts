import { repositoryName } from '../../repository/layout.ts';
import type { Storage } from '../../storage/storage.ts';

/**
 * The names of the repositories below a root, in order: folders that hold a repository.json and do not lie in another
 * repository. One listing of everything that is there. @throws failed, interrupted
 */
export async function findRepositories(root: Storage, signal?: AbortSignal): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of root.list('', signal))
    if (name.endsWith(`/${repositoryName}`)) found.push(name.slice(0, -repositoryName.length - 1));
  return found.filter((name) => !found.some((other) => name.startsWith(`${other}/`)));
}
