"""Reads files at once: many_readers.py THREADS, then lines `DIGEST PATH` by standard input. Each thread reads all, in an order of its own; fails at the first that differs."""

import hashlib
import random
import sys
import threading

files = [line.rstrip("\n").split(" ", 1) for line in sys.stdin]
failures = []


def read_all(seed):
    order = files[:]
    random.Random(seed).shuffle(order)
    for digest, path in order:
        seen = hashlib.sha256()
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(1 << 18):
                seen.update(piece)
        if seen.hexdigest() != digest:
            failures.append(path)


threads = [threading.Thread(target=read_all, args=(seed,)) for seed in range(int(sys.argv[1]))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit(f"{failures[0]} differs" if failures else 0)
