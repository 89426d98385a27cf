// Credentials from real files, real exec plugins (small shell scripts) and the real process.
import { createHash, generateKeyPairSync } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { Access, AccessSource } from '../../src/k8s/api/access.ts';
import { CredentialError, Credentials, readToken } from '../../src/k8s/credentials/credentials.ts';
import type { CredentialsOptions } from '../../src/k8s/credentials/credentials.ts';
import { impersonation } from '../../src/k8s/credentials/impersonation.ts';

// Made for this test; nothing trusts it.
const CERT = `-----BEGIN CERTIFICATE-----
MIIBkzCCATmgAwIBAgIUNYL3ohg3oqEaFdHo3aXCs2RrtDAwCgYIKoZIzj0EAwIw
HjEcMBoGA1UEAwwTY2x1c3RlcnNldC1kbnMtdGVzdDAgFw0yNjExMjExMDQ2MTRa
GA8yMTI2MTAyODEwNDYxNFowHjEcMBoGA1UEAwwTY2x1c3RlcnNldC1kbnMtdGVz
dDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABMjlAEB1NbNEd1EgfJmkGW495pVr
BzLGy9PTPZXXjBHRry8X9vOSgmgwYe3fTnyfDlVzpOvOJTRJZLjDfLsHDLujUzBR
MB0GA1UdDgQWBBR/2c8uyYcXwfW25rU9AvOu2pwIyDAfBgNVHSMEGDAWgBR/2c8u
yYcXwfW25rU9AvOu2pwIyDAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gA
MEUCIB+JOuBuxu438uZ7pK61eZ7HZfkRzb15K29dln3yt8AEAiEAxPkXPLjm5KQu
czO9jltspooWJpOl8+0848p4vWjA2NM=
-----END CERTIFICATE-----
`;
const KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgkg771zBzSMy6cTsS
CIk00yJh/XIrUfDg/pnUTR5FqV+hRANCAATI5QBAdTWzRHdRIHyZpBluPeaVawcy
xsvT0z2V14wR0a8vF/bzkoJoMGHt3058nw5Vc6TrziU0SWS4w3y7Bwy7
-----END PRIVATE KEY-----
`;
const OTHER_KEY = generateKeyPairSync('ec', {
  namedCurve: 'P-256',
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
}).privateKey;
const SECRET = `eyJhbGciOiJSUzI1NiJ9.${'aB3'.repeat(20)}.x`;
const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** A folder of its own with these files, scripts executable; removed after the test. */
async function folder(t: Test, files: Readonly<Record<string, string>>): Promise<string> {
  const dir = await mkdtemp(path.join(tmpdir(), 'credentials-'));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) {
    const file = path.join(dir, name);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, text);
    if (text.startsWith('#!')) await chmod(file, 0o755);
  }
  return dir;
}

function credentials(t: Test, options: CredentialsOptions = {}): Credentials {
  const opened = new Credentials(options);
  t.teardown(() => opened.close());
  return opened;
}

/** A kubeconfig of one context, `c`. */
function kubeconfig(cluster: object, user: object = {}, current: string | undefined = 'c'): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': current,
    contexts: [{ name: 'c', context: { cluster: 'k', user: 'u' } }],
    clusters: [{ name: 'k', cluster }],
    users: [{ name: 'u', user }],
  });
}

const SERVER = { server: 'https://a:6443' };
const V1 = 'client.authentication.k8s.io/v1';

function execUser(command: string, more: object = {}): object {
  return { exec: { apiVersion: V1, command, interactiveMode: 'Never', ...more } };
}

/** What a cluster hands to its plugin has 9^9 values. */
const ALIAS_BOMB = `
${'abcdefghi'.replaceAll(/./g, (c, i: number) => `${c}: &${c} [${`${i === 0 ? 'x' : `*${'abcdefghi'[i - 1]!}`},`.repeat(9)}]\n`)}
current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
clusters:
- name: k
  cluster: {server: 'https://a', extensions: [{name: client.authentication.k8s.io/exec, extension: *i}]}
