import type { PackId } from '../../repository/ids.ts';

/** One of `count` workers that share the packs of a repository by the first two digits of their names. */
export interface Shard {
  /** From 1. */
  readonly number: number;
  readonly count: number;
}

/** As many as there are beginnings of two digits. */
export const mostShards = 256;

export function isInShard(pack: PackId, { number, count }: Shard): boolean {
  return Number.parseInt(pack.slice(0, 2), 16) % count === number - 1;
}
