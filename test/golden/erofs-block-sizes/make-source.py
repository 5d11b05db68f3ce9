import os, random, sys
rng = random.Random(7)
root = sys.argv[1]
words = [''.join(rng.choice('aeionrst') for _ in range(rng.randint(2, 5))) for _ in range(12)]
text = ' '.join(rng.choice(words) for _ in range(4000)).encode()[:6000]
files = {
    'text': text, 'again': text[512:5704], 'shifted': rng.randbytes(200) + text[1000:5000], 'random': rng.randbytes(1300),
    'zeros': bytes(70001), 'mixed': text[:3000] + rng.randbytes(700) + bytes(9000) + text[50:2500], 'empty': b'',
}
for size in (1, 511, 512, 513, 1023, 1025, 2047, 2049, 4095, 4097):
    files['tiny/%d' % size] = text[size % 37:][:size]
for name, data in files.items():
    path = os.path.join(root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as file:
        file.write(data)
os.symlink('tiny/1', os.path.join(root, 'link'))
os.link(os.path.join(root, 'text'), os.path.join(root, 'tiny/text'))
os.mkdir(os.path.join(root, 'many'))
for i in range(40):
    open(os.path.join(root, 'many', 'a name of some length %d' % i), 'w').close()
os.chmod(os.path.join(root, 'random'), 0o4751)
os.setxattr(os.path.join(root, 'text'), 'user.note', b'kept')
