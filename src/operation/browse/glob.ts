import { SalvageError } from '../../errors/salvage-error.ts';

const longest = 4096;

/**
 * A shell pattern over a whole path or name: `*` and `?` do not match a slash, `**` matches anything, `[abc]` and `[!abc]`
 * one character, `\` takes the meaning from the next one. A leading slash of the pattern counts for nothing.
 * @throws usage if it is malformed
 */
export function compileGlob(pattern: string): RegExp {
  const refuse = (state: string): SalvageError =>
    new SalvageError('usage', `Cannot use the pattern "${pattern.slice(0, 200)}": ${state}`);
  if (pattern.length > longest) throw refuse('it is too long');
  const text = pattern.replace(/^\/+/, '');
  let source = '';
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!;
    if (character === '*') {
      const stars = /^\*+/.exec(text.slice(at))![0].length;
      at += stars - 1;
      source += stars > 1 ? '.*' : '[^/]*';
    } else if (character === '?') source += '[^/]';
    else if (character === '[') {
      const [whole, negated, members] = /^\[([!^]?)(\]?[^\]]*)\]/.exec(text.slice(at)) ?? [];
      if (whole === undefined) throw refuse('a "[" has no "]"');
      source += `(?!/)[${negated === '' ? '' : '^'}${members!.replaceAll(/[\\\]^[&]/g, String.raw`\$&`)}]`;
      at += whole.length - 1;
    } else if (character === '\\' && at + 1 < text.length) source += RegExp.escape(text[++at]!);
    else source += RegExp.escape(character);
  }
  try {
    return new RegExp(`^${source}$`, 'su');
  } catch (cause) {
    throw new SalvageError('usage', `Cannot use the pattern "${pattern.slice(0, 200)}": it is malformed`, {
      cause,
    });
  }
}
