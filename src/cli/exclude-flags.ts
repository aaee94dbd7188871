import type { Command } from 'commander';
import { ExcludeRules } from '../source/exclude-rules.ts';
import { gather } from './option-values.ts';

/** What every command that reads sources may leave out. */
export interface ExcludeFlags {
  readonly exclude?: readonly string[];
  readonly excludeFrom?: readonly string[];
  readonly excludeCaches?: boolean;
  readonly oneFileSystem?: boolean;
}

export interface Excludes {
  readonly excludes: ExcludeRules;
  readonly excludeCaches: boolean;
  readonly oneFileSystem: boolean;
}

export function addExcludeFlags(program: Command): void {
  program
    .option('--exclude <pattern>', 'leave out what PATTERN matches, as in gitignore(5) (repeatable)', gather)
    .option('--exclude-from <file>', 'leave out what the patterns in FILE match (repeatable)', gather)
    .option('--exclude-caches', 'keep only the tag of directories with a CACHEDIR.TAG')
    .option('--one-file-system', 'keep mount points as empty directories');
}

/** Reads the files of patterns. @throws as ExcludeRules */
export function readExcludes(flags: ExcludeFlags): Excludes {
  return {
    excludes: new ExcludeRules([
      ...(flags.exclude ?? []),
      ...(flags.excludeFrom ?? []).flatMap((file) => ExcludeRules.readPatterns(file)),
    ]),
    excludeCaches: flags.excludeCaches ?? false,
    oneFileSystem: flags.oneFileSystem ?? false,
  };
}
