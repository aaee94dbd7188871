/**
 * POSIX ACLs in their two forms: the extended attribute of Linux (`system.posix_acl_access`, `…_default`; little-endian
 * version 2, then entries of tag, permissions, id) and the text that star, GNU tar and bsdtar keep in the pax records
 * SCHILY.acl.access and SCHILY.acl.default.
 */
export const aclAttributes = {
  'system.posix_acl_access': 'SCHILY.acl.access',
  'system.posix_acl_default': 'SCHILY.acl.default',
} as const;

/** Finds the number of a user or group that an ACL names. Undefined if this host does not know it. */
export type LookUpId = (kind: 'user' | 'group', name: string) => number | undefined;

const tags = [
  [0x01, 'user', false],
  [0x02, 'user', true],
  [0x04, 'group', false],
  [0x08, 'group', true],
  [0x10, 'mask', false],
  [0x20, 'other', false],
] as const;
const noId = 0xffffffff;

/**
 * The text of an ACL attribute, users and groups by number, which every reader takes whatever names it knows.
 * Undefined if the attribute is not an ACL of version 2.
 */
export function formatAcl(attribute: Buffer): string | undefined {
  if (attribute.length < 4 || attribute.length % 8 !== 4 || attribute.readUInt32LE(0) !== 2) return undefined;
  const entries: string[] = [];
  for (let offset = 4; offset < attribute.length; offset += 8) {
    const tag = tags.find(([code]) => code === attribute.readUInt16LE(offset));
    if (!tag) return undefined;
    const permissions = attribute.readUInt16LE(offset + 2);
    const id = tag[2] ? String(attribute.readUInt32LE(offset + 4)) : '';
    entries.push(
      `${tag[1]}:${id}:${['r', 'w', 'x'].map((letter, bit) => (permissions & (4 >> bit) ? letter : '-')).join('')}`,
    );
  }
  return entries.join(',');
}

/**
 * The attribute for an ACL in text form: long (`user:NAME:rwx`) or short (`u:NAME:rwx`), entries parted by commas or
 * new lines, with the number as a fourth field as star writes it, comments after '#'. A name is looked up here first,
 * as with owners, then its number is used. Undefined if the text is no ACL or names someone unknown.
 */
export function parseAcl(text: string, lookUp: LookUpId): Buffer | undefined {
  const entries: [tag: number, permissions: number, id: number][] = [];
  for (const line of text.split(/[,\n]/)) {
    const entry = line.replace(/#.*$/, '').trim();
    if (entry === '') continue;
    const [kind, name = '', letters = '', number = ''] = entry.split(':').map((part) => part.trim());
    // `mask:rwx` and `other:r--` are common short forms.
    const short = /^(m|mask|o|other)$/.test(kind!) && letters === '' && name !== '';
    const permissions = parsePermissions(short ? name : letters);
    const qualified = !short && name !== '';
    const tag = tags.find(([, word, named]) => (word === kind || word[0] === kind) && named === qualified);
    if (!tag || permissions === undefined) return undefined;
    let id: number | undefined = noId;
    if (qualified) {
      id = /^[0-9]+$/.test(name) ? Number(name) : lookUp(tag[1] === 'user' ? 'user' : 'group', name);
      if (id === undefined && /^[0-9]+$/.test(number)) id = Number(number);
      if (id === undefined || id > 0xfffffffe) return undefined;
    }
    entries.push([tag[0], permissions, id]);
  }
  if (entries.length === 0 || entries.length > 8192) return undefined;
  // The kernel demands this order.
  entries.sort((a, b) => a[0] - b[0] || a[2] - b[2]);
  const attribute = Buffer.alloc(4 + 8 * entries.length);
  attribute.writeUInt32LE(2, 0);
  for (const [index, [tag, permissions, id]] of entries.entries()) {
    attribute.writeUInt16LE(tag, 4 + 8 * index);
    attribute.writeUInt16LE(permissions, 6 + 8 * index);
    attribute.writeUInt32LE(id, 8 + 8 * index);
  }
  return attribute;
}

/**
 * The mode of a file with this access ACL. The kernel shows the mask in place of the group's permissions, while some
 * programs, libarchive among them, store the owning group's.
 */
export function modeWithAcl(mode: number, attribute: Buffer): number {
  const permissions = new Map<number, number>();
  for (let offset = 4; offset + 8 <= attribute.length; offset += 8) {
    permissions.set(attribute.readUInt16LE(offset), attribute.readUInt16LE(offset + 2) & 7);
  }
  const [user, owningGroup, mask, other] = [0x01, 0x04, 0x10, 0x20].map((tag) => permissions.get(tag));
  const group = mask ?? owningGroup;
  if (user === undefined || group === undefined || other === undefined) return mode;
  return (mode & 0o7000) | (user << 6) | (group << 3) | other;
}

function parsePermissions(letters: string): number | undefined {
  if (!/^[rwx-]{1,3}$/.test(letters)) return undefined;
  return (letters.includes('r') ? 4 : 0) | (letters.includes('w') ? 2 : 0) | (letters.includes('x') ? 1 : 0);
}
