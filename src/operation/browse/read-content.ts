import { SalvageError } from '../../errors/salvage-error.ts';
import { damagedObject } from '../../repository/damage.ts';
import { packName } from '../../repository/layout.ts';
import {
  rangeDigest,
  rangeLength,
  rangeOffset,
  rangePack,
  type ContentRanges,
} from '../../repository/tree/content-ranges.ts';
import type { OpenSnapshot } from '../open-snapshot.ts';
import { contentBytes, ContentLayout, type Piece } from '../reading/content-layout.ts';
import type { SealedObjects } from '../reading/sealed-objects.ts';

const zeros = new Uint8Array(1024 * 1024);

interface Place {
  readonly ranges: ContentRanges;
  readonly index: number;
  readonly pieces: readonly Piece[];
}

/**
 * The content of a file of the snapshot, piece by piece, holes as zeros. Only the frames are read that hold it, and every
 * blob's SHA-256 is checked before it is handed out. A hard link stands for its first name.
 * @throws usage if there is no such file; damaged, no-identity-match, failed
 */
export async function* readContent(
  snapshot: OpenSnapshot,
  objects: SealedObjects,
  path: Buffer,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const refuse = (state: string): SalvageError =>
    new SalvageError('usage', `Cannot show "${path.toString()}": ${state}`, {
      hint: `"salvage ls ${snapshot.signed.id}" shows what the snapshot has.`,
    });
  let file = path;
  const [first] = (await snapshot.find(file, signal)) ?? [];
  if (!first?.entry) throw refuse(`snapshot ${snapshot.signed.id} has no such path`);
  if (first.entry.type === 'hardlink') file = first.entry.target!;
  const layout = new ContentLayout(file);
  let size: number | undefined;
  let position = 0;
  let accounted = 0;
  for await (const { records } of snapshot.readTree({ path: file, ...(signal && { signal }) })) {
    for (const record of records) {
      if (!record.path.equals(file)) continue;
      if (record.entry) {
        if (record.entry.type !== 'file') throw refuse(`it is a ${record.entry.type} and has no content`);
        ({ size } = record.entry);
      }
      accounted += contentBytes(record);
      const places: Place[] = [];
      layout.add(record, (ranges, index, at, pieces) => places.push(placeOf(ranges, index, at, pieces)));
      for (const place of places) yield* show(place);
    }
  }
  if (size === undefined) throw refuse(`snapshot ${snapshot.signed.id} has no such file`);
  const rest: Place[] = [];
  layout.finish((ranges, index, at, pieces) => rest.push(placeOf(ranges, index, at, pieces)));
  for (const place of rest) yield* show(place);
  if (accounted !== size)
    throw new SalvageError(
      'damaged',
      `Cannot show all of "${path.toString()}": the snapshot does not tell where ${size - accounted} of its bytes are`,
    );
  yield* fill(size);

  async function* show({ ranges, index, pieces }: Place): AsyncGenerator<Uint8Array> {
    signal?.throwIfAborted();
    const pack = snapshot.packs.idOf(rangePack(ranges, index))!;
    const name = packName(pack);
    if (!snapshot.lists(pack)) throw damagedObject(name, 'the signed list does not have it');
    const blob = await objects.readBlob(
      name,
      rangeOffset(ranges, index),
      rangeLength(ranges, index),
      rangeDigest(ranges, index),
    );
    for (const piece of pieces) {
      yield* fill(piece.position);
      yield blob.subarray(piece.start, piece.start + piece.length);
      position += piece.length;
    }
  }

  function* fill(end: number): Generator<Uint8Array> {
    while (position < end) {
      const piece = zeros.subarray(0, end - position);
      yield piece;
      position += piece.length;
    }
  }
}

function placeOf(
  ranges: ContentRanges,
  index: number,
  position: number,
  pieces: readonly Piece[] | undefined,
): Place {
  return { ranges, index, pieces: pieces ?? [{ start: 0, length: rangeLength(ranges, index), position }] };
}
