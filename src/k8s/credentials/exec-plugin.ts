// Exec plugins of a kubeconfig, run as client-go runs them, bounded in time, in output and in number, each once however
// many contexts ask for it. Never interactive. client.authentication.k8s.io v1 and v1beta1 (KEP-541).

import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import path from 'node:path';
import { CredentialError } from './credential-error.ts';
import { bearer, checkPem } from './credential-file.ts';
import { isRecord, shown } from '../objects/fields.ts';
import type { RawObject } from '../objects/fields.ts';
import { flagField, textField, textsField } from './kubeconfig.ts';

const VERSIONS = ['client.authentication.k8s.io/v1', 'client.authentication.k8s.io/v1beta1'];
const MAX_ANSWER_OCTETS = 1_024 * 1_024;
/** Of what a plugin says on stderr, the end is kept. */
const MAX_STDERR_CHARACTERS = 8_192;
const MAX_SHOWN_CHARACTERS = 200;
/** Plugins at once: most are programs of 100 MB and some tenths of a second. */
const AT_ONCE = 8;
/** Arguments with environment, and what a cluster hands to a plugin: YAML aliases make gigabytes of a few lines. */
// Linux takes 128 KiB as one variable or argument.
const MAX_ARGUMENT_CHARACTERS = 96 * 1_024;
const MAX_INFO_VALUES = 10_000;

export interface ExecPlugin {
  /** As it was written; `command` is what is run. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly apiVersion: string;
  readonly installHint: string | undefined;
  readonly wantsCluster: boolean;
}

export interface ExecCredential {
  readonly authorization: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly expiresAtMillis: number | undefined;
}

/** The `exec` of a user; `folder` is its kubeconfig's. */
export function readExecPlugin(fields: RawObject, folder: string): ExecPlugin {
  const name = textField(fields, 'command');
  if (name === undefined) throw new CredentialError('command: is missing');
  const apiVersion = textField(fields, 'apiVersion') ?? '';
  if (!VERSIONS.includes(apiVersion)) {
    throw new CredentialError(`apiVersion: ${shown(apiVersion)} is not ${VERSIONS.join(' or ')}`);
  }
  if (fields['interactiveMode'] === 'Always') {
    throw new CredentialError('interactiveMode: a plugin that must talk to a person cannot run here');
  }
  const env: Record<string, string> = {};
  const listed = fields['env'] ?? [];
  if (!Array.isArray(listed)) throw new CredentialError('env: must be a list');
  for (const item of listed as readonly unknown[]) {
    const { name, value } = isRecord(item) ? item : {};
    if (typeof name !== 'string' || !/^[^=\0]+$/.test(name) || typeof value !== 'string' || value.includes('\0')) {
      throw new CredentialError('env: must be a list of a name and a value each, both strings');
    }
    env[name] = value;
  }
  const args = textsField(fields, 'args');
  const characters = [name, ...args, ...Object.values(env)].reduce((sum, { length }) => sum + length, 0);
  if (characters > MAX_ARGUMENT_CHARACTERS) throw new CredentialError('command, args and env: are too long');
  if (args.some((arg) => arg.includes('\0')) || name.includes('\0')) throw new CredentialError('args: hold a NUL');
  return {
    name,
    // Only a bare name is looked for in $PATH.
    command: name.includes(path.sep) ? path.resolve(folder, name) : name,
    args,
    env,
    apiVersion,
    installHint: textField(fields, 'installHint'),
    wantsCluster: flagField(fields, 'provideClusterInfo'),
  };
}

/** What a plugin finds in `KUBERNETES_EXEC_INFO`. */
export function execInfo(plugin: ExecPlugin, cluster: RawObject): string {
  const spec = plugin.wantsCluster ? { cluster, interactive: false } : { interactive: false };
  const { apiVersion } = plugin;
  let values = 0;
  let characters = 0;
  try {
    return JSON.stringify({ kind: 'ExecCredential', apiVersion, spec }, (_key, value: unknown) => {
      if (typeof value === 'string') characters += value.length;
      if (++values > MAX_INFO_VALUES || characters > MAX_ARGUMENT_CHARACTERS) throw new CredentialError('too much');
      return value;
    });
  } catch {
    throw new CredentialError('the configuration of the cluster for it is too large');
  }
}

/** The plugins of one batch. */
export class PluginRuns {
  /** How long a plugin may take. */
  readonly limitMillis: number;
  readonly #runs = new Map<string, Promise<ExecCredential>>();
  readonly #children = new Set<ChildProcess>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(limitMillis: number) {
    this.limitMillis = limitMillis;
  }

  /** What the plugin answers; one run for all that ask the same. */
  run(plugin: ExecPlugin, info: string): Promise<ExecCredential> {
    const { command, args, env } = plugin;
    const key = JSON.stringify([command, args, env, info]);
    let run = this.#runs.get(key);
    if (run === undefined) this.#runs.set(key, (run = this.#inTurn(plugin, info)));
    return run;
  }

