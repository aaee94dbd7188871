import { isObjectDigest, isSnapshotId, type IndexId, type PackId, type SnapshotId } from './ids.ts';

// docs/design/format.md "Layout": the names of all objects of a repository.
export const repositoryName = 'repository.json';
export const readmeName = 'README.txt';
export const recoverName = 'recover.py';
export const packsPrefix = 'packs/';
export const indexPrefix = 'index/';
export const snapshotsPrefix = 'snapshots/';

const snapshotFiles = ['snapshot.json', 'root.age', 'SHA256SUMS', 'SHA256SUMS.sig'] as const;
export type SnapshotFile = (typeof snapshotFiles)[number];

export function packName(id: PackId): string {
  return `${packsPrefix}${id.slice(0, 2)}/${id}.age`;
}

export function indexName(id: IndexId): string {
  return `${indexPrefix}${id}.age`;
}

export function snapshotFileName(id: SnapshotId, file: SnapshotFile): string {
  return `${snapshotsPrefix}${id}/${file}`;
}

/** What an object is, by its name. */
export type ObjectRole =
  | { readonly kind: 'pack'; readonly id: PackId }
  | { readonly kind: 'index'; readonly id: IndexId }
  | { readonly kind: 'snapshot'; readonly id: SnapshotId; readonly file: SnapshotFile }
  | { readonly kind: 'keeper' }
  | { readonly kind: 'repository' | 'readme' | 'recover' };

/** Undefined for a name that no object of this format has. */
export function roleOf(name: string): ObjectRole | undefined {
  if (name === repositoryName) return { kind: 'repository' };
  if (name === readmeName) return { kind: 'readme' };
  if (name === recoverName) return { kind: 'recover' };
  const parts = name.split('/');
  const [folder, second = '', third] = parts;
  if (folder === 'packs' && parts.length === 3) {
    const id = third!.slice(0, 64);
    return isObjectDigest(id) && name === packName(id) ? { kind: 'pack', id } : undefined;
  }
  if (folder === 'index' && parts.length === 2) {
    const id = second.slice(0, 64);
    return isObjectDigest(id) && name === indexName(id) ? { kind: 'index', id } : undefined;
  }
  if (folder === 'snapshots' && parts.length === 3) {
    const file = snapshotFiles.find((file) => file === third);
    return file && isSnapshotId(second) ? { kind: 'snapshot', id: second, file } : undefined;
  }
  if (folder === 'keeper' && parts.length === 2 && /^\d{8}-\d{8}T\d{6}Z\.json(?:\.sig)?$/.test(second))
    return { kind: 'keeper' };
  return undefined;
}
