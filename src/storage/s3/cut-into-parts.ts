/** Groups views of `body` into parts of `partBytes` each; the last one may be smaller. Nothing is copied. */
export function* cutIntoParts(
  body: readonly Uint8Array[],
  partBytes: number,
): Generator<readonly Uint8Array[]> {
  let part: Uint8Array[] = [];
  let room = partBytes;
  for (const bytes of body)
    for (let offset = 0; offset < bytes.length;) {
      const piece = bytes.subarray(offset, offset + room);
      part.push(piece);
      offset += piece.length;
      room -= piece.length;
      if (room > 0) continue;
      yield part;
      part = [];
      room = partBytes;
    }
  if (part.length > 0) yield part;
}

/** The same for bytes that come one after the other and may be reused by who brings them: each part is a new buffer. */
export async function* gatherParts(
  body: AsyncIterable<Uint8Array>,
  partBytes: number,
): AsyncGenerator<readonly Uint8Array[]> {
  let part = Buffer.allocUnsafeSlow(partBytes);
  let filled = 0;
  for await (const bytes of body)
    for (let offset = 0; offset < bytes.length;) {
      const piece = bytes.subarray(offset, offset + partBytes - filled);
      part.set(piece, filled);
      filled += piece.length;
      offset += piece.length;
      if (filled < partBytes) continue;
      yield [part];
      part = Buffer.allocUnsafeSlow(partBytes);
      filled = 0;
    }
  if (filled > 0) yield [part.subarray(0, filled)];
}
