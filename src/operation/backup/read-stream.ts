import type { Clock } from '../../clock/clock.ts';
import { AccountNames } from '../../posix/account-names.ts';
import type { FileEntry } from '../../posix/file-entry.ts';
import { asBuffer } from '../../bytes/bytes.ts';
import { treeLines } from '../../repository/tree/tree-line.ts';
import { rangeBytes, rangeLength, rangePack } from '../../repository/tree/content-ranges.ts';
import type { BackupWorkers } from './backup-workers.ts';
import { unsettled } from './file-state.ts';
import type { BackupCounts, BackupObserver } from './observer.ts';
import type { PackFacts } from './pack-facts.ts';
import type { TreeDraft } from './tree-draft.ts';

/** One stream that becomes one file: standard input, or what a command prints. */
export interface StreamSource {
  /** The name of the file, one path component. */
  readonly name: string;
  /** Its bytes. Ends with an error if the stream is not whole: a command has failed. */
  readonly open: (signal: AbortSignal) => AsyncIterable<Uint8Array>;
  readonly uid: number;
  readonly gid: number;
}

export interface ReadStreamOptions {
  readonly stream: StreamSource;
  readonly draft: TreeDraft;
  readonly workers: BackupWorkers;
  readonly facts: PackFacts;
  readonly counts: BackupCounts;
  readonly observer: BackupObserver;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** A worker gets the stream in pieces of this size. */
const pieceBytes = 1024 * 1024;
const streamMode = 0o600;

/** Stores the stream and writes its one line into the draft. @throws what the stream throws */
export async function readStream(options: ReadStreamOptions): Promise<void> {
  const { stream, draft, workers, facts, counts, observer, clock, signal } = options;
  const answer = workers.run({ kind: 'stream' });
  let piece = Buffer.allocUnsafeSlow(pieceBytes);
  let filled = 0;
  const send = async (): Promise<void> => {
    const bytes =
      filled === pieceBytes ? piece : Buffer.from(new Uint8Array(piece.subarray(0, filled)).buffer);
    piece = Buffer.allocUnsafeSlow(pieceBytes);
    filled = 0;
    await workers.sendData(new Uint8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length));
  };
  for await (const bytes of stream.open(signal)) {
    signal.throwIfAborted();
    for (let at = 0; at < bytes.length;) {
      const taken = Math.min(bytes.length - at, pieceBytes - filled);
      piece.set(bytes.subarray(at, at + taken), filled);
      filled += taken;
      at += taken;
      if (filled === pieceBytes) await send();
    }
    observer.onProgress(bytes.length, 0);
  }
  if (filled > 0) await send();
  await send();
  const result = await answer;
  const size = result.sizes[0]!;
  const mtimeNs = BigInt(clock.now().getTime()) * 1_000_000n;
  const accounts = new AccountNames();
  const { uid, gid } = stream;
  const entry: FileEntry = {
    path: Buffer.from(stream.name),
    type: 'file',
    mode: streamMode,
    uid,
    gid,
    user: accounts.userName(uid),
    group: accounts.groupName(gid),
    mtimeNs,
    size,
  };
  const ranges = asBuffer(result.ranges);
  for (let index = 0; index * rangeBytes < ranges.length; index++)
    facts.use(rangePack(ranges, index), rangeLength(ranges, index));
  const noTimes = { mtimeSeconds: 0, mtimeNanoseconds: 0, ctimeSeconds: 0, ctimeNanoseconds: 0 };
  draft.add(treeLines(entry, ranges), unsettled({ mode: streamMode, size, ...noTimes, inode: 0 }));
  counts.filesNew++;
  counts.contentBytes += size;
  counts.bytesRead += result.bytesRead;
  counts.bytesNew += result.bytesNew;
  observer.onProgress(0, 1);
}
