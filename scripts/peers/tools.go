// Package peers names the commands that the tests run and that Debian has no current package of, and the CRDs that
// they apply: `go mod tidy` keeps go.mod and go.sum to what they need. Nothing here is built into clusterset-dns.
package peers

import (
	_ "go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/kubernetes/cmd/kube-apiserver/app"
	_ "sigs.k8s.io/mcs-api/config/crd"
)
