// A zone as a master file (RFC 1035 5.1) that Knot and NSD load, or as JSON. Pure: records in, text out.
// One record a line, every name absolute, no $ORIGIN and no $TTL: a line means the same wherever it stands, so that two
// dumps can be compared with diff and searched with grep.

/** One record in presentation form; the name is absolute and in lower case. */
export interface MasterRecord {
  readonly name: string;
  readonly type: string;
  readonly ttl: number;
  readonly data: string;
}

/** Where the fields begin, in characters from 0; a field that is too long pushes the next one by a space. */
const COLUMNS = { ttl: 48, class: 55, type: 58, data: 64 } as const;

/** Lines of a master file, each with its newline: `comments`, the SOA, the rest in the order given. Throws without one SOA. */
export function* masterFile(records: Iterable<MasterRecord>, comments: readonly string[]): Generator<string> {
  for (const comment of comments) yield `; ${oneLine(comment)}\n`;
  for (const record of soaFirst(records)) yield recordLine(record);
}

/** The same records as a JSON array, one a line. */
export function* masterJson(records: Iterable<MasterRecord>): Generator<string> {
  let before = '[\n  ';
  for (const { name, ttl, type, data } of soaFirst(records)) {
    yield before + JSON.stringify({ name, ttl, type, data });
    before = ',\n  ';
  }
  yield '\n]\n';
}

function soaFirst(records: Iterable<MasterRecord>): MasterRecord[] {
  const [soas, others]: [MasterRecord[], MasterRecord[]] = [[], []];
  for (const record of records) (record.type === 'SOA' ? soas : others).push(record);
  if (soas.length !== 1) throw new Error(`a zone has one SOA record, not ${soas.length}`);
  return [...soas, ...others];
}

function recordLine({ name, ttl, type, data }: MasterRecord): string {
  let line = safeName(name);
  line = line.padEnd(COLUMNS.ttl - 1) + ' ' + String(ttl);
  line = line.padEnd(COLUMNS.class - 1) + ' IN';
  line = line.padEnd(COLUMNS.type - 1) + ' ' + type;
  return line.padEnd(COLUMNS.data - 1) + ' ' + oneLine(data) + '\n';
}

/** A name that is escaped already stays as it is; otherwise what means something in a master file is escaped here. */
function safeName(name: string): string {
  return name.replaceAll(/\\(?:\d{3}|[!-~])|[^!#%-'*-:<-?A-[\]-~]/gu, (found) =>
    found.length > 1 && found.startsWith('\\') ? found : escape(found),
  );
}

/** No character that could end the line. Quotes, parentheses and semicolons are the presentation form's own. */
function oneLine(text: string): string {
  return text.replaceAll(/[^ -~]/gu, escape);
}

function escape(character: string): string {
  return [...Buffer.from(character)].map((octet) => '\\' + String(octet).padStart(3, '0')).join('');
}
