"""Prints everything that a tree's inodes say, one JSON object a line, sorted by the raw bytes of the path: walk.py DIR.

Bytes that are no printable ASCII are \\xNN, so that any name can be compared. Directories' sizes and link counts are
the filesystem's own affair and are left out.
"""

import base64
import hashlib
import json
import os
import stat
import sys

TYPES = {
    stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink", stat.S_IFCHR: "char",
    stat.S_IFBLK: "block", stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket",
}


def escape(raw):
    return "".join(chr(b) if 0x20 < b < 0x7F and b != 0x5C else "\\x%02x" % b for b in raw)


def content_hash(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else slow_hash(file)


def slow_hash(file):
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def xattrs(path):
    names = sorted(os.listxattr(path, follow_symlinks=False))
    values = {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
    return {escape(os.fsencode(name)): base64.b64encode(value).decode() for name, value in values.items()}


def describe(path, name, first_names):
    info = os.lstat(path)
    kind = TYPES[stat.S_IFMT(info.st_mode)]
    entry = {
        "path": escape(name), "type": kind, "mode": "%04o" % stat.S_IMODE(info.st_mode),
        "uid": info.st_uid, "gid": info.st_gid, "mtime": info.st_mtime_ns, "xattrs": xattrs(path),
    }
    if kind == "dir":
        return entry
    entry["nlink"] = info.st_nlink
    # Names of one inode share the first of them.
    entry["inode"] = first_names.setdefault(info.st_ino, escape(name))
    if kind == "file":
        entry.update(size=info.st_size, sha256=content_hash(path))
    elif kind == "symlink":
        entry["target"] = escape(os.readlink(path))
    elif kind in ("char", "block"):
        entry["rdev"] = "%d:%d" % (os.major(info.st_rdev), os.minor(info.st_rdev))
    return entry


def paths(top):
    yield b"/"
    stack = [b""]
    while stack:
        folder = stack.pop()
        with os.scandir(top + folder) as entries:
            for entry in entries:
                name = folder + b"/" + entry.name
                yield name
                if entry.is_dir(follow_symlinks=False):
                    stack.append(name)


def main():
    top = os.fsencode(sys.argv[1])
    first_names = {}
    for name in sorted(paths(top)):
        print(json.dumps(describe(top + name, name, first_names)))


main()
