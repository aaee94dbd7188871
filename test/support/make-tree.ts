import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';

/** True where devices, other owners and trusted attributes can be made. */
export const isRoot: boolean = process.getuid?.() === 0;

// Made with the system's own programs, so that a mistake in our system calls cannot hide on both sides of a comparison.
const script = String.raw`
umask 022
mkdir -p plain/empty-directory special links names odd deep sparse attributes
printf 'hello\n' > plain/file
: > plain/empty
head -c 300000 /dev/urandom > plain/random
head -c 1500000 /dev/zero | tr '\0' 'x' > plain/compressible
printf 'exactly' > 'plain/-leading-dash'

truncate -s 5M sparse/only-a-hole
printf 'start' > sparse/data-and-holes
truncate -s 1M sparse/data-and-holes
printf 'middle' >> sparse/data-and-holes
truncate -s 3M sparse/data-and-holes
printf 'end' >> sparse/data-and-holes

printf 'linked' > links/first
ln links/first links/second
ln links/first plain/third
ln -s first links/relative
ln -s nowhere/at/all links/dangling
ln -s /etc/passwd links/absolute
ln -s .. links/up
ln -s $'bytes \xff\xfe' links/odd-target
ln -s "$(printf 'x%.0s' {1..1000})" links/long-target
ln -P links/relative links/relative-again

mkfifo special/fifo
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("special/socket")'

printf 1 > $'names/not-utf8-\xff\xfe'
printf 2 > $'names/new\nline'
printf 3 > 'names/two  spaces '
printf 4 > 'names/"quotes" and \backslash'
printf 5 > 'names/é-composed-ü'
printf 6 > "names/$(printf 'n%.0s' {1..255})"
mkdir $'names/directory-\xe9'
printf 7 > $'names/directory-\xe9/inside'
mkdir 'names/a' && printf 8 > names/a/z && printf 9 > names/a.txt && printf 10 > names/a-b
printf 11 > 'names/*' && printf 12 > 'names/!bang' && printf 13 > 'names/#hash' && printf 14 > 'names/[x]'

level=deep
for i in 1 2 3 4 5 6; do level=$level/$(printf "d$i%.0s" {1..30}); done
mkdir -p "$level" && printf deep > "$level/file"

printf m > odd/no-rights && chmod 0000 odd/no-rights
printf m > odd/write-only && chmod 0200 odd/write-only
printf m > odd/setuid && chmod 4755 odd/setuid
printf m > odd/setgid && chmod 2755 odd/setgid
printf m > odd/sticky && chmod 1644 odd/sticky
mkdir odd/read-only-directory && printf r > odd/read-only-directory/file && chmod 0555 odd/read-only-directory
mkdir odd/setgid-directory && chmod 2775 odd/setgid-directory
mkdir odd/sticky-directory && chmod 1777 odd/sticky-directory

printf x > attributes/user && setfattr -n user.salvage -v value attributes/user
setfattr -n user.binary -v 0x00ff00fe attributes/user
setfattr -n user.empty attributes/user
printf x > attributes/acl && setfacl -m u:1:rw,g:2:r attributes/acl
printf x > attributes/read-only && setfattr -n user.x -v y attributes/read-only && chmod 0444 attributes/read-only
mkdir attributes/directory && setfattr -n user.directory -v yes attributes/directory
setfacl -m u:1:rwx -d -m u:3:rx attributes/directory
printf x > attributes/directory/inherits
mkdir attributes/directory/below

if [ "$(id -u)" = 0 ]; then
  mknod special/null c 1 3
  mknod special/block b 7 200
  mknod special/large-minor c 240 70000
  printf o > odd/big-owner && chown 3000000000:3000000001 odd/big-owner
  printf o > odd/owned-setuid && chown 1:2 odd/owned-setuid && chmod 6755 odd/owned-setuid
  mkdir odd/owned-directory && chown 1:2 odd/owned-directory && chmod 2750 odd/owned-directory
  printf o > odd/owned-directory/file && chown 3:4 odd/owned-directory/file
  ln -s x links/owned && chown -h 5:6 links/owned
  chown 7:8 special/fifo
  setfattr -n trusted.salvage -v root attributes/user
  setfattr -h -n trusted.link -v link links/owned
  cp /bin/true odd/capable && setcap cap_net_raw+ep odd/capable 2>/dev/null || true
fi

touch -d '@1234567890.123456789' plain/file
touch -d '@-1000000.000000001' plain/empty
touch -d '@-1' plain/empty-directory
touch -d '@4000000000.999999999' plain/random
touch -h -d '@1000000000.000000007' links/dangling
touch -d '@1600000000.5' special/fifo
touch -d '@0' names/a
touch -d '@1500000000.123456780' deep plain names odd .
`;

/**
 * Fills a new directory with one of everything: files empty, sparse and hard-linked, symlinks dangling and with odd
 * targets, fifo, socket, devices (as root), extended attributes, ACLs, capabilities, names that are not UTF-8 or need quoting, long paths, times with
 * nanoseconds and before 1970, odd modes, setuid, owners beyond 2^31 (as root). Needs bash, python3, attr and acl.
 */
export function makeTree(directory: string): void {
  mkdirSync(directory, { recursive: true });
  const { status, stderr } = spawnSync('bash', ['-euc', script], {
    cwd: directory,
    encoding: 'utf8',
    env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8' },
  });
  if (status !== 0) throw new Error(`making the test tree failed: ${stderr}`);
}
