import os, random, sys
rng = random.Random(11)
words = [''.join(rng.choice('abcdefghijklmnopqrstuvwxyz') for _ in range(rng.randint(2, 9))) for _ in range(40)]
text = ' '.join(rng.choice(words) for _ in range(5000)).encode()[:24000]
files = {
    'text': text, 'text-again': text[4096:20000], 'text-after-random': rng.randbytes(900) + text[3000:15000],
    'random': rng.randbytes(5001), 'zeros': bytes(300001), 'runs': b'abcd' * 9000 + text[:700] + bytes(9000),
    'mixed': text[:7000] + rng.randbytes(5000) + bytes(20000) + text[100:9000] + rng.randbytes(4200),
    'big': text * 3 + rng.randbytes(3000) + bytes(1000000), 'empty': b'',
}
for size in (1, 2, 100, 511, 513, 4095, 4096, 4097, 8191, 8193):
    files['tiny/%d' % size] = text[size:2 * size]
for name, data in files.items():
    path = os.path.join(sys.argv[1], name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as file:
        file.write(data)
