// Status objects (meta/v1), as a kube-apiserver words its failures.

const reasons: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  410: 'Expired',
  422: 'Invalid',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
};

const messages: Readonly<Record<number, string>> = {
  401: 'Unauthorized',
  404: 'the server could not find the requested resource',
  410: 'too old resource version: 1 (2)',
  429: 'too many requests, please try again later.',
  500: 'Internal error occurred: etcdserver: request timed out',
  503: 'the server is currently unable to handle the request',
  504: 'Too large resource version: 2, current: 1',
};

export interface StatusParts {
  readonly message?: string;
  readonly reason?: string;
  readonly details?: Readonly<Record<string, unknown>>;
  /** `metadata.continue`: the 410 of an old `continue` offers one for an inconsistent list. */
  readonly continue?: string;
}

export interface Status {
  readonly kind: 'Status';
  readonly code: number;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

export function status(code: number, parts: StatusParts = {}): Status {
  return {
    kind: 'Status',
    ...{ apiVersion: 'v1', metadata: parts.continue === undefined ? {} : { continue: parts.continue } },
    ...{ status: 'Failure', message: parts.message ?? messages[code] ?? `code ${code}` },
    ...{ reason: parts.reason ?? reasons[code] ?? 'Unknown' },
    ...(parts.details === undefined ? {} : { details: parts.details }),
    code,
  };
}

/** 422 of a list or watch option. */
export function invalidOption(field: string, message: string): Status {
  return status(422, {
    message: `ListOptions.meta.k8s.io "" is invalid: ${field}: Forbidden: ${message}`,
    details: {
      group: 'meta.k8s.io',
      kind: 'ListOptions',
      causes: [{ reason: 'FieldValueForbidden', message: `Forbidden: ${message}`, field }],
    },
  });
}

/** 504 of a resourceVersion that is still to come, as after an etcd that was restored. */
export function tooLarge(asked: number, current: number): Status {
  return status(504, {
    message: `Too large resource version: ${asked}, current: ${current}`,
    details: {
      causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
      retryAfterSeconds: 1,
    },
  });
}
