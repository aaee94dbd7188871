// How worker threads, which run plain synchronous loops, read objects from a storage, which is asynchronous. Where the
// objects are plain files the worker opens them itself. Else it asks the thread that owns the storage, and sleeps until
// the bytes are there: `ObjectService` answers, `ObjectReader` (object-reader.ts) asks.
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import type { ByteRange, Storage } from '../../storage/storage.ts';

/** What a worker needs to read objects: to be passed in its workerData. */
export type ObjectAccess =
  | { readonly kind: 'folder'; readonly folder: string }
  | { readonly kind: 'ask'; readonly port: MessagePort; readonly answers: Int32Array };

export interface ObjectRequest {
  readonly name: string;
  readonly range: ByteRange;
}

export type ObjectAnswer =
  | { readonly bytes: Uint8Array | undefined }
  | { readonly failure: { readonly code: string; readonly message: string } };

/** The access of one worker, and the ports that must be transferred with it. */
export interface GrantedAccess {
  readonly access: ObjectAccess;
  readonly transfer: readonly MessagePort[];
  close(): void;
}

/** Lets one worker read from the storage. */
export function grantAccess(storage: Storage, signal?: AbortSignal): GrantedAccess {
  if (storage.objectsFolder !== undefined)
    return { access: { kind: 'folder', folder: storage.objectsFolder }, transfer: [], close: () => {} };
  const { port1, port2 } = new MessageChannel();
  const answers = new Int32Array(new SharedArrayBuffer(4));
  const serve = async (request: ObjectRequest): Promise<void> => {
    const reply = await answer(storage, request, signal);
    port1.postMessage(reply, transferable(reply));
    Atomics.add(answers, 0, 1);
    Atomics.notify(answers, 0);
  };
  port1.on('message', (request: ObjectRequest) => {
    void serve(request);
  });
  port1.unref();
  return {
    access: { kind: 'ask', port: port2, answers },
    transfer: [port2],
    close: () => port1.close(),
  };
}

async function answer(
  storage: Storage,
  { name, range }: ObjectRequest,
  signal: AbortSignal | undefined,
): Promise<ObjectAnswer> {
  try {
    return { bytes: await storage.read(name, range, signal) };
  } catch (error) {
    const { message } = error as Error;
    return { failure: { code: (error as { code?: string }).code ?? 'failed', message } };
  }
}

function transferable(reply: ObjectAnswer): ArrayBuffer[] {
  if (!('bytes' in reply) || !reply.bytes) return [];
  const { buffer, byteLength } = reply.bytes;
  // A view of a part (Node's pool, say) is copied.
  return buffer instanceof ArrayBuffer && buffer.byteLength === byteLength ? [buffer] : [];
}
