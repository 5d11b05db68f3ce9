"""Compares random ranges of files in two trees: random_reads.py SEED COUNT TREE TREE FILE...; fails at the first that differs."""

import os
import random
import sys

seed, count, left, right, *names = sys.argv[1:]
rng = random.Random(int(seed))
for _ in range(int(count)):
    name = rng.choice(names)
    files = [os.open(os.path.join(tree, name), os.O_RDONLY) for tree in (left, right)]
    size = os.fstat(files[1]).st_size
    offset = rng.randrange(size)
    length = rng.choice([1, 512, 4096, 40_000, 200_000])
    got, expected = (os.pread(file, length, offset) for file in files)
    for file in files:
        os.close(file)
    if got != expected:
        sys.exit(f"{name}: {length} bytes from {offset} differ")
