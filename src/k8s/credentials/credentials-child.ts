// The process that reads kubeconfigs: the one file that imports @kubernetes/client-node, which costs 0.4 s and 70 MB, so
// the process ends when nothing more is asked. client-node parses the YAML, knows the fields and resolves paths, and speaks OpenID
// Connect. What it drops or gets wrong is done here: tokenFile, impersonation, exec plugins, data before files.
// Not here: when it is read (credentials.ts).

import path from 'node:path';
import { createSecureContext } from 'node:tls';
import { KubeConfig, loadYaml } from '@kubernetes/client-node';
import type { Cluster, User } from '@kubernetes/client-node';
import type { Access } from '../api/access.ts';
import { CredentialError, at } from './credential-error.ts';
import { checkPem, fromBase64, headerText, readBounded, readToken } from './credential-file.ts';
import type { PemKind } from './credential-file.ts';
import type { Answer, KubeconfigQuestion, PlacedAnswer, QuestionBatch } from './credentials.ts';
import { PluginRuns, execInfo, readExecPlugin } from './exec-plugin.ts';
import { NO_RECORD, isRecord, shown } from '../objects/fields.ts';
import type { RawObject } from '../objects/fields.ts';
import { impersonation } from './impersonation.ts';
import { findContext, flagField, readKubeconfig, textField } from './kubeconfig.ts';
import type { Entry, Kubeconfig } from './kubeconfig.ts';

const CLUSTER_TEXTS = ['server', 'certificate-authority', 'certificate-authority-data', 'tls-server-name', 'proxy-url'];
const USER_TEXTS = [
  ...['client-certificate', 'client-certificate-data', 'client-key', 'client-key-data'],
  ...['token', 'tokenFile', 'username', 'password'],
];
/** What a cluster hands to exec plugins that ask for it. */
const EXEC_EXTENSION = 'client.authentication.k8s.io/exec';

/** Plugins that run, by their batch. */
const running = new Set<Batch>();

process.on('message', (asked: QuestionBatch) => {
  void new Batch(asked).answerAll();
});
// The server has what it wanted, or is gone.
process.once('disconnect', () => {
  for (const { plugins } of running) plugins.kill();
  process.exit();
});
// A Ctrl-C at a terminal is the server's: it says when we end.
process.on('SIGINT', () => undefined);

class Batch {
  readonly plugins: PluginRuns;
  readonly #asked: QuestionBatch;
  readonly #kubeconfigs = new Map<string | undefined, Promise<Kubeconfig>>();

  constructor(asked: QuestionBatch) {
    this.#asked = asked;
    this.plugins = new PluginRuns(asked.pluginMillis);
  }