users: [{name: u, user: {exec: {apiVersion: ${V1}, command: x, provideClusterInfo: true}}}]
`;

/** A plugin that answers with this status, after some lines of shell. */
function plugin(status: object, before = '', apiVersion = V1): string {
  const answer = JSON.stringify({ apiVersion, kind: 'ExecCredential', status });
  return `#!/bin/sh\n${before}\ncat <<'END'\n${answer}\nEND\n`;
}

const NOTHING: Omit<Access, 'server' | 'files'> = {
  ca: undefined,
  cert: undefined,
  key: undefined,
  serverName: undefined,
  skipVerify: false,
  proxy: undefined,
  authorization: undefined,
  headers: {},
  expiresAtMillis: undefined,
  tokenFile: undefined,
};

/** Sets the environment for one test. */
function setEnv(t: Test, name: string, value: string | undefined): void {
  const before = process.env[name];
  const set = (to: string | undefined): void => {
    if (to === undefined) Reflect.deleteProperty(process.env, name);
    else process.env[name] = to;
  };
  t.teardown(() => set(before));
  set(value);
}

/** Processes that read kubeconfigs for this one. */
function readers(): number {
  const children = readdirSync('/proc/self/task').flatMap((task) =>
    readFileSync(`/proc/self/task/${task}/children`, 'utf8').split(' '),
  );
  return children.filter((pid) => {
    try {
      return pid !== '' && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('credentials-child');
    } catch {
      return false;
    }
  }).length;
}

async function readersGone(): Promise<boolean> {
  for (const end = Date.now() + 20_000; readers() > 0 && Date.now() < end;) await delay(10);
  return readers() === 0;
}

t.test('what a kubeconfig may say', async (t) => {
  const dir = await folder(t, {
    'sub/ca.crt': CERT,
    'sub/tls.crt': CERT,
    'sub/tls.key': KEY,
    'sub/token': ' from-file\n',
    'sub/files.yaml': kubeconfig(
      {
        server: 'https://a:6443/',
        'certificate-authority': 'ca.crt',
        'tls-server-name': 'b',
        'proxy-url': 'socks5://p:1080',
      },
      { 'client-certificate': './tls.crt', 'client-key': 'tls.key', token: 'no', tokenFile: 'token' },
    ),
    'inline.yaml': kubeconfig(
      { server: 'https://a/path/', 'certificate-authority': 'absent', 'certificate-authority-data': base64(CERT) },
      {
        'client-certificate-data': base64(CERT),
        'client-key': 'absent',
        'client-key-data': base64(KEY),
        token: 'inline',
      },
    ),
    'basic.yaml': kubeconfig(
      { server: 'http://[fd00::1]:8080', 'insecure-skip-tls-verify': true, 'certificate-authority': '' },
      {
        username: 'ann',
        password: 'pa:ss',
        as: 'root',
        'as-uid': '7',
        'as-groups': ['x, y'],
        'as-user-extra': { 'a/B %': ['v'] },
      },
    ),
    'nobody.yaml': JSON.stringify({
      'current-context': 'c',
      contexts: [{ name: 'c', context: { cluster: 'k', user: '' } }],
      clusters: [{ name: 'k', cluster: SERVER }],
    }),
  });
  const credentialsOf = credentials(t);
  const read = (file: string): Promise<Access> =>
    credentialsOf.read({ kind: 'kubeconfig', file: path.join(dir, file), context: undefined });
  const [files, inline, basic, nobody] = await Promise.all(
    ['sub/files.yaml', 'inline.yaml', 'basic.yaml', 'nobody.yaml'].map(read),
  );
  const token = path.join(dir, 'sub/token');
  t.strictSame(files, {
    ...NOTHING,
    server: 'https://a:6443',
    ca: CERT,
    cert: CERT,
    key: KEY,
    serverName: 'b',
    proxy: 'socks5://p:1080',
    authorization: 'Bearer from-file',
    tokenFile: token,
    files: ['files.yaml', 'ca.crt', 'tls.crt', 'tls.key'].map((name) => path.join(dir, 'sub', name)),
  });
  t.strictSame(inline, {
    ...NOTHING,
    server: 'https://a/path',
    ca: CERT,
    cert: CERT,
    key: KEY,
    authorization: 'Bearer inline',
    files: [path.join(dir, 'inline.yaml')],
  });
  t.strictSame(basic, {
    ...NOTHING,
    server: 'http://[fd00::1]:8080',
    skipVerify: true,
    authorization: `Basic ${base64('ann:pa:ss')}`,
    headers: {
      'impersonate-user': ['root'],
      'impersonate-uid': ['7'],
      'impersonate-group': ['x, y'],
      'impersonate-extra-a%2Fb%20%25': ['v'],
    },
    files: [path.join(dir, 'basic.yaml')],
  });
  t.strictSame(nobody, { ...NOTHING, server: 'https://a:6443', files: [path.join(dir, 'nobody.yaml')] });
  await writeFile(token, 'rotated');
  t.equal(await readToken(token), 'Bearer rotated');
  await writeFile(token, '\n');
  await t.rejects(readToken(token), new CredentialError(`token file ${token}: is empty`));
});

