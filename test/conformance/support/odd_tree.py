"""Fills the folder DIR with every kind of inode and the corners of its metadata: odd_tree.py DIR (as root)."""

import os
import stat
import struct
import sys

PERMISSIONS = 0o7777


def write(name, content=b"", mode=0o644):
    with open(name, "wb") as file:
        file.write(content)
    os.chmod(name, mode)


def folder(name):
    os.mkdir(name)
    os.chdir(name)


def modes():
    folder("modes")
    for mode in (0, 0o1777, 0o2755, 0o4755, 0o6711, PERMISSIONS):
        write("file-%04o" % mode, b"x", mode)
        os.mkdir("dir-%04o" % mode)
        os.chmod("dir-%04o" % mode, mode)
    os.chdir("..")


def owners():
    folder("owners")
    for owner in (0, 65535, 65536, 100000, 2097151, 2097152, 2**31 - 1, 2**31, 2**32 - 2):
        write("file-%d" % owner, b"mine")
        os.chown("file-%d" % owner, owner, 2**32 - 2 - owner)
        os.symlink("nowhere", "link-%d" % owner)
        os.chown("link-%d" % owner, owner, owner, follow_symlinks=False)
    os.chdir("..")


def acl(*entries):
    """An ACL as the kernel keeps it: version 2, then tag, permissions, id of each entry."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 2**32 - 1
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw=ep
ACCESS = acl((1, 6, NOBODY), (2, 4, 70000), (4, 4, NOBODY), (16, 4, NOBODY), (32, 0, NOBODY))


def xattrs():
    folder("xattrs")
    for name in ("one", "same-as-one"):
        write(name)
        os.setxattr(name, "user.text", b"a value")
    write("many")
    for i in range(30):
        os.setxattr("many", "user.key-%d" % i, b"v" * i)
    write("bytes")
    os.setxattr("bytes", "user.all", bytes(range(256)))
    os.setxattr("bytes", "user.empty", b"")
    os.setxattr("bytes", b"user.\xff\xfename", b"a name that is not UTF-8")
    os.setxattr("bytes", "user." + "n" * 250, b"the longest name")
    write("large")
    os.setxattr("large", "user.large", os.fsencode("x" * 3000))
    write("capability", b"program", 0o755)
    os.setxattr("capability", "security.capability", CAPABILITY)
    write("trusted")
    os.setxattr("trusted", "trusted.note", b"for root only")
    write("acl", b"read me", 0o640)
    os.setxattr("acl", "system.posix_acl_access", ACCESS)
    os.mkdir("dir")
    os.setxattr("dir", "user.dir", b"on a directory")
    os.setxattr("dir", "system.posix_acl_default", ACCESS)
    os.symlink("target", "link")
    os.setxattr("link", "trusted.link", b"on a link", follow_symlinks=False)
    os.chdir("..")


def links():
    folder("links")
    write("file", b"content of two names")
    os.mkdir("sub")
    os.link("file", "sub/again")
    os.link("file", "0-before")
    os.symlink("file", "soft")
    os.link("soft", "soft-again", follow_symlinks=False)
    os.symlink("t" * 4095, "longest")
    os.symlink(b"\xff\n\\ target", "bytes")
    os.symlink("/absolute/../path", "absolute")
    os.chdir("..")


def devices():
    folder("devices")
    for major, minor in ((1, 3), (8, 1), (255, 255), (259, 256), (4095, 2**20 - 1)):
        os.mknod("char-%d-%d" % (major, minor), 0o620 | stat.S_IFCHR, os.makedev(major, minor))
        os.mknod("block-%d-%d" % (major, minor), 0o660 | stat.S_IFBLK, os.makedev(major, minor))
    os.mkfifo("fifo")
    os.chdir("..")


def names():
    folder("names")
    for name in (b"\xff\xfe not UTF-8", b"new\nline", b"tab\tand\\slash", b" ", b"n" * 255, "ü".encode(), b"e\xcc\x81",
                 b"...", b"-rf", b"a", b"A", b"\x01\x7f", b"\xc0\xaf", b"wh", b"=key"):
        write(name, name)
    folder(b"dir\xff\n")
    write(b"m" * 255)
    os.chdir("../..")


def sizes():
    folder("sizes")
    for size in (0, 1, 63, 64, 2000, 4032, 4095, 4096, 4097, 8191, 8192, 12289, 2**20 + 1):
        write("file-%d" % size, bytes((i * 37 + size) % 251 for i in range(size)))
    with open("sparse", "wb") as file:
        for place in (5 * 4096, 3 * 2**20, 40 * 2**20 + 17):
            file.seek(place)
            file.write(b"island at %d" % place)
        file.truncate(50 * 2**20 + 123)
    with open("hole", "wb") as file:
        file.truncate(9 * 2**20)
    os.chdir("..")


def folders():
    folder("folders")
    os.mkdir("empty")
    os.mkdir("many")
    for i in range(3000):
        write("many/%s-%d" % ("n" * (i % 90), i))
    start = os.getcwd()
    for i in range(100):
        folder("deep-%d" % i)
    write("bottom", b"of a hundred folders")
    os.chdir(start)
    os.chdir("..")


def times():
    """Last, for everything that is done in a folder changes its time."""
    folder("times")
    billion = 10**9
    moments = (0, 1, -1, -billion, -1500000001, -(2**31) * billion, 2**31 * billion + 1, 2**32 * billion + 999999999,
               15 * 10**9 * billion + 123456789, 1700000000 * billion + 100000000)
    for moment in moments:
        write("file%d" % moment)
        os.utime("file%d" % moment, ns=(0, moment))
        os.symlink("x", "link%d" % moment)
        os.utime("link%d" % moment, ns=(0, moment), follow_symlinks=False)
        os.mkdir("dir%d" % moment)
        os.utime("dir%d" % moment, ns=(0, moment))
    os.chdir("..")
    os.utime("times", ns=(0, 987654321))


def main():
    os.umask(0)
    os.chdir(sys.argv[1])
    folder("odd")
    for fill in (modes, owners, xattrs, links, devices, names, sizes, folders, times):
        fill()


main()
