const zeroWidth = /^[\p{Mn}\p{Me}]$/u;
const doubleWidth =
  /^[\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}\p{Emoji_Presentation}\u3000-\u303e\uff01-\uff60\uffe0-\uffe6]$/u;

/** Columns that the text takes on a terminal: two for East Asian and emoji characters, none for combining marks. */
export function displayWidth(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  let width = 0;
  for (const character of text) {
    if (doubleWidth.test(character)) width += 2;
    else if (!zeroWidth.test(character)) width += 1;
  }
  return width;
}

/** The longest beginning of the text that fits into so many columns. */
export function truncateToWidth(text: string, columns: number): string {
  let width = 0;
  let end = 0;
  for (const character of text) {
    width += displayWidth(character);
    if (width > columns) break;
    end += character.length;
  }
  return text.slice(0, end);
}
