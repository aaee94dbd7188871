// A tree with everything that an archive must keep, and a description of a tree by a program that is not ours.
import type { Sandbox } from './cli.ts';

const isRoot = process.getuid?.() === 0;

const makeTree = `
mkdir -p "$1" && cd "$1"
printf 'hello\\n' > file
: > empty
mkdir empty-dir
printf x > 'name with spaces and "quotes"'
printf x > 'größe'
printf x > "$(printf 'not-utf8-\\377\\376')"
printf x > "$(printf 'control-\\033[31m\\nred')"
long=$(printf 'd%.0s' $(seq 120))
mkdir -p "$long/$long/$long"
printf deep > "$long/$long/$long/leaf"
printf x > "$(printf 'n%.0s' $(seq 255))"
ln -s file symlink
ln -s "$long/$long/$long/leaf" long-symlink
ln -s /nowhere/../at/all dangling
ln file hardlink
ln "$long/$long/$long/leaf" hardlink-to-long
mkfifo fifo
truncate -s 3M sparse
printf middle | dd of=sparse bs=1 seek=1500000 conv=notrunc status=none
truncate -s 1M only-hole
head -c 2500000 /dev/urandom > large
head -c 512 /dev/zero > block
chmod 4711 block
chmod 0400 empty
chmod 1777 empty-dir
setfattr -n user.text -v value file
setfattr -n user.binary -v 0x00ff0a3d file
setfattr -n user.on-dir -v x empty-dir
setfacl -m u:1234:rwx,g:daemon:r-x large
setfacl -d -m u:1234:r-x,g::r-x empty-dir
touch -d '2001-02-03 04:05:06.123456789' file
touch -h -d '1999-12-31 23:59:59.5' symlink
touch -d '1965-01-01 00:00:00' empty
touch -d '2300-01-01 00:00:00.25' block
`;
const makeRootTree = `
cd "$1"
mknod char-device c 1 3
mknod block-device b 259 300000
chown 3000000:4000000 empty
chown daemon:bin large
setfacl -m u:1234:rwx,g:daemon:r-x large
chown -h 12:34 symlink
touch -d '2020-01-01 00:00:00.000000001' "$(printf 'd%.0s' $(seq 120))" empty-dir
`;

/** Builds the tree at a path; devices and foreign owners only as root. */
export async function makeOddTree(sandbox: Sandbox, path: string): Promise<void> {
  for (const script of isRoot ? [makeTree, makeRootTree] : [makeTree]) {
    const { code, stderr } = await sandbox.program('/bin/bash', ['-eu', '-c', script, 'make-tree', path]);
    if (code !== 0) throw new Error(stderr);
  }
}

const describe = `
import hashlib, os, stat, sys
top = os.fsencode(sys.argv[1])
fields = sys.argv[2].split(',')
first = {}
for folder, folders, names in os.walk(top):
    folders.sort()
    for name in [b'.'] * (folder == top) + sorted(folders + names):
        path = os.path.join(folder, name)
        s = os.lstat(path)
        kind = stat.S_IFMT(s.st_mode)
        line = [repr(os.path.relpath(path, top)), oct(kind)]
        if 'mode' in fields and kind != stat.S_IFLNK: line.append(oct(stat.S_IMODE(s.st_mode)))
        if 'owner' in fields: line += [s.st_uid, s.st_gid]
        if 'time' in fields: line.append(s.st_mtime_ns)
        if kind == stat.S_IFREG:
            data = open(path, 'rb').read()
            line += [s.st_size, hashlib.sha256(data).hexdigest()]
            line.append('sparse' if s.st_blocks * 512 + 65536 < s.st_size else 'full')
        if kind == stat.S_IFLNK: line.append(os.readlink(path))
        if kind in (stat.S_IFCHR, stat.S_IFBLK): line += [os.major(s.st_rdev), os.minor(s.st_rdev)]
        if kind != stat.S_IFDIR and s.st_nlink > 1:
            line.append('same as ' + repr(first.setdefault((s.st_dev, s.st_ino), line[0])))
        if 'xattrs' in fields and kind in (stat.S_IFREG, stat.S_IFDIR):
            for key in sorted(os.listxattr(path)): line += [key, os.getxattr(path, key)]
        print(*line)
`;

/** One line for each object below a folder: what Python's os.lstat, os.listxattr and open say of it. */
export async function describeTree(
  sandbox: Sandbox,
  path: string,
  fields: readonly ('mode' | 'owner' | 'time' | 'xattrs')[] = ['mode', 'owner', 'time', 'xattrs'],
): Promise<string[]> {
  const { code, stdout, stderr } = await sandbox.program('python3', ['-c', describe, path, fields.join(',')]);
  if (code !== 0) throw new Error(stderr);
  return stdout.toString('latin1').trimEnd().split('\n');
}