t.test('what cannot be had, one line each, and a batch that goes on', async (t) => {
  const user = (fields: object): string => kubeconfig(SERVER, fields);
  const cluster = (fields: object): string => kubeconfig({ ...SERVER, ...fields });
  const places = { k: 'context "c": cluster "k"', u: 'context "c": user "u"' };
  const says = (text: string): string => `#!/bin/sh\n${text}\n`;
  const cases: readonly (readonly [file: string, text: string, reason: string, context?: string])[] = [
    ['empty', '', 'has no contexts'],
    ['comment', '# nothing', 'does not parse: expected a document, but the input is empty'],
    ['scalar', 'abc', 'is no kubeconfig'],
    ['torn', 'a: 1\nb: [\n', 'does not parse: deficient indentation, line 3'],
    ['garbage', createHash('shake256', { outputLength: 5_000_000 }).digest('latin1'), 'does not parse: '],
    ['brackets', '['.repeat(400_000), 'does not parse: nesting exceeded maxDepth, line 1'],
    ['huge', 'a'.repeat(8 * 1024 * 1024 + 1), 'is larger than 8 MiB'],
    ['objects', `[${'{},'.repeat(2_000_000)}]`, 'is no kubeconfig: it has too many values'],
    ['list', 'contexts: {}', 'contexts: must be a list'],
    ['unnamed', 'users: [{user: {}}]', 'users[0].name: must be a string'],
    ['twice', 'users: [{name: a}, {name: a}]', 'users: two have the name "a"'],
    ['no-current', kubeconfig(SERVER, {}, ''), 'has no current-context (it has "c")'],
    ['no-context', kubeconfig(SERVER), 'has no context "d" (it has "c")', 'd'],
    [
      'no-user',
      'current-context: c\ncontexts: [{name: c, context: {cluster: k, user: v}}]\nclusters: [{name: k}]',
      'context "c": user "v" does not exist',
    ],
    [
      'no-cluster',
      'current-context: c\ncontexts: [{name: c, context: {cluster: k}}]',
      'context "c": cluster "k" does not exist',
    ],
    ['no-server', kubeconfig({}), `${places.k}: server: is missing`],
    ['number', kubeconfig({ server: 7 }), `${places.k}: server: must be a string`],
    ['no-url', kubeconfig({ server: 'a:6443' }), `${places.k}: server: is no https:// or http:// URL`],
    ['ftp', kubeconfig({ server: 'ftp://a' }), `${places.k}: server: is no https:// or http:// URL`],
    [
      'userinfo',
      kubeconfig({ server: `https://x:${SECRET}@a` }),
      `${places.k}: server: has a user, a query or a fragment in it`,
    ],
    ['proxy', cluster({ 'proxy-url': 'p:1' }), `${places.k}: proxy-url: is no http:// or https:// or socks5:// URL`],
    [
      'verify',
      cluster({ 'insecure-skip-tls-verify': 'true' }),
      `${places.k}: insecure-skip-tls-verify: must be true or false`,
    ],
    [
      'both',
      cluster({ 'insecure-skip-tls-verify': true, 'certificate-authority-data': base64(CERT) }),
      `${places.k}: insecure-skip-tls-verify and a certificate-authority exclude each other`,
    ],
    [
      'ca-base64',
      cluster({ 'certificate-authority-data': `${base64(CERT)}!` }),
      `${places.k}: certificate-authority-data: is no base64`,
    ],
    [
      'ca-pem',
      cluster({ 'certificate-authority-data': base64('x') }),
      `${places.k}: certificate-authority-data: holds no CERTIFICATE in PEM`,
    ],
    [
      'ca-file',
      cluster({ 'certificate-authority': 'absent' }),
      `${places.k}: certificate-authority DIR/absent: does not exist`,
    ],
    ['ca-folder', cluster({ 'certificate-authority': '.' }), `${places.k}: certificate-authority DIR: is a folder`],
    [
      'no-key',
      user({ 'client-certificate-data': base64(CERT) }),
      `${places.u}: client-certificate: without a client-key`,
    ],
    ['no-cert', user({ 'client-key-data': base64(KEY) }), `${places.u}: client-key: without a client-certificate`],
    [
      'pair',
      user({ 'client-certificate-data': base64(CERT), 'client-key-data': base64(OTHER_KEY) }),
      `${places.u}: client-certificate and client-key: OpenSSL refuses it (key values mismatch)`,
    ],
    ['token', user({ token: 'a\nb' }), `${places.u}: token: has characters that no header may have`],
    ['token-file', user({ tokenFile: 'absent' }), `${places.u}: token file DIR/absent: does not exist`],
    ['two-ways', user({ username: 'a', token: 'b' }), `${places.u}: username and token exclude each other`],
    ['groups', user({ 'as-groups': ['a'] }), `${places.u}: as-uid, as-groups and as-user-extra need as`],
    [
      'gcp',
      user({ 'auth-provider': { name: 'gcp' } }),
      `${places.u}: auth-provider "gcp": is not supported: use an exec plugin`,
    ],
    ['command', user({ exec: { apiVersion: V1 } }), `${places.u}: exec: command: is missing`],
    [
      'version',
      user({ exec: { apiVersion: 'client.authentication.k8s.io/v1alpha1', command: 'x' } }),
      `${places.u}: exec: apiVersion: "client.authentication.k8s.io/v1alpha1" is not client.authentication.k8s.io/v1 or client.authentication.k8s.io/v1beta1`,
    ],
    [
      'person',
      user(execUser('x', { interactiveMode: 'Always' })),
      `${places.u}: exec: interactiveMode: a plugin that must talk to a person cannot run here`,
    ],
    ['bomb', ALIAS_BOMB, `${places.u}: exec "x": the configuration of the cluster for it is too large`],
    [
      'long',
      user(execUser('x', { args: ['a'.repeat(200_000)] })),
      `${places.u}: exec: command, args and env: are too long`,
    ],
    [
      'absent',
      user(execUser('no-such-plugin', { installHint: 'get it\nfrom there' })),
      `${places.u}: exec "no-such-plugin": not found (get it from there)`,
    ],
    ['status', user(execUser('./fails')), `${places.u}: exec "./fails": ended with status 3: last … word`],
    ['silent', user(execUser('./silent')), `${places.u}: exec "./silent": answered nothing`],
    ['no-json', user(execUser('./no-json')), `${places.u}: exec "./no-json": its answer is no JSON`],
    [
      'beta',
      user(execUser('./beta')),
      `${places.u}: exec "./beta": answered with apiVersion "client.authentication.k8s.io/v1beta1", not client.authentication.k8s.io/v1`,
    ],
    [
      'half',
      user(execUser('./half')),
      `${places.u}: exec "./half": answered with one of clientCertificateData and clientKeyData, without the other`,
    ],
    ['none', user(execUser('./none')), `${places.u}: exec "./none": answered with neither token nor certificate`],
    ['time', user(execUser('./time')), `${places.u}: exec "./time": expirationTimestamp: is no time`],
    ['flood', user(execUser('./flood')), `${places.u}: exec "./flood": wrote more than 1 MiB`],
    ['plain', user(execUser('./plain')), `${places.u}: exec "./plain": is not executable`],
  ];
  const dir = await folder(t, {
    fails: says(`echo first >&2; echo 'last ${SECRET} word' >&2; exit 3`),
    silent: says('exit 0'),
    'no-json': says(`echo ${SECRET}`),
    beta: plugin({ token: SECRET }, '', 'client.authentication.k8s.io/v1beta1'),
    half: plugin({ clientCertificateData: CERT }),
    none: plugin({}),
    time: plugin({ token: SECRET, expirationTimestamp: 'soon' }),
    flood: says('exec yes'),
    plain: 'no program',
    'good.yaml': kubeconfig(SERVER, { token: 'good' }),
    ...Object.fromEntries(cases.map(([file, text]) => [`${file}.yaml`, text])),
  });
  const opened = credentials(t);
  const read = async (file: string, context?: string): Promise<string> => {
    try {
      return (await opened.read({ kind: 'kubeconfig', file, context })).authorization ?? '';
    } catch (error) {
      t.type(error, CredentialError);
      return (error as Error).message.replaceAll(dir, 'DIR');
    }
  };
  const all = cases.map(([file, , , context]) => read(path.join(dir, `${file}.yaml`), context));
  const good = read(path.join(dir, 'good.yaml'));
  for (const [i, [file, , reason]] of cases.entries()) {
    const said = await all[i]!;
    const expected = `kubeconfig DIR/${file}.yaml: ${reason}`;
    t.equal(reason.endsWith(' ') ? said.slice(0, expected.length) : said, expected, file);
    t.notMatch(said, /\n|eyJ|aB3/, `${file}: one line without a token`);
  }
  t.equal(await good, 'Bearer good');
  t.equal(await read(dir), 'kubeconfig DIR: is a folder');
  t.equal(await read(path.join(dir, 'absent')), 'kubeconfig DIR/absent: does not exist');
  t.equal(await read('/dev/zero'), 'kubeconfig /dev/zero: is no regular file');
});

