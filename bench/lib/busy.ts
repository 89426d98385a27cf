// What a busy control plane does, without end: it parses watch events and throws them away.

const EVENTS = JSON.stringify(
  Array.from({ length: 100 }, (_, i) => ({
    type: 'MODIFIED',
    object: {
      kind: 'EndpointSlice',
      metadata: { namespace: 'team', name: `web-${String(i)}`, labels: { 'kubernetes.io/service-name': 'web' } },
      endpoints: [{ addresses: [`10.0.0.${String(i)}`], conditions: { ready: true } }],
    },
  })),
);

/** Never returns. */
export function beBusy(): never {
  let objects = 0;
  for (;;) {
    const events = JSON.parse(EVENTS) as unknown[];
    objects = (objects + events.length) | 0;
  }
}
