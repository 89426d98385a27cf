// Names between text and wire form, for the control plane. The data plane never sees text.
// Source: RFC 1035 3.1 (wire form), 5.1 (presentation form with \DDD), RFC 4343 (lower case).

import { MAX_LABEL_OCTETS } from '../dns/iana.ts';

/** `web.shop` → 3 w e b 4 s h o p, without the root label. Labels are ASCII of 1 to 63 octets, without escapes. */
export function labelsToWire(name: string): Uint8Array {
  const labels = name === '' ? [] : name.toLowerCase().split('.');
  const wire = new Uint8Array(labels.reduce((octets, label) => octets + label.length + 1, 0));
  let at = 0;
  for (const label of labels) {
    if (label.length === 0 || label.length > MAX_LABEL_OCTETS) throw new RangeError(`no name: ${name}`);
    wire[at++] = label.length;
    for (let i = 0; i < label.length; i++) wire[at++] = label.charCodeAt(i);
  }
  return wire;
}

/** The same with the root label: an absolute name. */
export function nameToWire(name: string): Uint8Array {
  return concatWire(labelsToWire(name), new Uint8Array(1));
}

export function concatWire(...pieces: readonly Uint8Array[]): Uint8Array {
  const wire = new Uint8Array(pieces.reduce((octets, piece) => octets + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    wire.set(piece, at);
    at += piece.length;
  }
  return wire;
}

/** The absolute name at `from` of `octets` (uncompressed) in presentation form, with its last dot. */
export function wireToText(octets: Uint8Array, from: number): string {
  if (octets[from] === 0) return '.';
  let text = '';
  for (let p = from; octets[p] !== 0; p += octets[p]! + 1) {
    for (let i = 1; i <= octets[p]!; i++) text += escapeOctet(octets[p + i]!);
    text += '.';
  }
  return text;
}

function escapeOctet(octet: number): string {
  const character = String.fromCharCode(octet);
  if (/[A-Za-z0-9_*-]/.test(character)) return character;
  return octet > 0x20 && octet < 0x7f ? '\\' + character : '\\' + octet.toString().padStart(3, '0');
}
