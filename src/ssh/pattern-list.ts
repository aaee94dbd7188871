/**
 * Whether the text matches a comma-separated list of patterns: `*` stands for any text, `?` for one character, and a
 * pattern after `!` that matches rules the text out whatever the others say (ssh_config(5), PATTERNS).
 */
export function matchesPatternList(text: string, patternList: string): boolean {
  let found = false;
  for (const item of patternList.split(',')) {
    const negated = item.startsWith('!');
    if (!matchesPattern(text, negated ? item.slice(1) : item)) continue;
    if (negated) return false;
    found = true;
  }
  return found;
}

/** Takes time proportional to text × pattern at worst: only the last `*` is ever tried again. */
function matchesPattern(text: string, pattern: string): boolean {
  let textAt = 0;
  let patternAt = 0;
  let star = -1;
  let starTextAt = 0;
  while (textAt < text.length) {
    if (pattern[patternAt] === '*') {
      star = patternAt++;
      starTextAt = textAt;
    } else if (pattern[patternAt] === '?' || pattern[patternAt] === text[textAt]) {
      patternAt++;
      textAt++;
    } else if (star >= 0) {
      patternAt = star + 1;
      textAt = ++starTextAt;
    } else return false;
  }
  while (pattern[patternAt] === '*') patternAt++;
  return patternAt === pattern.length;
}
