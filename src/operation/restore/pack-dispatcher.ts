import { SalvageError } from '../../errors/salvage-error.ts';
import type { TargetDirectory } from '../../posix/target-directory.ts';
import type { PackId } from '../../repository/ids.ts';
import { digestInName, packName } from '../../repository/layout.ts';
import type { OpenSnapshot } from '../open-snapshot.ts';
import type { SealedObjects } from '../reading/sealed-objects.ts';
import type { WorkerPool } from '../worker/worker-pool.ts';
import { readFileBatch, type BatchFile, type FileBatchWriter, type PlacedRange } from './file-batch.ts';
import { isObjectTrouble } from './object-trouble.ts';
import type { LostFile, PackJob, RestoreAnswer, RestoreJob } from './restore-messages.ts';
import type { RestoreReport } from './restore-report.ts';
import type { SpreadFiles } from './spread-files.ts';

export interface PackDispatcherOptions {
  readonly snapshot: OpenSnapshot;
  readonly objects: SealedObjects;
  readonly pool: WorkerPool<RestoreJob, RestoreAnswer>;
  readonly target: TargetDirectory;
  readonly spreads: SpreadFiles;
  readonly report: RestoreReport;
  /** The largest pack that a thread may hold as a whole. */
  readonly wholePackBytes: number;
  /** Each reading is a request that travels. */
  readonly isRemote: boolean;
  /** Storage may have an older version of an object that is damaged now. */
  readonly hasVersions: boolean;
  readonly signal?: AbortSignal;
}

/** A part of a pack this small is rather read by frames than hashed with the rest, where the storage is near. */
const worthReadingWhole = 0.75;

/**
 * Has files restored, pack after pack, by the threads of a pool. What a pack has lost is looked for in its older versions
 * and in other packs.
 */
export class PackDispatcher {
  readonly #options: PackDispatcherOptions;

  constructor(options: PackDispatcherOptions) {
    this.#options = options;
  }

  /** These packs will be needed. */
  expect(packs: Iterable<number>): void {
    const { snapshot, objects } = this.#options;
    const ids = Array.from(packs, (number) => snapshot.packs.idOf(number)!);
    objects.expect(ids.filter((pack) => snapshot.lists(pack)).map(packName));
  }

  /** Returns when a thread has the pack; `done` when all that could be restored is. */
  async begin(number: number, writer: FileBatchWriter): Promise<{ readonly done: Promise<void> }> {
    await this.#options.pool.ready();
    const batch = writer.finish();
    const pack = this.#options.snapshot.packs.idOf(number)!;
    const job = await this.#job(pack, writer.contentBytes, batch);
    const done = 'kind' in job ? this.#carryOut(job, batch) : this.#takeHealed(job, pack);
    return { done };
  }

