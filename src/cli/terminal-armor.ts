import { concatBytes } from '../bytes/bytes.ts';

const endLine = '-----END AGE ENCRYPTED FILE-----\n';
const maxBytes = 16 * 1024 * 1024;

/**
 * Reads what is pasted into a terminal up to the END line of an armored file, or to Ctrl-D, before anything is asked or
 * shown: else the question would stand in the middle of it.
 */
export async function* readArmorFromTerminal(
  pieces: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, void> {
  let read: Uint8Array = new Uint8Array(0);
  for await (const piece of pieces) {
    read = concatBytes([read, piece]);
    const tail = Buffer.from(read.subarray(-(piece.length + endLine.length))).toString('latin1');
    if (tail.includes(endLine) || read.length > maxBytes) break;
  }
  yield read;
}
