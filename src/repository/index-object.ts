import * as v from 'valibot';
import { asBuffer, utf8Bytes } from '../bytes/bytes.ts';
import { damagedObject } from './damage.ts';
import type { PackId } from './ids.ts';
import { countSchema, decodeJson, objectDigestSchema } from './json-document.ts';
import { limits } from './limits.ts';
import { BlobList } from './pack/blob-list.ts';

/** What an index object says of one pack (docs/design/format.md "Index objects"). */
export interface IndexedPack {
  readonly pack: PackId;
  readonly kind: 'content' | 'tree';
  /** Stored size. */
  readonly sizeBytes: number;
  readonly blobs: BlobList;
}

const blobsPerLine = 1024;
const blobMember = /^\["([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])",([1-9]\d{0,6})\]$/;
const packSchema = v.strictObject({
  pack: objectDigestSchema,
  kind: v.picklist(['content', 'tree']),
  size: v.pipe(countSchema, v.maxValue(limits.storedObject)),
  blobs: v.pipe(countSchema, v.maxValue(limits.rawStream)),
});

/** The lines of one pack, one after the other, to be sealed as or in a document: none is longer than 64 KiB. */
export function* encodeIndexedPack({
  pack,
  kind,
  sizeBytes,
  blobs,
}: IndexedPack): Generator<Uint8Array<ArrayBuffer>> {
  yield utf8Bytes(`${JSON.stringify({ pack, kind, size: sizeBytes, blobs: blobs.count })}\n`);
  for (let start = 0; start < blobs.count; start += blobsPerLine) {
    const members: string[] = [];
    for (let index = start; index < Math.min(start + blobsPerLine, blobs.count); index++)
      members.push(`["${blobs.digest(index).toString('base64url')}",${blobs.length(index)}]`);
    yield utf8Bytes(`${members.join(' ')}\n`);
  }
}

/**
 * Reads an index object from pieces of its raw stream of any size: `push` calls back for every pack that is complete.
 * Holds one pack's list at a time. @throws damaged from both methods
 */
export class IndexDecoder {
  readonly #name: string;
  readonly #onPack: (pack: IndexedPack) => void;
  #rest = '';
  #current:
    | {
        readonly pack: PackId;
        readonly kind: 'content' | 'tree';
        readonly size: number;
        readonly blobs: number;
      }
    | undefined;
  #blobs = new BlobList();
  #rawBytes = 0;

  constructor(name: string, onPack: (pack: IndexedPack) => void) {
    this.#name = name;
    this.#onPack = onPack;
  }

  push(raw: Uint8Array): void {
    const lines = (this.#rest + asBuffer(raw).toString('latin1')).split('\n');
    this.#rest = lines.pop()!;
    if (this.#rest.length > limits.line) throw damagedObject(this.#name, 'a line is too long');
    for (const line of lines) this.#take(line);
  }

  finish(): void {
    if (this.#current || this.#rest !== '')
      throw damagedObject(this.#name, 'it ends within the list of a pack');
  }

  #take(line: string): void {
    if (!this.#current) {
      this.#current = decodeJson(packSchema, utf8Bytes(line), 1024, this.#name);
      this.#blobs = new BlobList();
      this.#rawBytes = 0;
    } else {
      for (const member of line.split(' ')) this.#takeBlob(member);
    }
    const { pack, kind, size, blobs } = this.#current;
    if (this.#blobs.count > blobs)
      throw damagedObject(this.#name, `pack ${pack} has more blobs than announced`);
    if (this.#blobs.count < blobs) return;
    this.#onPack({ pack, kind, sizeBytes: size, blobs: this.#blobs });
    this.#current = undefined;
  }

  #takeBlob(member: string): void {
    const match = blobMember.exec(member);
    const length = Number(match?.[2]);
    this.#rawBytes += length;
    if (!match || length > limits.blob || this.#rawBytes > limits.rawStream)
      throw damagedObject(this.#name, `it lists ${JSON.stringify(member.slice(0, 100))} as a blob`);
    this.#blobs.add(Buffer.from(match[1]!, 'base64url'), length);
  }
}
