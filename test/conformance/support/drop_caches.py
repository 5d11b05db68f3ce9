"""Takes out of the page cache what it has of the files of these folders: drop_caches.py FOLDER..."""

import os
import sys

for top in sys.argv[1:]:
    for folder, _, names in os.walk(top):
        for path in (os.path.join(folder, name) for name in names):
            if not os.path.isfile(path) or os.path.islink(path):
                continue
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)
