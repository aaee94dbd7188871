import { randomBytes } from '../../clock/random.ts';
import type { OpenSnapshot } from '../open-snapshot.ts';

export interface SampleLimits {
  /** Content in all. */
  readonly maxBytes: number;
  readonly maxFiles: number;
}

export interface Sample {
  /** Undefined: everything, for it is within the limits. */
  readonly paths: readonly Buffer[] | undefined;
  readonly files: number;
  readonly bytes: number;
  /** In the whole snapshot. */
  readonly allFiles: number;
  readonly allBytes: number;
  /** Device nodes, as text of one byte to a character: nobody makes them unasked. */
  readonly devices: ReadonlySet<string>;
}

interface Candidate {
  readonly lot: number;
  readonly path: Buffer;
  readonly size: number;
}

const lotBytes = 6;

/**
 * Chooses regular files by lot, each as likely as any other, until a limit is reached; or everything, if that is within
 * the limits. Reads the whole tree, and no content. @throws as `readTree`
 */
export async function chooseSample(
  snapshot: OpenSnapshot,
  { maxBytes, maxFiles }: SampleLimits,
  signal: AbortSignal,
): Promise<Sample> {
  const lots = drawLots();
  const devices = new Set<string>();
  let chosen: Candidate[] = [];
  let allFiles = 0;
  let allBytes = 0;
  for await (const { records } of snapshot.readTree({ signal }))
    for (const { entry } of records) {
      if (entry?.type === 'character-device' || entry?.type === 'block-device')
        devices.add(entry.path.toString('latin1'));
      if (entry?.type !== 'file') continue;
      allFiles++;
      allBytes += entry.size;
      if (entry.size > maxBytes) continue;
      chosen.push({ lot: lots.next().value, path: entry.path, size: entry.size });
      if (chosen.length >= 2 * maxFiles + 2) chosen = lowest(chosen, maxFiles);
    }
  if (allFiles <= maxFiles && allBytes <= maxBytes)
    return { paths: undefined, files: allFiles, bytes: allBytes, allFiles, allBytes, devices };
  const paths: Buffer[] = [];
  let bytes = 0;
  for (const { path, size } of lowest(chosen, maxFiles)) {
    if (bytes + size > maxBytes) continue;
    bytes += size;
    paths.push(path);
  }
  return { paths, files: paths.length, bytes, allFiles, allBytes, devices };
}

function lowest(candidates: readonly Candidate[], count: number): Candidate[] {
  return candidates.toSorted((a, b) => a.lot - b.lot).slice(0, count);
}

function* drawLots(): Generator<number, never> {
  for (;;) {
    const bytes = Buffer.from(randomBytes(lotBytes * 512).buffer);
    for (let at = 0; at < bytes.length; at += lotBytes) yield bytes.readUIntLE(at, lotBytes);
  }
}
