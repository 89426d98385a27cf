// The fault server's answers that are wrong on purpose, from the first octet on.

import type { AnswerFault } from './faults.ts';
import { sendNotFound, sendStatus, sendText, sendWhole } from './serve.ts';
import { status, type StatusParts } from './status.ts';
import type { Wire } from './wire.ts';

const JSON_TYPE = { 'content-type': 'application/json' };

export function fail(wire: Wire, fault: Exclude<AnswerFault, { type: 'hold' }>): void {
  switch (fault.type) {
    case 'black-hole':
      return;
    case 'headers-only':
      return wire.head(200, JSON_TYPE);
    case 'reset':
      return wire.destroy('reset');
    case 'hang-up':
      return wire.destroy('fin');
    case 'empty':
      return sendWhole(wire, 200, Buffer.alloc(0), JSON_TYPE);
    case 'raw':
      return sendWhole(wire, fault.code ?? 200, Buffer.from(fault.body), fault.headers ?? JSON_TYPE);
    case 'error-event': {
      const event = { type: 'ERROR', object: status(fault.code, statusParts({ ...fault, type: 'status' })) };
      return sendWhole(wire, 200, Buffer.from(`${JSON.stringify(event)}\n`), JSON_TYPE);
    }
    case 'status': {
      if (fault.isText === true && fault.code === 404) return sendNotFound(wire);
      if (fault.isText === true) return sendText(wire, fault.code, fault.message ?? 'no');
      const headers = fault.retryAfter === undefined ? {} : { 'retry-after': fault.retryAfter };
      return sendStatus(wire, status(fault.code, statusParts(fault)), headers);
    }
  }
}

function statusParts(fault: Extract<AnswerFault, { type: 'status' }>): StatusParts {
  const { message, reason, retryAfterSeconds } = fault;
  return {
    ...(message === undefined ? {} : { message }),
    ...(reason === undefined ? {} : { reason }),
    ...(retryAfterSeconds === undefined ? {} : { details: { retryAfterSeconds } }),
  };
}
