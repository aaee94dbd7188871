// Whole tar streams in memory, for tests.
import type { FileEntry } from '../../src/posix/file-entry.ts';
import { dataExtents } from '../../src/posix/holes.ts';
import { encodeHeaderBlock, paddingAfter } from '../../src/tar/tar-header.ts';
import { TarReader, type TarEntry } from '../../src/tar/tar-reader.ts';
import { encodeTarHeader, endOfArchive } from '../../src/tar/tar-writer.ts';

export interface ReadMember {
  readonly entry: TarEntry;
  readonly content: Buffer;
}

/** A file entry with everything usual but what is given. */
export function entryOf(given: Partial<Omit<FileEntry, 'path'>> & { path: string | Buffer }): FileEntry {
  return {
    type: 'file',
    mode: 0o644,
    uid: 1000,
    gid: 1000,
    user: 'ada',
    group: 'users',
    mtimeNs: 1_700_000_000_000_000_000n,
    size: 0,
    ...given,
    path: Buffer.from(given.path),
  };
}

/** An archive of these members, as our writer makes it. */
export function writeTar(members: readonly (readonly [FileEntry, (string | Buffer)?])[]): Buffer {
  const parts = members.flatMap(([given, text = '']) => {
    const content = Buffer.from(text);
    const entry = { ...given, size: given.type === 'file' ? content.length : 0 };
    const data = [...dataExtents(entry.size, entry.holes ?? [])].map(([offset, length]) =>
      content.subarray(offset, offset + length),
    );
    const stored = data.reduce((sum, { length }) => sum + length, 0);
    return [encodeTarHeader(entry), ...data, Buffer.alloc(paddingAfter(stored))];
  });
  return Buffer.concat([...parts, endOfArchive]);
}

/** All members of a tar stream, pushed in pieces of the given size. Throws what the reader throws. */
export function readTar(stream: Buffer, piece: number = stream.length): ReadMember[] {
  const members: ReadMember[] = [];
  let open: { entry: TarEntry; parts: [number, Buffer][] } | undefined;
  const reader = new TarReader({
    entry(entry) {
      open = { entry, parts: [] };
    },
    data(bytes, offset) {
      open!.parts.push([offset, Buffer.from(bytes)]);
    },
    end() {
      const { entry, parts } = open!;
      const content = Buffer.alloc(Math.min(entry.size, 1 << 24));
      for (const [offset, bytes] of parts) bytes.copy(content, offset);
      members.push({ entry, content });
    },
  });
  for (let offset = 0; offset < stream.length; offset += piece) {
    reader.push(stream.subarray(offset, offset + piece));
  }
  reader.finish();
  return members;
}

/** A bare header block with any type and size, and what follows it: for what our own writer would never write. */
export function rawMember(
  { name, type = '0', linkname = '' }: { name: string; type?: string; linkname?: string },
  content: string | Buffer = '',
  announcedSize?: number,
): Buffer {
  const bytes = Buffer.from(content);
  const header = encodeHeaderBlock({
    name: Buffer.from(name),
    prefix: Buffer.alloc(0),
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: announcedSize ?? bytes.length,
    mtime: 0,
    type,
    linkname: Buffer.from(linkname),
    user: Buffer.alloc(0),
    group: Buffer.alloc(0),
    deviceMajor: 0,
    deviceMinor: 0,
  });
  return Buffer.concat([header, bytes, Buffer.alloc(paddingAfter(bytes.length))]);
}
