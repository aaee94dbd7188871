import { groupText, type PaperPage } from './paper-page.ts';
import { looksLikeWords, decodeWordLines, encodeWordLines } from './word-lines.ts';
import { decodeShare, encodeShare, formatShare, parseShare, setName, type Share } from './share.ts';

const textStart = 'SALVAGE-SHARE-1';

/** What is known of the key that was split, for people. */
export interface SplitFacts {
  readonly count: number;
  /** Who the key belongs to, as the person who split it names it. */
  readonly name: string;
  /** Its public half, shortened; undefined where it is not known. */
  readonly recipient: string | undefined;
  readonly date: string;
}

export function sharePage(share: Share, { count, name, recipient, date }: SplitFacts): PaperPage {
  const { threshold, index } = share;
  const text = formatShare(share);
  return {
    title: `Share ${index} of ${count} of a private key`,
    facts: [
      ['Key', name],
      ...(recipient === undefined ? [] : [['Public key', recipient] as const]),
      ['Needed', `any ${threshold} of the ${count} shares`],
      ['Set', setName(share)],
      ['Made', date],
    ],
    advice: [
      `Any ${threshold} shares of the set ${setName(share)} give a private key back that opens backups. Fewer tell nothing about it. Keep this page where the others are not, and show it to nobody.`,
      'To use it: type the words or the text into a file, or scan the code into one, do the same with other shares, and run: salvage key join FILE… -o identity.txt. Then restore with -i identity.txt. salvage is free software.',
    ],
    code: text,
    textLines: [textStart, ...groupText(text.slice(textStart.length), 5, 10)],
    wordLines: encodeWordLines(encodeShare(share)),
  };
}

/**
 * All shares in a text: pages as they were written, or what was typed or scanned from them. A share that is there as text and as
 * words counts once, and is read from the text.
 * @throws bad-key if one is mistyped
 */
export function findShares(text: string): Share[] {
  const found = new Map<string, Share>();
  let words: string[] = [];
  let letters: string | undefined;
  const add = (share: Share): void => void found.set(formatShare(share), share);
  const endBlock = (): void => {
    if (letters !== undefined) add(parseShare(letters));
    if (words.length > 0) add(decodeShare(decodeWordLines(words)));
    letters = undefined;
    words = [];
  };
  for (const line of withoutTags(text).split(/\r?\n/)) {
    const compact = line.replaceAll(/\s/g, '');
    if (compact.toUpperCase().startsWith(textStart)) {
      endBlock();
      letters = compact;
    } else if (letters !== undefined && /^[0-9A-Za-z]+$/.test(compact)) letters += compact;
    else if (looksLikeWords(line)) words.push(line);
    else endBlock();
  }
  endBlock();
  return [...found.values()];
}

/** A page of HTML is read like what it shows. */
function withoutTags(text: string): string {
  return text.trimStart().startsWith('<') ? text.replaceAll(/<[^<>]*>/g, '\n') : text;
}