t.test('$KUBECONFIG is a list: the first that has a name wins', async (t) => {
  const dir = await folder(t, {
    'a/config': JSON.stringify({
      contexts: [{ name: 'c', context: { cluster: 'k', user: 'u' } }],
      users: [{ name: 'u', user: { tokenFile: 'token' } }],
    }),
    'a/token': 'of a',
    'a/ca.crt': 'no PEM',
    'b/ca.crt': CERT,
    'b/config': kubeconfig({ ...SERVER, 'certificate-authority': 'ca.crt' }, { token: 'of b' }),
    'c/config': kubeconfig({ server: 'https://c' }, {}, 'other'),
    'broken/config': 'a: [',
  });
  const files = ['a', 'absent', 'b', 'c', 'b'].map((name) => path.join(dir, name, 'config'));
  setEnv(t, 'KUBECONFIG', files.join(':'));
  // Each its own: a process has the environment with which it began.
  const read = (): Promise<Access> => credentials(t).read({ kind: 'kubeconfig', file: undefined, context: undefined });
  const access = await read();
  t.equal(access.server, 'https://a:6443');
  t.equal(access.ca, CERT, 'a path is relative to the file that names it');
  t.equal(access.authorization, 'Bearer of a');
  t.strictSame(
    access.files,
    ['a/config', 'b/config', 'c/config', 'b/ca.crt'].map((name) => path.join(dir, name)),
  );
  t.strictSame(await credentials(t).contexts(undefined), {
    current: 'c',
    names: ['c'],
    files: ['a/config', 'b/config', 'c/config'].map((name) => path.join(dir, name)),
  });
  setEnv(t, 'KUBECONFIG', `${files[0]!}:${path.join(dir, 'broken/config')}`);
  await t.rejects(read(), { message: /broken\/config: does not parse: .*, line 1$/ });
  setEnv(t, 'KUBECONFIG', path.join(dir, 'none'));
  await t.rejects(read(), new CredentialError(`kubeconfig ${dir}/none: does not exist`));
  setEnv(t, 'KUBECONFIG', undefined);
  setEnv(t, 'HOME', dir);
  await t.rejects(
    credentials(t).contexts(undefined),
    new CredentialError(`kubeconfig ${dir}/.kube/config: does not exist`),
  );
  await mkdir(path.join(dir, '.kube'));
  await writeFile(path.join(dir, '.kube/config'), kubeconfig(SERVER, { token: 'of home' }));
  t.equal((await read()).authorization, 'Bearer of home');
});

