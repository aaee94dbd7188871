#!/usr/bin/env python3
"""Restores a salvage snapshot without salvage: Python >= 3.8, `age` and `zstd`.

  python3 recover.py --repo DIR -i IDENTITY --target OUT latest      (or the name of a snapshot)

Checks the SHA-256 of every object and piece of content; with --allowed-signers FILE --signer HOST also who made the
snapshot (needs ssh-keygen; never take FILE from the repository), with --keeper NAME who rewrapped it for other keys.
`age` runs once per pack: an identity with a passphrase asks each time. Exit status: 0 all restored; 1 failed; 3 but
for what is named on standard error. It does not look for what a host has stored anew of damaged packs: README.txt.
"""
import argparse, base64, contextlib, functools, glob, hashlib, json, os, re, stat, subprocess, sys, tempfile

SPECIAL = {"fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK,
           "character-device": stat.S_IFCHR, "block-device": stat.S_IFBLK}
HEALED = "What the host has stored anew of damaged packs is found by: salvage restore (or by hand, see README.txt)"
Damage = type("Damage", (Exception,), {})
warnings = []


def warn(message):
    warnings.append(message)
    print("recover.py: " + message, file=sys.stderr)


def is_signed(path, namespace, signers, principal):
    command = ["ssh-keygen", "-Y", "verify", "-n", namespace, "-s", path + ".sig", "-f", signers, "-I", principal]
    return subprocess.run(command, stdin=open(path, "rb"), stdout=sys.stderr).returncode == 0


class Repository:
    """Opens objects that the snapshot's SHA256SUMS lists, or what they were rewrapped to, and nothing else."""

    def __init__(self, options, snapshot):
        self.folder, self.identities, self.sums, self.rewrapped = options.repo, options.identity, {}, {}
        self.snapshot = "snapshots/" + snapshot
        for line in open(os.path.join(self.folder, self.snapshot, "SHA256SUMS"), encoding="ascii"):
            if not re.fullmatch(r"[0-9a-f]{64}  [A-Za-z0-9][A-Za-z0-9._/-]*\n", line) or ".." in line:
                raise Damage("SHA256SUMS has a line that is none")
            self.sums[line[66:-1]] = line[:64]
        for path in sorted(glob.glob(glob.escape(self.folder) + "/keeper/*.json.sig")):
            with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
                record, signers, keeper = json.load(open(path[:-4])), options.allowed_signers, options.keeper or ""
                objects = record["objects"] if record["action"] == "rewrapped" else {}
                if objects and (not signers or is_signed(path[:-4], "salvage-rewrap", signers, keeper)):
                    self.rewrapped.update(objects)

    @functools.lru_cache(8)
    def open(self, name):
        """The decrypted, decompressed content of an object, as an open file. The last few are kept."""
        if name not in self.sums:
            raise Damage(f"{name} is not listed in SHA256SUMS")
        new = self.rewrapped.get(self.sums[name])
        if new and re.fullmatch("[0-9a-f]{64}", new):
            with contextlib.suppress(OSError, Damage):
                return self.decrypt(f"packs/{new[:2]}/{new}.age", new)
        return self.decrypt(name, self.sums[name])

    def decrypt(self, name, expected):
        digest = hashlib.sha256()
        with open(os.path.join(self.folder, name), "rb") as stored:
            for piece in iter(lambda: stored.read(1 << 20), b""):
                digest.update(piece)
            if digest.hexdigest() != expected:
                raise Damage(f"{name} is damaged: its SHA-256 is not the one that was signed")
            stored.seek(0)
            content = tempfile.TemporaryFile()
            keys = [argument for identity in self.identities for argument in ("-i", identity)]
            age = subprocess.Popen(["age", "-d", *keys], stdin=stored, stdout=subprocess.PIPE)
            zstd = subprocess.Popen(["zstd", "-d", "-q", "-c"], stdin=age.stdout, stdout=content)
            age.stdout.close()
            if zstd.wait() != 0 or age.wait() != 0:
                raise Damage(f"{name} does not decrypt or decompress")
        content.seek(0)
        return content

    def blob(self, pack, offset, length, digest):
        if not re.fullmatch(r"[0-9a-f]{64}", pack) or not 0 < length <= 4 << 20:
            raise Damage("a reference to no possible blob")
        content = self.open(f"packs/{pack[:2]}/{pack}.age")
        content.seek(offset)
        blob = content.read(length)
        if base64.urlsafe_b64encode(hashlib.sha256(blob).digest()).rstrip(b"=").decode() != digest:
            raise Damage(f"a blob at {offset} in pack {pack} is damaged")
        return blob

    def lines(self):
        """Every line of the tree, with the packs that its numbers mean."""
        root = json.load(self.open(self.snapshot + "/root.age"))
        for number, offset, length, digest, _first in root["segments"]:
            segment = self.blob(root["packs"][number], offset, length, digest).decode().split("\n")
            first, *lines = [json.loads(line) for line in segment if line]
            yield from ((line, first["packs"]) for line in lines)


def member(line, name):
    return base64.b64decode(line[name + "64"]) if name + "64" in line else line[name].encode()


