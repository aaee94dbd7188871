import {
  isObjectDigest,
  isSnapshotId,
  type IndexId,
  type ObjectDigest,
  type PackId,
  type SnapshotId,
} from './ids.ts';

// docs/design/format.md "Layout": the names of all objects of a repository.
export const repositoryName = 'repository.json';
export const readmeName = 'README.txt';
export const recoverName = 'recover.py';
export const packsPrefix = 'packs/';
export const indexPrefix = 'index/';
export const snapshotsPrefix = 'snapshots/';
export const keeperPrefix = 'keeper/';
export const handoverPrefix = 'handover/';
export const healingPrefix = 'healing/';

const snapshotFiles = ['snapshot.json', 'root.age', 'SHA256SUMS', 'SHA256SUMS.sig'] as const;
export type SnapshotFile = (typeof snapshotFiles)[number];

/** Number and time of a keeper record: what its name consists of. */
export interface KeeperRecordId {
  readonly number: number;
  /** `yyyymmddThhmmssZ` */
  readonly stamp: string;
}

export type KeeperFile = 'json' | 'json.sig';
/** `<yyyymmddThhmmssZ>-<8 hex>`: what the name of a hand-over consists of. */
export type HandoverId = string;

/** Time and random digits of a healing request: what its name consists of. */
export interface HealingRequestId {
  /** `yyyymmddThhmmssZ` */
  readonly stamp: string;
  /** 8 hex */
  readonly random: string;
}

export function packName(id: PackId): string {
  return `${packsPrefix}${id.slice(0, 2)}/${id}.age`;
}

export function indexName(id: IndexId): string {
  return `${indexPrefix}${id}.age`;
}

export function snapshotFileName(id: SnapshotId, file: SnapshotFile): string {
  return `${snapshotsPrefix}${id}/${file}`;
}

export function keeperFileName({ number, stamp }: KeeperRecordId, file: KeeperFile): string {
  return `${keeperPrefix}${String(number).padStart(8, '0')}-${stamp}.${file}`;
}

export function healingFileName({ stamp, random }: HealingRequestId, file: KeeperFile): string {
  return `${healingPrefix}${stamp}-${random}.${file}`;
}

export function handoverFileName(id: HandoverId, file: KeeperFile): string {
  return `${handoverPrefix}${id}.${file}`;
}

/** The digest that the name of a pack or index object has. */
export function digestInName(name: string): ObjectDigest | undefined {
  const role = roleOf(name);
  return role?.kind === 'pack' || role?.kind === 'index' ? role.id : undefined;
}

/** What an object is, by its name. */
export type ObjectRole =
  | { readonly kind: 'pack'; readonly id: PackId }
  | { readonly kind: 'index'; readonly id: IndexId }
  | { readonly kind: 'snapshot'; readonly id: SnapshotId; readonly file: SnapshotFile }
  | { readonly kind: 'keeper'; readonly id: KeeperRecordId; readonly file: KeeperFile }
  | { readonly kind: 'healing'; readonly id: HealingRequestId; readonly file: KeeperFile }
  | { readonly kind: 'handover'; readonly id: HandoverId; readonly file: KeeperFile }
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
  if (folder === 'keeper' && parts.length === 2) {
    const match = /^(\d{8})-(\d{8}T\d{6}Z)\.(json|json\.sig)$/.exec(second);
    const number = Number(match?.[1]);
    if (!match || number === 0) return undefined;
    return { kind: 'keeper', id: { number, stamp: match[2]! }, file: match[3] as KeeperFile };
  }
  if (folder === 'handover' && parts.length === 2) {
    const match = /^(\d{8}T\d{6}Z-[0-9a-f]{8})\.(json|json\.sig)$/.exec(second);
    return match ? { kind: 'handover', id: match[1]!, file: match[2] as KeeperFile } : undefined;
  }
  if (folder === 'healing' && parts.length === 2) {
    const [, stamp, random, file] = /^(\d{8}T\d{6}Z)-([0-9a-f]{8})\.(json|json\.sig)$/.exec(second) ?? [];
    if (stamp === undefined || random === undefined) return undefined;
    return { kind: 'healing', id: { stamp, random }, file: file as KeeperFile };
  }
  return undefined;
}
