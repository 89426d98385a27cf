// The one door to pino: a line a fact on stderr, as JSON or as plain text. Names in it may hold any octet, so nothing that
// a terminal or a log reader acts on leaves unescaped (CVE-2026-42000 is a name that wrote into somebody's text).
// Synchronous: no worker thread of pino's transports, and the last line before an exit is written.

import { destination as openDestination, pino, stdTimeFunctions } from 'pino';

export type LogLevel = 'error' | 'warn' | 'info' | 'debug';
export type LogFormat = 'json' | 'text';

/** The facts of a line by name; the names that every line has are taken. */
export type LogFields = Readonly<Record<string, unknown>> & { level?: never; time?: never; message?: never };

type Write = (fields: LogFields, message: string) => void;

/** A fact is a message without variable parts, and its fields. */
export interface Log {
  readonly error: Write;
  readonly warn: Write;
  readonly info: Write;
  readonly debug: Write;
}

/** Where lines go, each with its newline. */
export interface LogDestination {
  write(line: string): void;
}

/** Lines that stderr does not take (its reader stalled, its disk full) wait up to this many octets; then they are lost. */
const WAITING_BYTES = 1024 * 1024;

/** Opens the log. Without a destination it is stderr. */
export function createLog(options: { level: LogLevel; format: LogFormat; destination?: LogDestination }): Log {
  const out = options.destination ?? stderrDestination();
  const format = options.format === 'text' ? textLine : (line: string): string => line;
  const logger = pino(
    {
      level: options.level,
      base: null,
      messageKey: 'message',
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => out.write(escapeControls(format(line.trimEnd())) + '\n') },
  );
  const writer =
    (level: LogLevel): Write =>
    (fields, message) => {
      if (logger.isLevelEnabled(level)) logger[level](plainFields(fields), message);
    };
  return { error: writer('error'), warn: writer('warn'), info: writer('info'), debug: writer('debug') };
}

function stderrDestination(): LogDestination {
  const stderr = openDestination({ fd: 2, sync: true, maxLength: WAITING_BYTES });
  // A log that nobody can read must not stop answers.
  stderr.on('error', () => undefined);
  return stderr;
}

/** JSON would write an Error as {} and refuse a bigint. */
function plainFields(fields: LogFields): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]): [string, unknown] => {
      if (value instanceof Error) return [name, describeError(value)];
      return [name, typeof value === 'bigint' ? String(value) : value];
    }),
  );
}

/** The messages of an error and of what caused it, at most four deep. */
function describeError(error: Error): string {
  const messages: string[] = [];
  for (let cause: unknown = error; cause instanceof Error && messages.length < 4; cause = cause.cause) {
    messages.push(cause.message === '' ? cause.name : cause.message);
  }
  return messages.join(': ');
}

/** `2026-11-21T06:12:00.000Z INFO message key=value`, from a line of JSON. */
function textLine(line: string): string {
  const { level, time, message, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const pairs = Object.entries(fields).map(([name, value]) => ` ${textValue(name)}=${textValue(value)}`);
  return `${String(time)} ${String(level).toUpperCase()} ${String(message)}${pairs.join('')}`;
}

/** A value that could be taken for something else stands in quotes. */
function textValue(value: unknown): string {
  if (typeof value !== 'string') return JSON.stringify(value);
  return value === '' || /[\s"=\\]/.test(value) ? JSON.stringify(value) : value;
}

/** Control and format characters (a bidirectional override turns a line round), line and paragraph separators. */
function escapeControls(line: string): string {
  return line.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
    Array.from({ length: character.length }, (_, i) => '\\u' + hex4(character.charCodeAt(i))).join(''),
  );
}

function hex4(unit: number): string {
  return unit.toString(16).padStart(4, '0');
}
