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
  /** The configuration file, and those of its keys that are no flags. */
  config: {
    /** A larger file is refused. */
    fileOctets: 1_024 * 1_024,
    /** What YAML aliases may multiply a node by. */
    aliases: 100,
    /** Refusals, and unknown keys of one mapping, of which the first in the file is told. */
    complaints: 100,
    /** `startupTimeout`, `unknownFor` and `staleAfter`. */
    startupTimeoutMillis: 3_600_000,
    unknownForMillis: 3_600_000,
    staleAfterMillis: 86_400_000,
    /** `holdFor`: thirty days. */
    holdForMillis: 30 * 86_400_000,
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
  /** Watching API servers. Times in milliseconds unless the name says otherwise. */
  reflector: {
    /** One object of a watch or a list; etcd takes at most 1.5 MiB. */
    objectOctets: 8 * 1_024 * 1_024,
    /** A failure's Status, and a discovery document. */
    statusOctets: 64 * 1_024,
    discoveryOctets: 8 * 1_024 * 1_024,
    /** Objects asked for in one page. */
    pageObjects: 500,
    connectMillis: 5_000,
    /** To the first octet of a reply. */
    headersMillis: 15_000,
    /** A page, a discovery document, or the initial events of a watch-list, from its headers to its end. */
    listMillis: 60_000,
    /** A watch-list that is silent for so long before its closing bookmark will never send it. */
    initialQuietMillis: 10_000,
    /** A server that cannot do watch-list is asked for it again after this. */
    watchListAgainMillis: 3_600_000,
    /** A watch asks for a random life between these. */
    watchSecondsLeast: 240,
    watchSecondsMost: 600,
    /** A watch without any octet for so long is dead; more where the server's bookmarks are further apart. */
    idleMillis: 90_000,
    /** TCP keepalive. */
    keepAliveMillis: 30_000,
    /** A watch that ends sooner than this, without trouble, counts as trouble: no hot loop. */
    shortestWatchMillis: 1_000,
    /** First window of the backoff (full jitter); it doubles up to one of the next two. */
    backoffMillis: 800,
    backoffConnectionMillis: 4_000,
    backoffAnswerMillis: 30_000,
    /** Health for so long makes the backoff begin anew. */
    healthyMillis: 120_000,
    /** A resource that is forbidden or not installed is asked for again after this, jittered. */
    slowPollMillis: 60_000,
    /** What a server's Retry-After is clamped to. */
    retryAfterLeastMillis: 1_000,
    retryAfterMostMillis: 60_000,
    /** Failures of a watch in a row, after which it lists instead of going on from its resourceVersion. */
    failuresToRelist: 3,
    /** Between two lists that only look for events that a watch skipped, jittered by half. */
    auditMillis: 6 * 3_600_000,
    /** A list that would empty most of a cluster is asked for again after this before it is believed. */
    confirmMillis: 5_000,
    /** Which list that is: one that takes this part of the names away, and at least this many. */
    massDeleteShare: 0.8,
    massDeleteLeast: 20,
    /** Lists at once, over all clusters; one that takes longer than a turn lets the next begin. */
    listsAtOnce: 8,
    listTurnMillis: 5_000,
    /** Deleted objects that are remembered, so that an older event does not bring them back. */
    tombstones: 1_024,
    /** Objects of a cluster of which refused fields are kept. */
    refusedObjects: 1_000,
    /** Exported services whose slices are listed one by one; with more, all slices are listed. */
    exportsToList: 32,
    /** The main thread swaps objects in for so long, then lets its other work go on. */
    commitSliceMillis: 5,
    /** Between two looks at the files that credentials come from, and at a token file. */
    filesMillis: 2_000,
    tokenMillis: 60_000,
    /** Credentials that end are asked for anew this long before. */
    expiryMillis: 60_000,
  },
  zone: {
    /** Changes are answered at once and gathered into at most one sealed version, one serial, in this time. */
    sealMillis: 1_000,
    /** The main thread publishes for so long, then lets its other work go on. */
    publishSliceMillis: 5,
  },
} as const;
