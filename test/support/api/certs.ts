// Certificate authorities and certificates for tests, made by the openssl command: P-256 keys, X.509 v3 with names and
// addresses as subjectAltName (RFC 5280 4.2.1.6). What was made once is kept for the process; the files go with it.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';

/** PEM texts. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export interface Authority extends Certificate {
  readonly name: string;
}

export interface Subject {
  /** The first is the common name, too. */
  readonly names?: readonly string[];
  readonly ips?: readonly string[];
  /** For a client: `names[0]` is the user, `groups` are its organizations. */
  readonly client?: boolean;
  readonly groups?: readonly string[];
  /** Days until it ends; below 0: it ended so many days ago. */
  readonly days?: number;
}

const DAY_MILLIS = 86_400_000;
const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

let folder: string | undefined;
let made = 0;
const kept = new Map<string, Certificate>();

/** A CA that signs itself; the same name gives the same one. */
export function makeCa(name = 'test CA'): Authority {
  const certificate = keep(`ca ${name}`, (base) => {
    const extensions = ['-addext', 'keyUsage=critical,keyCertSign,cRLSign'];
    const files = ['-keyout', `${base}.key`, '-out', `${base}.crt`];
    openssl(['req', '-x509', ...key, '-days', '3650', '-subj', `/CN=${name}`, ...extensions, ...files]);
  });
  return { ...certificate, name };
}

/** A certificate for 127.0.0.1 and localhost, unless told otherwise. */
export function issue(ca: Authority, subject: Subject = {}): Certificate {
  const { names = ['localhost'], ips = ['127.0.0.1'], client = false, groups = [], days = 30 } = subject;
  return keep(`${ca.cert} ${JSON.stringify(subject)}`, (base) => {
    const request = `${base}.csr`;
    const subjectName = [...groups.map((group) => `/O=${group}`), `/CN=${names[0] ?? ips[0] ?? ''}`].join('');
    openssl(['req', '-new', ...key, '-subj', subjectName, '-keyout', `${base}.key`, '-out', request]);
    const alternatives = [...names.map((each) => `DNS:${each}`), ...ips.map((each) => `IP:${each}`)];
    writeFileSync(`${base}.ca.crt`, ca.cert);
    writeFileSync(`${base}.ca.key`, ca.key);
    writeFileSync(`${base}.index`, '');
    writeFileSync(`${base}.cnf`, configuration(base, client, client ? [] : alternatives));
    // `openssl x509` cannot date back before 3.4; `openssl ca` always could.
    const end = Date.now() + days * DAY_MILLIS;
    const dates = ['-startdate', asn1(Math.min(Date.now(), end) - DAY_MILLIS), '-enddate', asn1(end)];
    openssl(['ca', '-batch', '-notext', '-config', `${base}.cnf`, ...dates, '-in', request, '-out', `${base}.crt`]);
  });
}

function configuration(base: string, isClient: boolean, alternatives: readonly string[]): string {
  return `[ca]
default_ca = test
[test]
database = ${base}.index
new_certs_dir = ${path.dirname(base)}
certificate = ${base}.ca.crt
private_key = ${base}.ca.key
rand_serial = yes
default_md = sha256
policy = any
x509_extensions = leaf
unique_subject = no
[any]
organizationName = optional
commonName = supplied
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = ${isClient ? 'clientAuth' : 'serverAuth'}
${alternatives.length > 0 ? `subjectAltName = ${alternatives.join(',')}` : ''}
`;
}

/** GeneralizedTime, RFC 5280 4.1.2.5.2. */
function asn1(millis: number): string {
  return `${new Date(millis).toISOString().replaceAll(/[-:T]|\.\d+Z$/g, '')}Z`;
}

function keep(what: string, make: (base: string) => void): Certificate {
  const had = kept.get(what);
  if (had !== undefined) return had;
  const base = path.join(ownFolder(), String(++made));
  make(base);
  const certificate = { cert: readFileSync(`${base}.crt`, 'utf8'), key: readFileSync(`${base}.key`, 'utf8') };
  kept.set(what, certificate);
  return certificate;
}

function ownFolder(): string {
  if (folder !== undefined) return folder;
  const own = mkdtempSync(path.join(tmpdir(), 'certificates-'));
  process.once('exit', () => rmSync(own, { recursive: true, force: true }));
  return (folder = own);
}

function openssl(args: readonly string[]): void {
  try {
    execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  } catch (cause) {
    const { code, stderr } = cause as NodeJS.ErrnoException & { stderr?: Buffer };
    if (code === 'ENOENT')
      throw new Error('tests with TLS need the openssl command (Debian: apt install openssl)', { cause });
    throw new Error(`openssl ${args.join(' ')}: ${String(stderr)}`, { cause });
  }
}