  async answerAll(): Promise<void> {
    running.add(this);
    const { batch, questions } = this.#asked;
    await Promise.all(
      questions.map(async (question, index) => {
        const answered: PlacedAnswer = { ...(await this.#answer(question)), batch, index };
        process.send?.(answered);
      }),
    );
    running.delete(this);
  }

  async #answer(question: KubeconfigQuestion): Promise<Answer> {
    try {
      const { file } = question;
      let reading = this.#kubeconfigs.get(file);
      if (reading === undefined) this.#kubeconfigs.set(file, (reading = readKubeconfig(file, process.env, loadYaml)));
      const kubeconfig = await reading;
      if (question.kind === 'access') return { access: await readAccess(kubeconfig, question.context, this.plugins) };
      const { current, contexts, files } = kubeconfig;
      return { contexts: { current, names: [...contexts.keys()], files } };
    } catch (error) {
      // An error of another kind is a bug, and stops this source alone; its text may quote what it choked on.
      const { name, message } = error as Error;
      return { error: error instanceof CredentialError ? message : `${name} in the credentials' process` };
    }
  }
}

async function readAccess(kubeconfig: Kubeconfig, name: string | undefined, plugins: PluginRuns): Promise<Access> {
  const context = findContext(kubeconfig, name);
  const inContext = `context ${shown(context.name)}`;
  const clusterEntry = await at(`kubeconfig ${context.file}: ${inContext}`, () =>
    named(context, 'cluster', kubeconfig.clusters),
  );
  const userEntry = await at(`kubeconfig ${context.file}: ${inContext}`, () =>
    named(context, 'user', kubeconfig.users),
  );
  if (clusterEntry === undefined) throw new CredentialError(`kubeconfig ${context.file}: ${inContext}: has no cluster`);
  const files = new Set(kubeconfig.files);
  const cluster = await at(`kubeconfig ${clusterEntry.file}: ${inContext}: cluster ${shown(clusterEntry.name)}`, () =>
    readCluster(clusterEntry, files),
  );
  if (userEntry === undefined) return { ...cluster, ...ANONYMOUS, files: [...files] };
  const user = await at(`kubeconfig ${userEntry.file}: ${inContext}: user ${shown(userEntry.name)}`, () =>
    readUser(userEntry, files, plugins, () => clusterForPlugin(cluster, clusterEntry)),
  );
  return { ...cluster, ...user, files: [...files] };
}

/** The cluster or user that a context names; undefined where it names none. */
function named(context: Entry, key: 'cluster' | 'user', entries: ReadonlyMap<string, Entry>): Entry | undefined {
  const name = textField(context.fields, key);
  if (name === undefined) return undefined;
  const entry = entries.get(name);
  if (entry === undefined) throw new CredentialError(`${key} ${shown(name)} does not exist`);
  return entry;
}

type ClusterAccess = Pick<Access, 'server' | 'ca' | 'serverName' | 'skipVerify' | 'proxy'>;
type UserAccess = Omit<Access, keyof ClusterAccess | 'files'>;

const ANONYMOUS: UserAccess = {
  cert: undefined,
  key: undefined,
  authorization: undefined,
  headers: {},
  expiresAtMillis: undefined,
  tokenFile: undefined,
};

async function readCluster({ name, fields, file }: Entry, files: Set<string>): Promise<ClusterAccess> {
  const texts = checkedTexts(fields, CLUSTER_TEXTS);
  if (texts['server'] === undefined) throw new CredentialError('server: is missing');
  const skipVerify = flagField(fields, 'insecure-skip-tls-verify');
  const typed = new KubeConfig();
  typed.loadFromString(JSON.stringify({ clusters: [{ name, cluster: texts }] }));
  typed.makePathsAbsolute(path.dirname(file));
  const cluster = typed.getCluster(name) as Cluster;
  const ca = await readPem('certificate-authority', 'CERTIFICATE', cluster.caFile, cluster.caData, files);
  if (ca !== undefined && skipVerify) {
    throw new CredentialError('insecure-skip-tls-verify and a certificate-authority exclude each other');
  }
  if (ca !== undefined) checkTls('certificate-authority', { ca });
  return {
    server: readUrl('server', cluster.server, ['https:', 'http:']),
    ca,
    serverName: cluster.tlsServerName,
    skipVerify,
    proxy:
      cluster.proxyUrl === undefined
        ? undefined
        : readUrl('proxy-url', cluster.proxyUrl, ['http:', 'https:', 'socks5:']),
  };
}

/** The fields of these names, each a string that is not empty. */
function checkedTexts(fields: RawObject, keys: readonly string[]): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const key of keys) {
    const text = textField(fields, key);
    if (text !== undefined) texts[key] = text;
  }
  return texts;
}

