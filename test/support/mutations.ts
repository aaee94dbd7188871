/** A small seeded generator: the same seed, the same run, so that a failure can be told and repeated. */
export function createRandom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    // Mulberry32.
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const oddBytes = [0x00, 0x0a, 0x0d, 0x20, 0x23, 0x2d, 0x31, 0x3d, 0x3e, 0x41, 0x7f, 0x80, 0xff];

/** One to four changes of a seed: bytes flipped, set, inserted, removed, repeated, cut off, or taken from another seed. */
export function mutate(seeds: readonly Uint8Array[], random: (below: number) => number): Buffer {
  let bytes = Buffer.from(seeds[random(seeds.length)]!);
  for (let changes = 1 + random(4); changes > 0; changes--) {
    const at = random(bytes.length + 1);
    const end = Math.min(bytes.length, at + 1 + random(80));
    const [before, some, rest] = [bytes.subarray(0, at), bytes.subarray(at, end), bytes.subarray(end)];
    switch (random(7)) {
      case 0:
        if (at < bytes.length) bytes[at]! ^= 1 << random(8);
        break;
      case 1:
        if (at < bytes.length) bytes[at] = oddBytes[random(oddBytes.length)]!;
        break;
      case 2:
        bytes = Buffer.concat([before, Buffer.of(oddBytes[random(oddBytes.length)]!), some, rest]);
        break;
      case 3:
        bytes = Buffer.concat([before, rest]);
        break;
      case 4:
        bytes = Buffer.concat([before, ...Array.from({ length: 1 + random(50) }, () => some), rest]);
        break;
      case 5:
        bytes = Buffer.from(before);
        break;
      default: {
        const other = seeds[random(seeds.length)]!;
        const from = random(other.length + 1);
        bytes = Buffer.concat([before, other.subarray(from, from + random(200)), rest]);
      }
    }
  }
  return bytes;
}
