// Stored objects, lists and watch events as JSON, in the order of fields in which a kube-apiserver writes them: of
// built-in resources kind and apiVersion come first and items have neither; a CRD's list has its metadata at the end.

import type { Stored } from './model.ts';
import { resources, type ResourceName } from './resources.ts';

/** Large enough that a list costs few writes, small enough that many at once cost no memory. */
const PART_OCTETS = 128 * 1_024;

function headOf(resource: ResourceName, groupVersion: string): string {
  const { kind, isCustom } = resources[resource];
  return isCustom
    ? `"apiVersion":"${groupVersion}","kind":"${kind}",`
    : `"kind":"${kind}","apiVersion":"${groupVersion}",`;
}

/** The object alone. `version` where it is not its own: that of a deletion. */
export function objectJson(
  resource: ResourceName,
  groupVersion: string,
  object: Stored,
  version = object.version,
): Buffer {
  if (object.isVerbatim) return object.body;
  const head = `{${headOf(resource, groupVersion)}"metadata":{"resourceVersion":"${version}",`;
  return Buffer.concat([Buffer.from(head), object.body]);
}

export function eventLine(type: string, object: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`{"type":"${type}","object":`), object, Buffer.from('}\n')]);
}

export function bookmarkLine(
  resource: ResourceName,
  groupVersion: string,
  version: number,
  endsInitialEvents: boolean,
): Buffer {
  const annotations = endsInitialEvents ? ',"annotations":{"k8s.io/initial-events-end":"true"}' : '';
  const rest = resource === 'EndpointSlice' ? ',"addressType":"","endpoints":null,"ports":null' : '';
  const metadata = `{"resourceVersion":"${version}","creationTimestamp":null${annotations}}`;
  return eventLine('BOOKMARK', Buffer.from(`{${headOf(resource, groupVersion)}"metadata":${metadata}${rest}}`));
}

/** A list in parts. */
export function* listJson(
  resource: ResourceName,
  groupVersion: string,
  objects: Iterable<Stored>,
  metadata: Readonly<Record<string, unknown>>,
): Generator<Buffer> {
  const { kind, isCustom } = resources[resource];
  const meta = JSON.stringify(metadata);
  const head = isCustom
    ? `{"apiVersion":"${groupVersion}","items":[`
    : `{"kind":"${kind}List","apiVersion":"${groupVersion}","metadata":${meta},"items":[`;
  const tail = isCustom ? `],"kind":"${kind}List","metadata":${meta}}\n` : ']}\n';
  const itemHead = `{${isCustom ? headOf(resource, groupVersion) : ''}"metadata":{"resourceVersion":"`;
  yield Buffer.from(head);
  let part = Buffer.allocUnsafe(PART_OCTETS);
  let filled = 0;
  let separator = '';
  for (const object of objects) {
    const text = object.isVerbatim ? separator : `${separator}${itemHead}${object.version}",`;
    separator = ',';
    const octets = text.length + object.body.length;
    if (filled + octets > part.length) {
      yield part.subarray(0, filled);
      part = Buffer.allocUnsafe(Math.max(PART_OCTETS, octets));
      filled = 0;
    }
    filled += part.write(text, filled, 'latin1');
    filled += object.body.copy(part, filled);
  }
  yield part.subarray(0, filled);
  yield Buffer.from(tail);
}