/** Without a slash at its end. Never shown where it is wrong: there may be a password in it. */
function readUrl(key: string, text: string, protocols: readonly string[]): string {
  const url = URL.parse(text);
  if (url === null || !protocols.includes(url.protocol) || url.hostname === '') {
    throw new CredentialError(`${key}: is no ${protocols.map((protocol) => `${protocol}//`).join(' or ')} URL`);
  }
  if (key === 'server' && (url.username !== '' || url.search !== '' || url.hash !== '')) {
    throw new CredentialError('server: has a user, a query or a fragment in it');
  }
  return url.href.replace(/\/+$/, '');
}

/** PEM from data, or else from a file, as client-go chooses (client-node prefers the file). */
async function readPem(
  key: string,
  kind: PemKind,
  file: string | null | undefined,
  data: string | null | undefined,
  files: Set<string>,
): Promise<string | undefined> {
  if (data) return at(`${key}-data`, () => checkPem(fromBase64(data), kind));
  if (!file) return undefined;
  return at(`${key} ${file}`, async () => {
    const text = await readBounded(file);
    files.add(path.resolve(file));
    return checkPem(text, kind);
  });
}

/** OpenSSL's word on certificates and key, now rather than at the first connection. */
function checkTls(what: string, parts: { readonly ca?: string; readonly cert?: string; readonly key?: string }): void {
  try {
    createSecureContext(parts);
  } catch (error) {
    const { reason, code } = error as { readonly reason?: string; readonly code?: string };
    throw new CredentialError(`${what}: OpenSSL refuses it (${reason ?? code ?? 'no reason given'})`);
  }
}

async function readUser(
  entry: Entry,
  files: Set<string>,
  plugins: PluginRuns,
  clusterInfo: () => RawObject,
): Promise<UserAccess> {
  const { name, fields, file } = entry;
  const texts = checkedTexts(fields, USER_TEXTS);
  const folder = path.dirname(file);
  const typed = new KubeConfig();
  typed.loadFromString(JSON.stringify({ users: [{ name, user: texts }] }));
  typed.makePathsAbsolute(folder);
  const user = typed.getUser(name) as User;
  const cert = await readPem('client-certificate', 'CERTIFICATE', user.certFile, user.certData, files);
  const key = await readPem('client-key', 'PRIVATE KEY', user.keyFile, user.keyData, files);
  if ((cert === undefined) !== (key === undefined)) {
    throw new CredentialError(
      cert === undefined ? 'client-key: without a client-certificate' : 'client-certificate: without a client-key',
    );
  }
  const own = { ...ANONYMOUS, cert, key, headers: impersonation(fields), ...(await readSecret(user, texts, folder)) };
  if (own.authorization === undefined && isRecord(fields['exec'])) {
    const plugin = await at('exec', () => readExecPlugin(fields['exec'] as RawObject, folder));
    const given = await at(`exec ${shown(plugin.name)}`, () => plugins.run(plugin, execInfo(plugin, clusterInfo())));
    // As in client-go, a certificate that stands in the kubeconfig wins.
    Object.assign(own, given, cert === undefined ? {} : { cert, key });
  } else if (own.authorization === undefined && isRecord(fields['auth-provider'])) {
    Object.assign(own, await readAuthProvider(fields['auth-provider'], plugins.limitMillis));
  }
  if (own.cert !== undefined && own.key !== undefined) {
    checkTls('client-certificate and client-key', { cert: own.cert, key: own.key });
  }
  return own;
}

/** The Authorization header of what stands in the kubeconfig itself. */
async function readSecret(
  user: User,
  texts: Readonly<Record<string, string>>,
  folder: string,
): Promise<Partial<UserAccess>> {
  const { tokenFile } = texts;
  if (user.username && (user.token || tokenFile !== undefined)) {
    throw new CredentialError('username and token exclude each other');
  }
  if (user.username) {
    return { authorization: `Basic ${Buffer.from(`${user.username}:${user.password ?? ''}`).toString('base64')}` };
  }
  if (tokenFile !== undefined) {
    const absolute = path.resolve(folder, tokenFile);
    return { authorization: await readToken(absolute), tokenFile: absolute };
  }
  if (!user.token) return {};
  const { token } = user;
  return { authorization: await at('token', () => `Bearer ${headerText(token.trim())}`) };
}

/** The token of the `oidc` provider, refreshed where it has ended. The others were removed in Kubernetes 1.26. */
async function readAuthProvider(fields: RawObject, limitMillis: number): Promise<Partial<UserAccess>> {
  const name = fields['name'];
  return at(`auth-provider ${shown(name)}`, async () => {
    if (name !== 'oidc') throw new CredentialError('is not supported: use an exec plugin');
    const settings = isRecord(fields['config']) ? fields['config'] : NO_RECORD;
    const config = checkedTexts(settings, Object.keys(settings));
    const typed = new KubeConfig();
    typed.loadFromClusterAndUser(
      { name: 'cluster', server: 'https://localhost', skipTLSVerify: false },
      { name: 'user', authProvider: { name, config } },
    );
    const options: { headers?: Record<string, string> } = {};
    const deadline = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => deadline.reject(new CredentialError(`did not answer within ${limitMillis / 1_000} s`)),
      limitMillis,
    );
    try {
      await Promise.race([typed.applyToHTTPSOptions(options), deadline.promise]);
    } catch (error) {
      if (error instanceof CredentialError) throw error;
      const { code, name } = error as NodeJS.ErrnoException;
      throw new CredentialError(`the token cannot be refreshed (${code ?? name})`);
    } finally {
      clearTimeout(timer);
    }
    const authorization = options.headers?.['Authorization'];
    if (authorization === undefined) {
      throw new CredentialError('has no id-token, or one that has ended and nothing to refresh it with');
    }
    return { authorization: headerText(authorization), expiresAtMillis: jwtExpiry(authorization) };
  });
}

/** `exp` of a JWT (RFC 7519 4.1.4). */
function jwtExpiry(token: string): number | undefined {
  try {
    const claims: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
    return isRecord(claims) && typeof claims['exp'] === 'number' ? claims['exp'] * 1_000 : undefined;
  } catch {
    return undefined;
  }
}

/** `spec.cluster` of an ExecCredential. */
function clusterForPlugin(cluster: ClusterAccess, { fields }: Entry): RawObject {
  const { server, ca, serverName, skipVerify, proxy } = cluster;
  const extensions: readonly unknown[] = Array.isArray(fields['extensions']) ? fields['extensions'] : [];
  const found = extensions.find((extension) => isRecord(extension) && extension['name'] === EXEC_EXTENSION);
  return {
    server,
    'tls-server-name': serverName,
    'insecure-skip-tls-verify': skipVerify || undefined,
    'certificate-authority-data': ca === undefined ? undefined : Buffer.from(ca).toString('base64'),
    'proxy-url': proxy,
    config: isRecord(found) ? (found['extension'] ?? null) : null,
  };
}
