// Label and field selectors as list and watch requests carry them. Labels: `key`, `!key`, `=`, `==`, `!=`, `in (…)`,
// `notin (…)`, joined by commas. Fields: metadata.name and metadata.namespace, equality only.

import type { Stored } from './model.ts';

export type Selector = (object: Stored) => boolean;

const all: Selector = () => true;

/** Undefined: it does not parse. */
export function readSelectors(labelSelector: string | null, fieldSelector: string | null): Selector | undefined {
  const tests: Selector[] = [];
  for (const text of split(labelSelector ?? '')) {
    const test = readRequirement(text);
    if (test === undefined) return undefined;
    tests.push(({ labels }) => test(labels));
  }
  for (const text of split(fieldSelector ?? '')) {
    const [, field, operator, value = ''] = /^metadata\.(name|namespace)(==?|!=)(.*)$/.exec(text) ?? [];
    if (operator === undefined) return undefined;
    tests.push((object) => (object[field as 'name' | 'namespace'] === value) === (operator !== '!='));
  }
  if (tests.length === 0) return all;
  return (object) => tests.every((test) => test(object));
}

type Labels = Stored['labels'];

function readRequirement(text: string): ((labels: Labels) => boolean) | undefined {
  const key = '([-A-Za-z0-9_./]+)';
  const [, not, bare] = new RegExp(`^(!?)\\s*${key}$`).exec(text) ?? [];
  if (bare !== undefined) return (labels) => labels.has(bare) === (not === '');
  const [, set, word, list = ''] = new RegExp(`^${key}\\s+(in|notin)\\s*\\((.*)\\)$`).exec(text) ?? [];
  if (set !== undefined) {
    const values = new Set(list.split(',').map((value) => value.trim()));
    const isIn = (labels: Labels): boolean => labels.has(set) && values.has(labels.get(set)!);
    return word === 'in' ? isIn : (labels) => !isIn(labels);
  }
  const [, name, operator, value = ''] = new RegExp(`^${key}\\s*(==|=|!=)\\s*([-A-Za-z0-9_.]*)$`).exec(text) ?? [];
  if (name === undefined) return undefined;
  return (labels) => (labels.get(name) === value) === (operator !== '!=');
}

/** At commas outside of parentheses. */
function split(text: string): string[] {
  return text
    .split(/,(?![^(]*\))/)
    .map((part) => part.trim())
    .filter((part) => part !== '');
}