t.test('exec plugins', async (t) => {
  const expiry = '2030-01-02T03:04:05Z';
  const dir = await folder(t, {
    'bin/count': plugin({ token: 'counted' }, 'echo run >> "$(dirname "$0")/runs"; sleep 0.2'),
    'bin/info':
      '#!/bin/sh\nprintf \'{"kind":"ExecCredential","apiVersion":"%s","status":{"token":"%s"}}\' "$1" ' +
      '"$(printf %s "$KUBERNETES_EXEC_INFO" | base64 | tr -d \'\\n\') $MARK $(cat | wc -c)"',
    'bin/pair': plugin({ clientCertificateData: CERT, clientKeyData: KEY, expirationTimestamp: expiry }),
    'bin/rotates': `#!/bin/sh\ncat "$(dirname "$0")/answer"\n`,
  });
  const opened = credentials(t);
  const write = async (name: string, text: string): Promise<AccessSource> => {
    const file = path.join(dir, `${name}.yaml`);
    await writeFile(file, text);
    return { kind: 'kubeconfig', file, context: 'c' };
  };
  const read = async (name: string, fields: object, cluster: object = SERVER): Promise<Access> =>
    opened.read(await write(name, kubeconfig(cluster, fields)));

  const counts = kubeconfig(SERVER, execUser(path.join(dir, 'bin/count')));
  const sources = await Promise.all(['count1', 'count2'].map((name) => write(name, counts)));
  const twice = await Promise.all(sources.map((source) => opened.read(source)));
  t.strictSame(
    twice.map(({ authorization }) => authorization),
    ['Bearer counted', 'Bearer counted'],
  );
  t.equal(await readFile(path.join(dir, 'bin/runs'), 'utf8'), 'run\n', 'two reads in parallel run it once');

  const beta = 'client.authentication.k8s.io/v1beta1';
  const infoUser = (more: object, apiVersion = V1): object =>
    execUser('./bin/info', { apiVersion, args: [apiVersion], env: [{ name: 'MARK', value: 'm' }], ...more });
  const seen = async (access: Promise<Access>): Promise<unknown> => {
    const [, info, mark, stdin] = (await access).authorization!.split(/ +/);
    t.strictSame([mark, stdin], ['m', '0'], 'env is set, stdin is empty');
    return JSON.parse(Buffer.from(info!, 'base64').toString('utf8'));
  };
  const plain = { kind: 'ExecCredential', spec: { interactive: false } };
  const extension = { name: 'client.authentication.k8s.io/exec', extension: { audience: 'x' } };
  const cluster = {
    ...SERVER,
    'certificate-authority-data': base64(CERT),
    'tls-server-name': 'n',
    extensions: [extension],
  };
  const [info, infoBeta, infoCluster, pair, fixed] = await Promise.all([
    seen(read('info', infoUser({}))),
    seen(read('beta', infoUser({}, beta))),
    seen(read('cluster', infoUser({ provideClusterInfo: true }), cluster)),
    read('pair', execUser('./bin/pair')),
    read('fixed', { ...execUser('absent'), token: 'wins' }),
  ]);
  t.strictSame(info, { ...plain, apiVersion: V1 });
  t.strictSame(infoBeta, { ...plain, apiVersion: beta });
  t.strictSame(infoCluster, {
    kind: 'ExecCredential',
    apiVersion: V1,
    spec: {
      interactive: false,
      cluster: {
        server: 'https://a:6443',
        'tls-server-name': 'n',
        'certificate-authority-data': base64(CERT),
        config: { audience: 'x' },
      },
    },
  });

  t.match(pair, {
    cert: CERT,
    key: KEY,
    authorization: undefined,
    expiresAtMillis: Date.parse(expiry),
  });
  for (const token of ['one', 'two']) {
    const answer = { apiVersion: V1, kind: 'ExecCredential', status: { token } };
    await writeFile(path.join(dir, 'bin/answer'), JSON.stringify(answer));
    t.equal((await read('rotates', execUser('./bin/rotates'))).authorization, `Bearer ${token}`);
  }
  t.equal(fixed.authorization, 'Bearer wins');
});

