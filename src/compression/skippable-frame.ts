/** RFC 8878, "Skippable Frames": magic number and size, both 32 bits, little-endian; then what a decoder skips. */
export const skippableHeaderBytes = 8;
/** The magic number of padding; that of the seek table is another of the sixteen. */
const paddingMagic = 0x184d2a50;

/** A skippable frame with `contentBytes` zeros: `skippableHeaderBytes` more than that in all. */
export function paddingFrame(contentBytes: number): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(skippableHeaderBytes + contentBytes);
  const view = new DataView(frame.buffer);
  view.setUint32(0, paddingMagic, true);
  view.setUint32(4, contentBytes, true);
  return frame;
}

/** True if these bytes are one padding frame and nothing else; the content is not looked at. */
export function isPaddingFrame(frame: Uint8Array): boolean {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  return (
    frame.length >= skippableHeaderBytes &&
    view.getUint32(0, true) === paddingMagic &&
    view.getUint32(4, true) === frame.length - skippableHeaderBytes
  );
}
