import { openEnvelope } from '../../age/envelope.ts';
import { parseHeader } from '../../age/header.ts';
import type { Identity } from '../../age/recipient.ts';
import { damagedObject, namingDamage } from '../../repository/damage.ts';
import type { IndexId } from '../../repository/ids.ts';
import { IndexDecoder, type IndexedPack } from '../../repository/index-object.ts';
import { indexName } from '../../repository/layout.ts';
import { limits } from '../../repository/limits.ts';
import { fetchSync, fromBytes } from '../../repository/pack/fetch.ts';
import { PackReader } from '../../repository/pack/pack-reader.ts';
import type { Storage } from '../../storage/storage.ts';
import { readDigested } from '../reading/read-object.ts';

/**
 * The packs that an index object lists. The index key is the only key that a host ever opens something with, and it
 * opens nothing else (docs/design/format.md "Index objects").
 * @returns undefined if the index is for another index key: of an earlier host
 * @throws damaged, failed
 */
export async function openIndex(
  storage: Storage,
  id: IndexId,
  indexKey: Identity,
  signal: AbortSignal,
): Promise<IndexedPack[] | undefined> {
  const name = indexName(id);
  const bytes = await readDigested(storage, name, limits.storedObject, id, signal);
  try {
    const header = parseHeader(bytes);
    const fileKey = await openEnvelope(header, [indexKey]);
    if (!fileKey) return undefined;
    const object = { name, sizeBytes: bytes.length, headerBytes: header.bytes.length, fileKey };
    const read = fromBytes(bytes);
    const reader = fetchSync(PackReader.open(object), read);
    const packs: IndexedPack[] = [];
    const decoder = new IndexDecoder(name, (pack) => packs.push(pack));
    for (const index of reader.frames.keys()) decoder.push(fetchSync(reader.readFrame(index), read));
    decoder.finish();
    return packs;
  } catch (error) {
    const named = namingDamage(name, error);
    throw named instanceof Error ? named : damagedObject(name, String(named));
  }
}
