import type { ObjectDigest, SnapshotId } from '../../repository/ids.ts';
import type { ForgottenSnapshot } from '../../repository/keeper-record.ts';
import type { RememberedHead } from './remembered-heads.ts';
import type { Trouble } from './trouble.ts';

/** What the chain is made of: a snapshot whose signature and public facts are good. */
export interface ChainLink {
  readonly id: SnapshotId;
  readonly sequence: number;
  readonly digest: ObjectDigest;
  readonly previous: ObjectDigest | null;
}

export interface ChainExplanations {
  /** Numbers that may be missing, and with which something is wrong that has been told. */
  readonly told?: ReadonlySet<number>;
  /** What a trusted keeper says that it removed, by number: the chain goes on through these. */
  readonly forgotten?: ReadonlyMap<number, ForgottenSnapshot>;
}

/** A place in the chain; one that was forgotten stands for itself by what its record says of it. */
type Place = Omit<ChainLink, 'id'> & { readonly id: string; readonly isForgotten: boolean };

/**
 * Checks that good snapshots, in order of their names, form one chain without gaps that goes on where the remembered head
 * stood.
 */
export function checkChain(
  links: readonly ChainLink[],
  remembered: RememberedHead | undefined,
  { told = new Set(), forgotten = new Map() }: ChainExplanations = {},
): Trouble[] {
  const troubles: Trouble[] = [];
  const newest = links.at(-1)?.sequence ?? 0;
  const places: Place[] = links.map((link) => ({ ...link, isForgotten: false }));
  for (const [sequence, { id, checksums, previous }] of forgotten)
    if (sequence <= newest) places.push({ id, sequence, digest: checksums, previous, isForgotten: true });
  // What was forgotten comes first: what claims its place is the other one.
  places.sort((a, b) => a.sequence - b.sequence || Number(b.isForgotten) - Number(a.isForgotten));
  let expected = 1;
  let before: Place | undefined;
  for (const link of places) {
    if (before?.sequence === link.sequence) {
      troubles.push({
        kind: 'forked-chain',
        snapshot: link.id,
        message: `Two snapshots have the number ${link.sequence}: ${before.id} and ${link.id}${link.isForgotten !== before.isForgotten ? ', one of which a keeper has removed' : ''}. The chain is forked.`,
      });
      continue;
    }
    troubles.push(...gap(expected, link.sequence, told));
    const isNext = before?.sequence === link.sequence - 1;
    if (isNext && link.previous !== before!.digest)
      troubles.push({
        kind: 'forked-chain',
        snapshot: link.id,
        message: `Snapshot ${link.id} does not go on from ${before!.id}: it names another one as the snapshot before it.`,
      });
    if (link.sequence === 1 ? link.previous !== null : link.previous === null)
      troubles.push({
        kind: 'forked-chain',
        snapshot: link.id,
        message: `Snapshot ${link.id} ${link.previous === null ? 'says that it is the first, and is not' : 'is the first, and names one before it'}.`,
      });
    expected = link.sequence + 1;
    before = link;
  }
  if (remembered) troubles.push(...compareHead(links, places, remembered, told));
  return troubles;
}

function* gap(from: number, to: number, told: ReadonlySet<number>): Generator<Trouble> {
  let start = from;
  while (start < to) {
    while (start < to && told.has(start)) start++;
    let end = start;
    while (end < to && !told.has(end)) end++;
    if (end === start) return;
    const which =
      end - start === 1 ? `Snapshot number ${start} is` : `Snapshots number ${start} to ${end - 1} are`;
    yield {
      kind: 'missing-snapshot',
      message: `${which} missing, and no signed record says that ${end - start === 1 ? 'it was' : 'they were'} removed.`,
    };
    start = end;
  }
}

function compareHead(
  links: readonly ChainLink[],
  places: readonly Place[],
  remembered: RememberedHead,
  told: ReadonlySet<number>,
): Trouble[] {
  const head = links.at(-1);
  if (told.has(remembered.sequence) && (head?.sequence ?? 0) < remembered.sequence) return [];
  if (!head || head.sequence < remembered.sequence)
    return [
      {
        kind: 'rollback',
        message:
          `The newest snapshot is number ${head?.sequence ?? 0}, but number ${remembered.sequence} ` +
          `(${remembered.snapshot}) was seen here before: storage was rolled back, or snapshots were removed.`,
      },
    ];
  const same = places.find(({ sequence }) => sequence === remembered.sequence);
  if (same && same.digest !== remembered.digest)
    return [
      {
        kind: 'rollback',
        snapshot: same.id,
        message: `Snapshot number ${same.sequence} is another one than was seen here before (${remembered.snapshot}): history was rewritten.`,
      },
    ];
  const after = places.find(({ sequence }) => sequence === remembered.sequence + 1);
  if (!same && after && after.previous !== remembered.digest)
    return [
      {
        kind: 'rollback',
        snapshot: after.id,
        message: `Snapshot ${after.id} does not go on from ${remembered.snapshot}, which was seen here before: history was rewritten.`,
      },
    ];
  return [];
}
