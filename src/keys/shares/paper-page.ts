import { encodeQR } from 'qr';

/** One page to print: what it is, how it is used, and the same content three times, to scan, to copy and to type. */
export interface PaperPage {
  readonly title: string;
  /** Name and value of what identifies it. */
  readonly facts: readonly (readonly [name: string, value: string])[];
  /** What to do, one paragraph each. */
  readonly advice: readonly string[];
  /** What the QR code holds. */
  readonly code: string;
  /** The same as lines to copy. */
  readonly textLines: readonly string[];
  /** The same as words to type; see word-lines.ts. */
  readonly wordLines: readonly string[];
}

const textHeading = 'Text';
const wordsHeading = 'Words, to be typed line by line';

/** A page of HTML without scripts or anything from elsewhere. */
export function renderHtmlPage(page: PaperPage): string {
  const { title, facts, advice, code, textLines, wordLines } = page;
  const rows = facts.map(([name, value]) => `<tr><th>${escapeHtml(name)}<td>${escapeHtml(value)}\n`);
  const block = (lines: readonly string[]): string => `<pre>\n${escapeHtml(lines.join('\n'))}\n</pre>`;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escapeHtml(title)}</title>
<style>
  body { font: 11pt/1.35 sans-serif; max-width: 180mm; margin: 8mm auto; color: #000; background: #fff }
  h1 { font-size: 16pt; margin: 0 0 3mm } h2 { font-size: 11pt; margin: 4mm 0 1mm }
  th { text-align: left; padding-right: 4mm; font-weight: normal } td { font-family: monospace; overflow-wrap: anywhere }
  svg { float: right; width: 62mm; height: 62mm; margin: 0 0 3mm 5mm }
  pre { font: 9.5pt/1.3 monospace; margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; clear: both }
  @page { size: A4; margin: 12mm }
</style>
<h1>${escapeHtml(title)}</h1>
${encodeQR(code, 'svg', { ecc: 'medium' })}
<table>
${rows.join('')}</table>
${advice.map((paragraph) => `<p>${escapeHtml(paragraph)}\n`).join('')}
<h2>${textHeading}</h2>
${block(textLines)}
<h2>${wordsHeading}</h2>
${block(wordLines)}
</html>
`;
}

/** The same page as plain text, its QR code drawn with characters. */
export function renderTextPage(page: PaperPage): string {
  const { title, facts, advice, code, textLines, wordLines } = page;
  const width = Math.max(...facts.map(([name]) => name.length)) + 2;
  return [
    title,
    '='.repeat(title.length),
    '',
    ...facts.map(([name, value]) => `${name.padEnd(width)}${value}`),
    '',
    ...advice.flatMap((paragraph) => [...wrap(paragraph, 78), '']),
    textHeading,
    '',
    ...textLines,
    '',
    wordsHeading,
    '',
    ...wordLines,
    '',
    ...drawCode(code),
    '',
  ].join('\n');
}

/** Dark modules are drawn: right on paper, where ink is dark. Two rows to a line. */
function drawCode(code: string): string[] {
  const rows = encodeQR(code, 'raw', { ecc: 'medium', border: 2 });
  const lines: string[] = [];
  for (let row = 0; row < rows.length; row += 2) {
    const upper = rows[row]!;
    const lower = rows[row + 1];
    lines.push(upper.map((dark, at) => blocks[Number(dark) * 2 + Number(lower?.[at] ?? false)]).join(''));
  }
  return lines;
}
const blocks = [' ', '▄', '▀', '█'] as const;

/** In groups that the eye can keep, so many to a line. */
export function groupText(text: string, groupLength: number, groupsPerLine: number): string[] {
  const groups = text.match(new RegExp(`.{1,${groupLength}}`, 'g')) ?? [];
  const lines: string[] = [];
  for (let at = 0; at < groups.length; at += groupsPerLine)
    lines.push(groups.slice(at, at + groupsPerLine).join(' '));
  return lines;
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line += line === '' ? word : ` ${word}`;
  }
  return [...lines, line];
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
