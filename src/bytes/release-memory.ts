/**
 * Gives the memory behind bytes back at once and not when the garbage collector gets to it: a thread that fills large
 * buffers in a loop would hold several times what it needs. Only for bytes whose memory nobody else looks at; it is gone
 * then, for all views of it. Small buffers, which share Node's pool, are left alone.
 */
export function releaseMemory({ buffer }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength > Buffer.poolSize) buffer.transfer(0);
}
