// Names as the index knows them: folded to lower case four octets at a time, and hashed with a secret key.
// Folding is ASCII only and by octet (RFC 4343): length octets are below 64, so they are never in A to Z, and no octet
// above 127 changes. The hash is HalfSipHash with 1 and 2 rounds: members of the fleet choose names, so a chain of
// colliding ones must not be computable.

import { MAX_NAME_OCTETS } from './iana.ts';

/** Words of the longest name. */
export const KEY_WORDS = (MAX_NAME_OCTETS + 3) >> 2;

/**
 * Folds the name of `octets` octets that begins at word `from` of `words` into `key`, zero-padded, and returns its hash.
 * The octets behind the name in its last word may be anything. Checked in full by the caller: 1 to 255 octets.
 */
export function foldName(words: Int32Array, from: number, octets: number, key: Int32Array, seed: number): number {
  const last = (octets - 1) >> 2;
  const spare = (4 - (octets & 3)) & 3;
  let v0 = seed;
  let v1 = seed ^ 0x3c6ef372;
  let v2 = 0x6c796765 ^ v0;
  let v3 = 0x74656462 ^ v1;
  for (let i = 0; i <= last; i++) {
    let word = words[from + i]!;
    if (i === last) word &= -1 >>> (spare << 3);
    // 0x20 is set in the octets that are 0x41 to 0x5a, four at once.
    const low = word & 0x7f7f7f7f;
    word |= (((low + 0x3f3f3f3f) ^ (low + 0x25252525)) & ~word & 0x80808080) >>> 2;
    key[i] = word;
    v3 ^= word;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= word;
  }
  v2 ^= 0xff;
  for (let round = 0; round < 2; round++) {
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
  }
  return v1 ^ v3;
}
