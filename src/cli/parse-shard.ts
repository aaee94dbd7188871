import { SalvageError } from '../errors/salvage-error.ts';
import { mostShards, type Shard } from '../operation/shard.ts';

/** The value of --shard: i/n. @throws usage */
export function parseShard(text: string): Shard {
  const [, number, total] = /^(\d{1,3})\/(\d{1,3})$/.exec(text) ?? [];
  const shard = { number: Number(number), count: Number(total) };
  if (!(shard.number >= 1 && shard.number <= shard.count && shard.count <= mostShards))
    throw new SalvageError(
      'usage',
      `Cannot use --shard ${text}: give a share such as 1/4, of ${mostShards} at most`,
    );
  return shard;
}
