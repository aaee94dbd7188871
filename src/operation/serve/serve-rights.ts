import { roleOf } from '../../repository/layout.ts';
import { limits } from '../../repository/limits.ts';
import type { ServeRights } from '../../storage/serve/served.ts';

/**
 * What the key of a client may do, from the least to the most:
 * - `append-only`, a host: create, list and look at objects, and read what is public; nothing that is there can change.
 * - `read-only`, a restorer or an auditor: list and read everything.
 * - `create`: read everything, and create.
 * - `remove`, a keeper: everything.
 */
export type ServeMode = 'append-only' | 'read-only' | 'create' | 'remove';

/** Folders of the layout: in them a host creates objects of the format only. Beside them it may have archives. */
const formatFolders = /^(?:packs|index|snapshots|keeper|handover|healing)(?:\/|$)/;

export function serveRights(mode: ServeMode): ServeRights {
  return {
    mayCreate(name) {
      if (mode !== 'append-only') return mode !== 'read-only';
      const role = roleOf(name);
      // A host that took the names of a keeper's records would stand in its way; requests for healing it only reads.
      return role ? role.kind !== 'keeper' && role.kind !== 'healing' : !formatFolders.test(name);
    },
    mayRead: (name) => mode !== 'append-only' || isForHosts(name),
    mayRemove: mode === 'remove',
    // What has no role is an archive.
    largestBytes: (name) => (roleOf(name) ? limits.storedObject : Infinity),
    expectedDigest(name) {
      const role = roleOf(name);
      return role?.kind === 'pack' || role?.kind === 'index' ? role.id : undefined;
    },
  };
}

/**
 * What a host reads to back up: which repository it is, the signed lists, requests for healing, and the index objects from
 * which it makes a lost cache anew, which are encrypted for it. Packs, archives and the private half of snapshots are none of its business.
 */
function isForHosts(name: string): boolean {
  const role = roleOf(name);
  if (role?.kind === 'snapshot') return role.file !== 'root.age';
  return role !== undefined && role.kind !== 'pack';
}
