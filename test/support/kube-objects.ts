// What a real API server is given before a test: the CRD of KEP-2149, written here because no package has it, and the
// rights of a reader of members. The CRDs of KEP-1645 come with scripts/peers.sh.

/** The fields of a CustomResourceDefinition that tests look at. */
export interface Crd {
  readonly spec: {
    readonly group: string;
    readonly names: { readonly plural: string };
    readonly versions: { readonly name: string; served: boolean }[];
  };
}

const value = { type: 'string', minLength: 1, maxLength: 128_000 };

/** about.k8s.io/v1alpha1, cluster-scoped: a name and `spec.value`. */
export const clusterPropertyCrd = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: {
    name: 'clusterproperties.about.k8s.io',
    // Required of every CRD in a group of k8s.io.
    annotations: { 'api-approved.kubernetes.io': 'https://github.com/kubernetes/enhancements/pull/3084' },
  },
  spec: {
    group: 'about.k8s.io',
    scope: 'Cluster',
    names: { kind: 'ClusterProperty', plural: 'clusterproperties', singular: 'clusterproperty' },
    versions: [
      {
        name: 'v1alpha1',
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: {
            type: 'object',
            required: ['spec'],
            properties: { spec: { type: 'object', required: ['value'], properties: { value } } },
          },
        },
      },
    ],
  },
};

const verbs = ['get', 'list', 'watch'];

/** A ClusterRole of get, list and watch, bound to the user `reader`. */
export const readerRole = [
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata: { name: 'clusterset-dns-reader' },
    rules: [
      { apiGroups: ['multicluster.x-k8s.io'], resources: ['serviceimports', 'serviceexports'], verbs },
      { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs },
      { apiGroups: ['about.k8s.io'], resources: ['clusterproperties'], verbs },
    ],
  },
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: { name: 'clusterset-dns-reader' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'clusterset-dns-reader' },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'reader' }],
  },
];