  /** The job for a thread, or the answer if the pack cannot be opened. */
  async #job(
    pack: PackId,
    wantedBytes: number,
    batch: Uint8Array<ArrayBuffer>,
  ): Promise<PackJob | RestoreAnswer> {
    const { snapshot, objects, isRemote, wholePackBytes } = this.#options;
    try {
      if (!snapshot.lists(pack))
        throw new SalvageError(
          'damaged',
          `Cannot trust "${packName(pack)}": the signed list does not have it`,
        );
      const { head, name, sizeBytes, headerBytes, fileKey } = await objects.open(packName(pack));
      // Taken whole, the stored bytes are hashed; by frames, the wanted ones are: whichever is less. From afar, what
      // counts is the bytes on the way.
      const isWorthIt = wantedBytes >= sizeBytes * (isRemote ? 1 : worthReadingWhole);
      return {
        kind: 'pack',
        pack,
        digest: digestInName(name) ?? pack,
        object: { name, sizeBytes, headerBytes, fileKey },
        head: Uint8Array.from(head.subarray(0, headerBytes + 16)),
        whole: isWorthIt && sizeBytes <= wholePackBytes,
        batch,
      };
    } catch (error) {
      if (!isObjectTrouble(error)) throw error;
      const { code, message } = error;
      const lost = [...readFileBatch(batch)].map(({ entry, spread }) => ({
        path: Uint8Array.from(entry.path),
        spread: spread?.number,
        code,
        message,
      }));
      const nothing = { files: 0, kept: 0, bytes: 0, problems: [], fatal: undefined };
      return { ...nothing, lost, damage: message, batch: snapshot.lists(pack) ? batch : undefined };
    }
  }

  async #carryOut(job: PackJob, batch: Uint8Array<ArrayBuffer>): Promise<void> {
    const { pool, objects, hasVersions } = this.#options;
    const { pack } = job;
    const answer = await pool.run(job, [batch.buffer]);
    const { kept, problems, batch: spare } = answer;
    if (!spare || !hasVersions || !(await objects.recover(packName(pack))))
      return await this.#takeHealed(answer, pack);
    const again = await this.#job(pack, Infinity, spare);
    const second = 'kind' in again ? await pool.run(again) : again;
    // What the first attempt wrote the second one keeps, or writes again.
    const files = second.files + second.kept - kept;
    await this.#takeHealed({ ...second, files, kept, problems: [...problems, ...second.problems] }, pack);
  }

  /** Takes an answer after having looked in other packs for what is lost with this one. */
  async #takeHealed(answer: RestoreAnswer, pack: PackId): Promise<void> {
    const { batch } = answer;
    const lost = new Map(
      answer.lost.filter(({ code }) => code === 'damaged').map((file) => [keyOfLost(file), file]),
    );
    if (!batch || lost.size === 0) {
      this.#take(answer);
      return;
    }
    const healed = new Set<LostFile>();
    let { files, kept, bytes } = answer;
    for (const file of readFileBatch(batch)) {
      this.#options.signal?.throwIfAborted();
      const entry = lost.get(keyOfLost({ path: file.entry.path, spread: file.spread?.number }));
      if (!entry) continue;
      try {
        const outcome = await this.#writeFromElsewhere(file, packName(pack));
        if (outcome === 'nowhere') continue;
        healed.add(entry);
        if (outcome === 'kept') kept++;
        else {
          if (!file.spread) files++;
          for (const { length } of file.ranges) bytes += length;
        }
      } catch (error) {
        if (!isObjectTrouble(error)) throw error;
      }
    }
    this.#take({ ...answer, files, kept, bytes, lost: answer.lost.filter((file) => !healed.has(file)) });
  }

  async #writeFromElsewhere(
    { entry, ranges, spread }: BatchFile,
    pack: string,
  ): Promise<'written' | 'kept' | 'nowhere'> {
    const { objects, target } = this.#options;
    const read = async ({ offset, length, digest }: PlacedRange): Promise<Uint8Array> =>
      (await objects.readElsewhere(pack, length, digest)) ??
      (await objects.readBlob(pack, offset, length, digest));
    const [first] = ranges;
    // Where the first is nowhere, most likely nothing is: nothing is begun then.
    if (!(await objects.readElsewhere(pack, first!.length, first!.digest))) return 'nowhere';
    const file = spread ? target.resumeFile(entry, spread.suspended) : target.createFile(entry);
    if (!file) return 'kept';
    try {
      for (const range of ranges) {
        const blob = await read(range);
        for (const { start, length, position } of range.pieces ?? [
          { start: 0, length: range.length, position: range.position },
        ])
          file.write(blob.subarray(start, start + length), position);
      }
    } catch (error) {
      if (spread) file.suspend();
      else file.abandon();
      throw error;
    }
    if (spread) file.suspend();
    else file.finish();
    return 'written';
  }

  #take(answer: RestoreAnswer): void {
    const { report, spreads, signal } = this.#options;
    // What a worker could not read then is not lost: nobody waited for it.
    signal?.throwIfAborted();
    const { files, kept, bytes, lost, problems, damage, fatal } = answer;
    report.summary.files += files;
    report.summary.kept += kept;
    report.summary.bytes += bytes;
    for (const { path, what, message } of problems)
      report.problem({ path: Buffer.from(path), what, message });
    if (damage !== undefined) report.damage(damage);
    for (const file of lost) {
      if (file.spread === undefined) report.loseBecause(Buffer.from(file.path), file);
      else spreads.fail(file.spread, file);
    }
    if (fatal !== undefined) throw new SalvageError('failed', fatal);
    report.progress(bytes, files);
  }
}

function keyOfLost({ path, spread }: Pick<LostFile, 'path' | 'spread'>): string {
  return spread === undefined ? Buffer.from(path).toString('latin1') : `/${spread}`;
}
