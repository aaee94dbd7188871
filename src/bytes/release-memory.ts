/**
 * Gives the memory behind bytes back at once and not when the garbage collector gets to it: a thread that fills large
 * buffers in a loop would hold several times what it needs. Only for bytes whose memory nobody else looks at; it is gone
 * then, for all views of it. What may be a part of Node's pool, which others share, is left alone.
 */
export function releaseMemory({ buffer, byteLength }: Uint8Array): void {
  // Node takes nothing from its pool that is half as large as the pool.
  const isOwn = byteLength >= Buffer.poolSize / 2 || buffer.byteLength > Buffer.poolSize;
  if (isOwn && buffer instanceof ArrayBuffer) buffer.transfer(0);
}
