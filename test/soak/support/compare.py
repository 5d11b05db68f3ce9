"""Compares random ranges of all files of two trees until told to stop: compare.py SEED LIMIT STOP LAZY EAGER [ERRNO...]

Of the first tree nothing is taken from the page cache. It prints a line when it begins, ends when the file STOP appears, and prints what it
did as JSON. It fails at the
first byte that differs, when a read took longer than LIMIT seconds, and at any error that is not among the names ERRNO.
"""

import errno
import json
import os
import random
import sys
import time

seed, limit, stop, lazy, eager, *allowed = sys.argv[1:]
allowed = {getattr(errno, name) for name in allowed}
rng = random.Random(seed)
names = [
    os.path.relpath(os.path.join(folder, name), eager)
    for folder, _, files in os.walk(eager)
    for name in files
    if os.path.isfile(os.path.join(folder, name))
]
counts = {"reads": 0, "bytes": 0, "errors": 0, "longest": 0.0}


def read(path, offset, length):
    file = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        return os.pread(file, length, offset)
    finally:
        os.close(file)


print("begun", flush=True)
while not os.path.exists(stop):
    name = rng.choice(names)
    size = os.path.getsize(os.path.join(eager, name))
    offset = rng.randrange(size + 1)
    length = rng.choice([1, 512, 4096, 40_000, 300_000])
    began = time.monotonic()
    try:
        got = read(os.path.join(lazy, name), offset, length)
    except OSError as error:
        if error.errno not in allowed:
            sys.exit(f"{name}: {error.strerror}, after {time.monotonic() - began:.1f} s")
        got = None
    took = time.monotonic() - began
    counts["longest"] = max(counts["longest"], took)
    if took > float(limit):
        sys.exit(f"{name}: a read of {length} bytes from {offset} took {took:.1f} s")
    if got is None:
        counts["errors"] += 1
        time.sleep(0.01)
        continue
    if got != read(os.path.join(eager, name), offset, length):
        sys.exit(f"{name}: {length} bytes from {offset} differ")
    counts["reads"] += 1
    counts["bytes"] += len(got)
print(json.dumps(counts))
