import { SalvageError, type ErrorCode } from '../../errors/salvage-error.ts';
import type { Clock } from '../../clock/clock.ts';
import type { Storage } from '../../storage/storage.ts';
import type { OpenSnapshot } from '../open-snapshot.ts';
import type { SealedObjects } from '../reading/sealed-objects.ts';
import { restore } from '../restore/restore.ts';
import { Selection } from '../restore/selection.ts';
import { chooseSample, type SampleLimits } from './choose-sample.ts';
import type { DrillReport } from './drill-report.ts';
import { runCheck } from './run-check.ts';

export interface DrillOptions {
  readonly storage: Storage;
  /** Signature checked, private half open. */
  readonly snapshot: OpenSnapshot;
  readonly objects: SealedObjects;
  /** An empty folder, for the caller to remove. */
  readonly scratch: string;
  readonly limits: SampleLimits;
  readonly maxMs: number;
  /** A command line of sh, run in the folder when all is restored. */
  readonly check?: string | undefined;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface DrillObserver {
  onFinding(message: string): void;
  onTotal(bytes: number, files: number): void;
  onProgress(bytes: number, files: number): void;
}

export interface DrillResult {
  readonly report: DrillReport;
  /** Of the worst finding. */
  readonly code: ErrorCode | undefined;
}

/**
 * Proves that a snapshot can be restored: restores all of it, or files chosen by lot, reads them again, compares each blob
 * with what the tree says of it, and lets the user's own command look at the result.
 * @throws what an identity throws; interrupted; failed if the scratch folder cannot be written
 */
export async function drill(options: DrillOptions, observer: DrillObserver): Promise<DrillResult> {
  const { storage, snapshot, objects, scratch, limits, maxMs, check, clock } = options;
  const startMs = clock.monotonicMs();
  const findings: string[] = [];
  const codes: ErrorCode[] = [];
  const find = (code: ErrorCode, message: string): void => {
    findings.push(message);
    codes.push(code);
    observer.onFinding(message);
  };
  const timeout = new AbortController();
  const timer = setTimeout(() => {
    timeout.abort(
      new SalvageError(
        'failed',
        `Cannot finish the drill: the ${Math.round(maxMs / 1000)} s it may take are over`,
        {
          hint: 'Allow more with --max-time, or less to restore with --max-size.',
        },
      ),
    );
  }, maxMs);
  const signal = AbortSignal.any([options.signal, timeout.signal]);
  let files = 0;
  let bytes = 0;
  let sample: Awaited<ReturnType<typeof chooseSample>> | undefined;
  let checked: DrillReport['check'] = null;
  try {
    sample = await chooseSample(snapshot, limits, signal);
    observer.onTotal(sample.bytes, sample.files);
    const { devices } = sample;
    // No paths would mean everything.
    const isEmpty = sample.paths?.length === 0;
    const summary = isEmpty
      ? { files: 0, bytes: 0 }
      : await restore(
          storage,
          snapshot,
          objects,
          {
            target: scratch,
            selection: new Selection({ paths: sample.paths ?? [] }),
            check: true,
            owners: false,
          },
          {
            onLost({ path, code, message }) {
              if (!devices.has(path.toString('latin1'))) find(code, message);
            },
            // Owners and attributes that nobody but root can set prove nothing.
            onProblem: () => {},
            onDamage: (message) => find('damaged', message),
            onProgress: (bytes, files) => observer.onProgress(bytes, files),
          },
          signal,
        );
    ({ files, bytes } = summary);
    if (isEmpty) find('failed', 'Nothing was restored: every file is larger than what may be restored.');
    if (check !== undefined && findings.length === 0) {
      const failure = await runCheck(check, scratch, signal);
      checked = failure === undefined ? 'passed' : 'failed';
      if (failure !== undefined) find('failed', failure);
    }
  } catch (error) {
    if (options.signal.aborted || !(error instanceof SalvageError)) throw error;
    if (['no-identity-match', 'bad-key'].includes(error.code)) throw error;
    find(error.code, error.message);
  } finally {
    clearTimeout(timer);
  }
  const { signed, root } = snapshot;
  return {
    report: {
      repository: root.repository,
      snapshot: signed.id,
      time: clock.now().toISOString(),
      durationMs: Math.round(clock.monotonicMs() - startMs),
      passed: findings.length === 0,
      scope: sample && !sample.paths ? 'everything' : 'sample',
      files,
      bytes,
      allFiles: sample?.allFiles ?? 0,
      allBytes: sample?.allBytes ?? 0,
      findings,
      check: checked,
    },
    code: codes.find((code) => code === 'damaged') ?? codes[0],
  };
}