  /** Ends all that run. */
  kill(): void {
    for (const child of this.#children) killGroup(child);
  }

  async #inTurn(plugin: ExecPlugin, info: string): Promise<ExecCredential> {
    if (this.#running >= AT_ONCE) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running++;
    try {
      return readCredential(await this.#output(plugin, info), plugin.apiVersion);
    } finally {
      // The turn is handed on, or given back.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }

  /** What it writes to stdout until it ends. */
  #output(plugin: ExecPlugin, info: string): Promise<string> {
    return new Promise((resolve, reject) => {
      // A process group of its own: what the plugin started ends with it.
      const child = spawn(plugin.command, plugin.args, {
        detached: true,
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, ...plugin.env, KUBERNETES_EXEC_INFO: info },
      });
      this.#children.add(child);
      const end = (reason: string | undefined): void => {
        clearTimeout(timer);
        this.#children.delete(child);
        child.stdout.destroy();
        child.stderr.destroy();
        if (reason === undefined) resolve(Buffer.concat(chunks).toString('utf8'));
        else reject(new CredentialError(reason));
      };
      const stop = (reason: string): void => {
        killGroup(child);
        end(reason);
      };
      const seconds = this.limitMillis / 1_000;
      const timer = setTimeout(() => stop(`did not end within ${seconds} s${lastLine(stderr)}`), this.limitMillis);
      const chunks: Buffer[] = [];
      let octets = 0;
      let stderr = '';
      child.stdout.on('data', (chunk: Buffer) => {
        octets += chunk.length;
        chunks.push(chunk);
        if (octets > MAX_ANSWER_OCTETS) stop(`wrote more than ${MAX_ANSWER_OCTETS >> 20} MiB`);
      });
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        stderr = (stderr + text).slice(-MAX_STDERR_CHARACTERS);
      });
      child.on('error', (error: NodeJS.ErrnoException) => end(startReason(error, plugin.installHint)));
      child.on('close', (status, signal) => {
        if (signal !== null) end(`was ended by ${signal}${lastLine(stderr)}`);
        else end(status === 0 ? undefined : `ended with status ${String(status)}${lastLine(stderr)}`);
      });
    });
  }
}

function startReason({ code }: NodeJS.ErrnoException, hint: string | undefined): string {
  if (code === 'ENOENT') return `not found${hint === undefined ? '' : ` (${readable(hint)})`}`;
  return code === 'EACCES' ? 'is not executable' : `cannot be started (${code ?? 'unknown reason'})`;
}

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

function lastLine(stderr: string): string {
  const line = stderr.trimEnd().split('\n').at(-1) ?? '';
  return line === '' ? '' : `: ${readable(line)}`;
}

/** On one line, short, without what may be a token: a JWT, what follows `Bearer`, long mixes of letters and digits. */
function readable(text: string): string {
  return text
    .replaceAll(/eyJ[\w.=-]+|k8s-aws-v\d\.\S+|(?<=bearer\s+)\S+/gi, '…')
    .replaceAll(/[\w+=-]{20,}/g, (run) => (/\d/.test(run) && /[a-z]/.test(run) && /[A-Z]/.test(run) ? '…' : run))
    .replaceAll(/[\s\p{Cc}]+/gu, ' ')
    .trim()
    .slice(0, MAX_SHOWN_CHARACTERS);
}

/** The status of an ExecCredential. Its text is never shown: it is a credential. */
function readCredential(text: string, apiVersion: string): ExecCredential {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new CredentialError(text.trim() === '' ? 'answered nothing' : 'its answer is no JSON');
  }
  if (!isRecord(answer) || answer['kind'] !== 'ExecCredential')
    throw new CredentialError('its answer is no ExecCredential');
  if (answer['apiVersion'] !== apiVersion) {
    throw new CredentialError(`answered with apiVersion ${shown(answer['apiVersion'])}, not ${apiVersion}`);
  }
  const { status } = answer;
  if (!isRecord(status)) throw new CredentialError('its answer has no status');
  const token = textField(status, 'token');
  const cert = textField(status, 'clientCertificateData');
  const key = textField(status, 'clientKeyData');
  if ((cert === undefined) !== (key === undefined)) {
    throw new CredentialError('answered with one of clientCertificateData and clientKeyData, without the other');
  }
  if (token === undefined && cert === undefined)
    throw new CredentialError('answered with neither token nor certificate');
  const expiry = textField(status, 'expirationTimestamp');
  const expiresAtMillis = expiry === undefined ? undefined : Date.parse(expiry);
  if (Number.isNaN(expiresAtMillis)) throw new CredentialError('expirationTimestamp: is no time');
  return {
    authorization: token === undefined ? undefined : bearer(token),
    cert: cert === undefined ? undefined : checkPem(cert, 'CERTIFICATE'),
    key: key === undefined ? undefined : checkPem(key, 'PRIVATE KEY'),
    expiresAtMillis,
  };
}