class Target:
    """Creates files below one directory; no path leads out of it, through '..' or through a symlink."""

    def __init__(self, folder):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if os.listdir(folder):
            sys.exit(f"recover.py: {folder} is not empty")
        self.root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self.path, self.folder = b"", os.dup(self.root)

    def enter(self, path):
        """The directory that holds `path`, as a file descriptor, and the name in it."""
        *parents, name = path.split(b"/")
        if any(part in (b"", b".", b"..") or b"\0" in part for part in (*parents, name)):
            raise Damage(f"the path {path!r} leads out of the target")
        wanted = b"/".join(parents)
        if wanted != self.path:
            os.close(self.folder)
            self.path, self.folder = wanted, os.dup(self.root)
            for part in parents:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=self.folder)
                inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self.folder)
                os.close(self.folder)
                self.folder = inner
        return self.folder, name

    def make(self, line):
        """Creates what a line describes; returns the open file of a regular one, still without content."""
        path, kind = member(line, "path"), line["type"]
        folder, name = self.enter(path)
        if kind == "file":
            file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
            os.truncate(file, line["size"])
            return file
        if kind == "directory":
            os.mkdir(name, 0o700, dir_fd=folder)
        elif kind == "symlink":
            os.symlink(member(line, "target"), name, dir_fd=folder)
        elif kind == "hardlink":
            first, first_name = self.enter(member(line, "target"))
            first = os.dup(first)
            os.link(first_name, name, src_dir_fd=first, dst_dir_fd=self.enter(path)[0], follow_symlinks=False)
            os.close(first)
        elif kind in SPECIAL:
            os.mknod(name, SPECIAL[kind] | 0o600, os.makedev(*line.get("device", (0, 0))), dir_fd=folder)
        else:
            raise Damage(f"{path!r} is of the unknown type {kind!r}")

    def dress(self, line):
        """Owner, attributes, mode and time, in the order in which they do not undo each other."""
        path, kind = member(line, "path"), line["type"]
        folder, name = self.enter(path)
        if os.geteuid() == 0:
            os.chown(name, line["uid"], line["gid"], dir_fd=folder, follow_symlinks=False)
        # Mode comes before attributes (an ACL changes with it) and again after them (setuid is lost easily).
        for step in ("mode", "xattrs", "mode"):
            if step == "mode" and kind != "symlink":
                os.chmod(name, line["mode"], dir_fd=folder)
            for key, value in line.get("xattrs", {}).items() if step == "xattrs" else ():
                try:
                    place = b"/proc/self/fd/%d/%s" % (folder, name)
                    os.setxattr(place, key, base64.b64decode(value), follow_symlinks=False)
                except (OSError, AttributeError) as error:
                    warn(f"{path!r}: the attribute {key} could not be set: {error}")
        mtime = int(re.fullmatch(r"-?\d+\.\d{9}", line["mtime"])[0].replace(".", ""))
        os.utime(name, ns=(mtime, mtime), dir_fd=folder, follow_symlinks=False)


class Content:
    """Writes the data of one file round its holes."""

    def __init__(self, line, file):
        self.line, self.file, self.position, self.holes = line, file, 0, []

    def write(self, data):
        while data:
            while self.holes and self.holes[0][0] == self.position:
                self.position += self.holes.pop(0)[1]
            room = self.holes[0][0] - self.position if self.holes else len(data)
            written = os.pwrite(self.file, data[:room], self.position)
            self.position, data = self.position + written, data[written:]

    def finish(self, target):
        os.close(self.file)
        try:
            if self.position + sum(length for _, length in self.holes) != self.line["size"]:
                raise Damage("its content does not add up to its size")
            target.dress(self.line)
        except (OSError, Damage) as error:
            warn(f"{member(self.line, 'path')!r} is not whole: {error}")


def restore(repository, target):
    content, directories, count = None, [], 0
    for line, packs in repository.lines():
        is_entry = "path" in line or "path64" in line
        if is_entry and content:
            content = content.finish(target)
        try:
            if is_entry:
                count += 1
                file = target.make(line)
                if file is not None:
                    content = Content(line, file)
                elif line["type"] == "directory":
                    directories.append(line)  # their times change with what is made in them
                elif line["type"] != "hardlink":
                    target.dress(line)
            if content:
                content.holes += line.get("holes", [])
                for number, offset, length, digest in line.get("content", []):
                    content.write(repository.blob(packs[number], offset, length, digest))
        except (OSError, Damage) as error:
            content = warn(f"{line.get('path', line)!r} is not whole: {error}")
    if content:
        content.finish(target)
    for line in reversed(directories):
        target.dress(line)
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repo", required=True, metavar="DIR")
    parser.add_argument("-i", "--identity", required=True, action="append")
    parser.add_argument("--target", required=True, metavar="OUT", help="a new or empty directory")
    for option, value in ("--allowed-signers", "FILE"), ("--signer", "HOST"), ("--keeper", "NAME"):
        parser.add_argument(option, metavar=value)
    parser.add_argument("snapshot", metavar="SNAPSHOT|latest")
    options = parser.parse_args()
    folder = os.path.join(options.repo, "snapshots")
    # The signature is stored last: without it there is no snapshot.
    ids = sorted(name for name in os.listdir(folder) if os.path.exists(f"{folder}/{name}/SHA256SUMS.sig"))
    snapshot = (ids or [""])[-1] if options.snapshot == "latest" else options.snapshot
    if snapshot not in ids:
        sys.exit(f"recover.py: there is no snapshot {options.snapshot} in {options.repo}")
    sums = os.path.join(folder, snapshot, "SHA256SUMS")
    if not options.allowed_signers or not options.signer:
        print("recover.py: the signature was not checked (see --allowed-signers)", file=sys.stderr)
    elif not is_signed(sums, "salvage-snapshot", options.allowed_signers, options.signer):
        sys.exit("recover.py: the signature of the snapshot is not good")
    try:
        repository = Repository(options, snapshot)
        count = restore(repository, Target(options.target))
    except (Damage, OSError, LookupError, ValueError, TypeError, AttributeError) as error:
        sys.exit(f"recover.py: the snapshot cannot be restored: {error!r}. {HEALED}")
    print(f"recover.py: {count} entries of {snapshot} restored to {options.target}", file=sys.stderr)
    sys.exit((warn(HEALED) or 3) if warnings else 0)


main()
