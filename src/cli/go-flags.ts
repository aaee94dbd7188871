import type { Command } from 'commander';

/**
 * Rewrites arguments in the style of Go's flag package, which age, age-keygen and age-inspect use, into the style that
 * commander reads: `-recipient X`, `-pq`, `--r X`, `-o=FILE`, `-a=false`. What `program` does not know stays as it is.
 */
export function rewriteGoFlags(program: Command, args: readonly string[]): string[] {
  const rewritten: string[] = [];
  for (let at = 0; at < args.length; at++) {
    const argument = args[at]!;
    if (argument === '--') return [...rewritten, ...args.slice(at)];
    const [, name, value] = /^--?([^-=][^=]*)(?:=(.*))?$/s.exec(argument) ?? [];
    const option = program.options.find(({ short, long }) => `-${name}` === short || `--${name}` === long);
    if (option === undefined) {
      rewritten.push(argument);
      continue;
    }
    const flag = (option.short ?? option.long)!;
    if (!option.required) {
      // A boolean may be spelled out, and switched off.
      if (value === undefined || /^(1|t|true)$/i.test(value)) rewritten.push(flag);
      else if (!/^(0|f|false)$/i.test(value)) rewritten.push(argument);
      continue;
    }
    rewritten.push(flag);
    if (value !== undefined) rewritten.push(value);
    else if (at + 1 < args.length) rewritten.push(args[++at]!);
  }
  return rewritten;
}
