import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A certificate with its key, as files and as text. */
export interface Certificate {
  certFile: string;
  keyFile: string;
  cert: string;
  key: string;
}

/** Makes certificates in `folder` with openssl: an authority of its own, and what it signs. */
export class Authority {
  readonly own: Certificate;

  constructor(private readonly folder: string) {
    const paths = this.paths('authority');
    openssl([
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=test authority'],
      ...['-keyout', paths.keyFile, '-out', paths.certFile],
      ...[
        '-addext',
        'basicConstraints=critical,CA:TRUE',
        '-addext',
        'keyUsage=critical,keyCertSign,digitalSignature',
      ],
    ]);
    this.own = load(paths);
  }

  /** A certificate for 127.0.0.1 and localhost, good for servers and clients. */
  issue(name: string): Certificate {
    const paths = this.paths(name);
    const request = join(this.folder, `${name}.csr`);
    const extensions = join(this.folder, `${name}.ext`);
    writeFileSync(extensions, 'subjectAltName=IP:127.0.0.1,DNS:localhost\n');
    openssl([
      ...['req', '-newkey', 'rsa:2048', '-nodes', '-subj', `/CN=${name}`],
      ...['-keyout', paths.keyFile, '-out', request],
    ]);
    openssl([
      ...['x509', '-req', '-days', '2', '-in', request, '-extfile', extensions, '-out', paths.certFile],
      ...['-CA', this.own.certFile, '-CAkey', this.own.keyFile, '-CAcreateserial'],
    ]);
    return load(paths);
  }

  private paths(name: string): { certFile: string; keyFile: string } {
    return { certFile: join(this.folder, `${name}.pem`), keyFile: join(this.folder, `${name}-key.pem`) };
  }
}

function load(paths: { certFile: string; keyFile: string }): Certificate {
  return { ...paths, cert: readFileSync(paths.certFile, 'utf8'), key: readFileSync(paths.keyFile, 'utf8') };
}

function openssl(args: string[]): void {
  const { status, stderr, error } = spawnSync('openssl', args);
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`openssl ${args[0] ?? ''}: ${stderr.toString()}`);
}