/** Until the script has written its process id. */
async function pidIn(file: string): Promise<number> {
  for (const end = Date.now() + 30_000; Date.now() < end; await delay(10)) {
    const text = await readFile(file, 'utf8').catch(() => '');
    if (text.endsWith('\n')) return Number(text);
  }
  throw new Error(`${file} was never written`);
}

async function isGone(pid: number): Promise<boolean> {
  for (const end = Date.now() + 10_000; Date.now() < end; await delay(10)) {
    // An orphan that nobody waits for stays as a zombie where process 1 is no init.
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') Z');
    if (/\) [ZX]/.test(stat)) return true;
  }
  return false;
}

t.test('a plugin that hangs is ended, with what it started, and holds up nobody', async (t) => {
  const hangs = '#!/bin/sh\nsleep 300 &\necho $! > "$0.pid"\necho working >&2\nwait\n';
  const dir = await folder(t, {
    hangs,
    'hangs.yaml': kubeconfig(SERVER, execUser('./hangs')),
    'good.yaml': kubeconfig(SERVER, { token: 'good' }),
  });
  const source = (name: string) => ({ kind: 'kubeconfig', file: path.join(dir, name), context: 'c' }) as const;
  const opened = credentials(t, { pluginMillis: 1_500 });
  const settled: string[] = [];
  const hung = opened.read(source('hangs.yaml')).then(
    () => settled.push('hung'),
    (error: unknown) => settled.push((error as Error).message),
  );
  await opened.read(source('good.yaml')).then(() => settled.push('good'));
  await hung;
  t.strictSame(settled, [
    'good',
    `kubeconfig ${dir}/hangs.yaml: context "c": user "u": exec "./hangs": did not end within 1.5 s: working`,
  ]);
  t.ok(await isGone(await pidIn(path.join(dir, 'hangs.pid'))), 'its child is gone');

  await rm(path.join(dir, 'hangs.pid'));
  const closing = new Credentials();
  const asked = [closing.read(source('hangs.yaml')), closing.read(source('hangs.yaml'))];
  const rejected = Promise.allSettled(asked);
  const pid = await pidIn(path.join(dir, 'hangs.pid'));
  const late = t.rejects(closing.read(source('good.yaml')), CredentialError, 'what waits is rejected');
  await closing.close();
  t.ok((await rejected).every(({ status }) => status === 'rejected'));
  await late;
  t.ok(await isGone(pid), 'close() ends plugins');
  await t.rejects(closing.read(source('good.yaml')), CredentialError);
  t.ok(await readersGone());
});

