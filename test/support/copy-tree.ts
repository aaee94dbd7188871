import { TargetDirectory } from '../../src/posix/target-directory.ts';
import type { Outcome, TargetOptions } from '../../src/posix/target-directory.ts';
import { dataExtents } from '../../src/posix/holes.ts';
import { SourceFile } from '../../src/source/source-file.ts';
import { planRoots } from '../../src/source/source-roots.ts';
import { Walk } from '../../src/source/walk.ts';
import type { WalkOptions } from '../../src/source/walk.ts';

/** What became of the entries, and everything that was reported or thrown, as text. */
export interface CopyResult {
  readonly outcomes: Record<Outcome, number>;
  readonly problems: string[];
}

/** Copies a directory with nothing but our own reading and writing of trees between the two. */
export function copyTree(
  from: string,
  to: string,
  options: { readonly target?: Partial<TargetOptions>; readonly walk?: Partial<WalkOptions> } = {},
): CopyResult {
  const outcomes = { made: 0, replaced: 0, kept: 0 };
  const problems: string[] = [];
  const walk = new Walk({
    roots: planRoots([from]),
    onProblem: ({ path, what, message }) => problems.push(`${path.toString('latin1')}: ${what}: ${message}`),
    ...options.walk,
  });
  const target = TargetDirectory.open(to, {
    overwrite: 'never',
    allowDevices: true,
    onProblem: ({ path, what, message }) => problems.push(`${path.toString('latin1')}: ${what}: ${message}`),
    ...options.target,
  });
  const file = new SourceFile();
  const piece = Buffer.alloc(65_536);
  const prefix = from.slice(1);
  while (walk.next()) {
    if (!walk.path.startsWith(prefix)) continue;
    try {
      const outcome = walk.type === 'file' ? copyFile() : target.make(strip(walk.entry()!));
      outcomes[outcome]++;
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
    }
  }
  target.close();
  return { outcomes, problems };

  function strip<T extends { readonly path: Buffer; readonly target?: Buffer; readonly type: string }>(
    entry: T,
  ): T {
    const cut = (path: Buffer): Buffer =>
      path.length === prefix.length ? Buffer.from('.') : path.subarray(prefix.length + 1);
    const { target: text } = entry;
    return {
      ...entry,
      path: cut(entry.path),
      ...(text && entry.type === 'hardlink' && { target: cut(text) }),
    };
  }

  function copyFile(): Outcome {
    file.open(walk.realPath, walk.status);
    try {
      const entry = strip(walk.entry({ status: file.status, xattrs: file.xattrs(), holes: file.holes() })!);
      if (entry.size <= piece.length && !entry.holes)
        return target.writeFile(entry, piece.subarray(0, file.read(piece, 0)));
      const made = target.createFile(entry);
      if (!made) return 'kept';
      for (const [offset, length] of dataExtents(entry.size, entry.holes ?? []))
        for (let done = 0; done < length;) {
          const count = file.read(piece.subarray(0, Math.min(piece.length, length - done)), offset + done);
          made.write(piece.subarray(0, count), offset + done);
          done += count;
        }
      made.finish();
      return made.isTemporary ? 'replaced' : 'made';
    } finally {
      file.close();
    }
  }
}
