import type { ObjectDigest } from '../repository/ids.ts';

/** One of `count` workers that share the objects of a repository by the first two digits of their names. */
export interface Shard {
  /** From 1. */
  readonly number: number;
  readonly count: number;
}

/** As many as there are beginnings of two digits. */
export const mostShards = 256;

export function isInShard(object: ObjectDigest, { number, count }: Shard): boolean {
  return Number.parseInt(object.slice(0, 2), 16) % count === number - 1;
}

/** The beginnings of the names that are its share. */
export function beginningsOf({ number, count }: Shard): string[] {
  const all = Array.from({ length: mostShards }, (_, value) => value.toString(16).padStart(2, '0'));
  return all.filter((_, value) => value % count === number - 1);
}