t.test('OpenID Connect', async (t) => {
  const jwt = (exp: number): string =>
    `${Buffer.from('{}').toString('base64url')}.${Buffer.from(JSON.stringify({ exp })).toString('base64url')}.s`;
  const dir = await folder(t, {});
  const opened = credentials(t);
  const exp = Math.floor(Date.now() / 1_000) + 3_600;
  const ended = { 'id-token': jwt(1), 'client-id': 'c' };
  const configs = {
    good: { 'id-token': jwt(exp) },
    ended,
    refused: { ...ended, 'refresh-token': SECRET, 'idp-issuer-url': 'https://127.0.0.1:1' },
  };
  for (const [name, config] of Object.entries(configs)) {
    await writeFile(path.join(dir, name), kubeconfig(SERVER, { 'auth-provider': { name: 'oidc', config } }));
  }
  const read = (name: string): Promise<Access> =>
    opened.read({ kind: 'kubeconfig', file: path.join(dir, name), context: undefined });
  const place = (name: string): string => `kubeconfig ${dir}/${name}: context "c": user "u": auth-provider "oidc"`;
  await Promise.all([
    read('good').then((access) =>
      t.match(access, { authorization: `Bearer ${jwt(exp)}`, expiresAtMillis: exp * 1_000 }),
    ),
    t.rejects(
      read('ended'),
      new CredentialError(`${place('ended')}: has no id-token, or one that has ended and nothing to refresh it with`),
    ),
    t.rejects(read('refused'), { message: /auth-provider "oidc": the token cannot be refreshed \([\w ]+\)$/ }),
  ]);
});

