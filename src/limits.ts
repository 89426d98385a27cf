// Every bound of this process that is no rule of the wire format (those stand in dns/iana.ts) and no bound of the zone
// image's layout (dns/image.ts): one table, so that a person can see what a client, a file or an object can cost.

/** Octets unless the name says otherwise. */
export const limits = {
  /** Values of flags. */
  flags: {
    /** `--workers`: more threads than this on one socket only wait for each other. */
    workers: 32,
    /** The default of `--workers` stops here: two already answer more than any forwarder asks. */
    defaultWorkers: 4,
    /** `--ttl` and `--negative-ttl`. */
    ttlSeconds: 3_600,
    /** `--zone`: its own names (`hostmaster`, `ns.dns`) must fit, and most services'. */
    zoneCharacters: 120,
    /** `--lameduck`: Kubernetes kills a pod after 30 s unless told otherwise. */
    lameduckMillis: 600_000,
  },
  /** DNS over TCP (RFC 7766, RFC 9210). Times are kept to within two sweeps, never short of them. */
  tcp: {
    /** Connections open at once, over all listeners; one more closes the one whose last message is longest ago. */
    connections: 1_024,
    /** Descriptors left to everything else where `ulimit -n` is smaller than the connections would need. */
    reservedDescriptors: 64,
    /** A connection without a message under way is closed after this. */
    idleMillis: 30_000,
    /** A message must be whole this long after its first octet: a deadline a message, not a read. */
    messageMillis: 5_000,
    /** A connection that has unsent replies must finish one write in this time. */
    unsentMillis: 10_000,
    /** Unsent replies of one connection: past it we neither answer nor read. One reply may come on top. */
    unsentOctets: 256 * 1_024,
    /** Partial messages, unread input and unsent replies of all connections: who would pass it is closed. */
    heldOctets: 64 * 1_024 * 1_024,
    /** Messages answered in one go, hence in one write. */
    messagesPerWrite: 256,
    /** Work on input left over from earlier reads in one turn of the event loop: a message, or a KiB of reply, is one. */
    workPerTurn: 1_024,
    /** Stopping waits this long for replies under way. */
    closeMillis: 5_000,
    /** Between two looks at all connections for those out of time. */
    sweepMillis: 250,
  },
  /** The admin port. */
  admin: {
    /** Connections at once: probes and a few scrapers. */
    connections: 128,
    /** From a connection's first moment to the end of its request's headers, and of its body. */
    requestMillis: 5_000,
    /** The request line and headers. */
    headerOctets: 8 * 1_024,
  },
  /** Manifests of a lab fleet. */
  lab: {
    /** A larger file is named and not read. */
    fileOctets: 64 * 1_024 * 1_024,
    /** Folders in folders. */
    depth: 16,
    /** `List` objects in `List` objects. */
    listDepth: 4,
    /** Findings told of one file. */
    findingsPerFile: 100,
  },
  /** Kubernetes objects. What a compromised cluster can put into one stays bounded. */
  objects: {
    /** Reasons kept of why parts of one object were left out; the rest is only counted. */
    refusals: 20,
    /** Ports of a ServiceImport or EndpointSlice. */
    ports: 20_000,
    /** Endpoints of a slice, as the API server has it, and addresses of an endpoint. */
    endpoints: 1_000,
    addresses: 100,
    /** Ports of one merged service or endpoint. */
    mergedPorts: 1_000,
  },
  zone: {
    /** Changes are answered at once and gathered into at most one sealed version, one serial, in this time. */
    sealMillis: 1_000,
    /** The main thread publishes for so long, then lets its other work go on. */
    publishSliceMillis: 5,
  },
} as const;