t.test('in the cluster', async (t) => {
  const dir = await folder(t, { 'ca.crt': CERT, token: 'pod\n' });
  const opened = credentials(t, { serviceAccountDir: dir });
  const read = (): Promise<Access> => opened.read({ kind: 'in-cluster' });
  t.ok(await readersGone());
  setEnv(t, 'KUBERNETES_SERVICE_HOST', undefined);
  setEnv(t, 'KUBERNETES_SERVICE_PORT', '443');
  await t.rejects(read(), { message: /^in cluster: KUBERNETES_SERVICE_HOST .* this is no pod$/ });
  const expected = {
    ...NOTHING,
    ca: CERT,
    authorization: 'Bearer pod',
    tokenFile: path.join(dir, 'token'),
    files: [path.join(dir, 'ca.crt')],
  };
  for (const [host, server] of [
    ['10.0.0.1', 'https://10.0.0.1:443'],
    ['fd00::1', 'https://[fd00::1]:443'],
  ] as const) {
    setEnv(t, 'KUBERNETES_SERVICE_HOST', host);
    t.strictSame(await read(), { ...expected, server });
  }
  t.equal(readers(), 0, 'no process');
  await writeFile(path.join(dir, 'token'), 'renewed');
  t.equal((await read()).authorization, 'Bearer renewed');
  await rm(path.join(dir, 'token'));
  await t.rejects(read(), new CredentialError(`in cluster: token file ${dir}/token: does not exist`));
});

t.test('200 contexts in one process, which is gone afterwards', async (t) => {
  const names = Array.from({ length: 200 }, (_, i) => `c${i}`);
  const user = (name: string): object => ({
    token: name,
    'client-certificate-data': base64(CERT),
    'client-key-data': base64(KEY),
  });
  const dir = await folder(t, {
    config: JSON.stringify({
      'current-context': 'c7',
      contexts: names.map((name) => ({ name, context: { cluster: name, user: name } })),
      clusters: names.map((name) => ({
        name,
        cluster: { server: `https://${name}`, 'certificate-authority-data': base64(CERT) },
      })),
      users: names.map((name) => ({ name, user: user(name) })),
    }),
  });
  const file = path.join(dir, 'config');
  const opened = credentials(t);
  const start = Date.now();
  t.ok(await readersGone());
  const read = await Promise.all(names.map((context) => opened.read({ kind: 'kubeconfig', file, context })));
  t.strictSame(
    read.map(({ server, authorization }) => [server, authorization]),
    names.map((name) => [`https://${name}`, `Bearer ${name}`]),
  );
  t.comment(`${Date.now() - start} ms`);
  t.ok(Date.now() - start < 20_000, 'in seconds');
  t.equal(readers(), 1, 'one process');
  t.ok(await readersGone(), 'none is left');
  const { current, names: listed } = await opened.contexts(file);
  t.strictSame([current, listed], ['c7', names]);
  await t.rejects(opened.read({ kind: 'kubeconfig', file, context: 'x' }), {
    message: /: has no context "x" \(it has "c0", "c1", "c2", "c3", "c4", 195 more\)$/,
  });
});

t.test('a value each for headers of impersonation', async (t) => {
  t.strictSame(impersonation({ as: 'a', 'as-groups': ['b', 'c'] }), {
    'impersonate-user': ['a'],
    'impersonate-group': ['b', 'c'],
  });
  t.throws(() => impersonation({ as: 'a\r\nx: y' }), CredentialError);
  t.strictSame(impersonation({}), {});
});
