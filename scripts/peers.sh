#!/bin/sh
# Builds kube-apiserver and etcd, of which Debian has no current packages, and copies the multi-cluster CRDs, as go.mod
# and go.sum in peers/ pin them: once, into a cache outside the checkout. `--where` prints that cache's folder, which is
# there only when it is complete. Tests skip what is not there, except in CI.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# No other toolchain is fetched, no file of peers/ changed, and no C compiler asked for.
export GOTOOLCHAIN=local GOWORK=off GOFLAGS='-mod=readonly -buildvcs=false' CGO_ENABLED=0

# give_up REASON
give_up() {
  echo "setup: $1: the tests with a real kube-apiserver are skipped" >&2
  if [ "${CI:-}" = true ]; then
    exit 1
  fi
  exit 0
}

cd "$here/peers"
if ! version=$(go version 2>/dev/null); then
  if [ "${1:-}" = --where ]; then
    exit 1
  fi
  give_up 'no Go'
fi
cache="${CLUSTERSET_DNS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/clusterset-dns}/peers"
key=$({ echo "$version" && cat go.mod go.sum "$here/peers.sh"; } | sha256sum | cut -c1-16)
where="$cache/$key"
if [ "${1:-}" = --where ]; then
  echo "$where"
  exit 0
fi
if [ -d "$where" ]; then
  echo "setup: kube-apiserver and etcd are built"
  exit 0
fi

mkdir -p "$cache"
exec 9>"$cache/lock"
if ! flock --nonblock 9; then
  echo "setup: waiting for another build of kube-apiserver and etcd"
  flock 9
  if [ -d "$where" ]; then
    exit 0
  fi
fi
rm -rf "$cache"/building.* # whose build was killed
building=$(mktemp -d "$cache/building.XXXXXX")
trap 'rm -rf "$building"' EXIT
trap 'exit 1' HUP INT TERM
chmod 755 "$building"

echo "setup: building kube-apiserver and etcd, once (5 to 8 minutes)"
kube_apiserver=k8s.io/kubernetes/cmd/kube-apiserver
etcd=go.etcd.io/etcd/server/v3
crd=sigs.k8s.io/mcs-api/config/crd
# Loading the packages fetches them all: what fails from here on is no matter of the network.
if ! go list -deps "$kube_apiserver" "$etcd" "$crd" >"$building/log" 2>&1; then
  give_up "cannot fetch kube-apiserver ($(tail -n 1 "$building/log"))"
fi
# What a release's own build says: /version would read v0.0.0-master otherwise.
release="-X k8s.io/component-base/version.gitVersion=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)"
mkdir "$building/bin" "$building/crd"
if ! {
  go build -trimpath -ldflags "-s -w $release" -o "$building/bin/kube-apiserver" "$kube_apiserver" &&
    go build -trimpath -ldflags '-s -w' -o "$building/bin/etcd" "$etcd"
} >"$building/log" 2>&1; then
  give_up "cannot build kube-apiserver ($(tail -n 1 "$building/log"))"
fi
cp "$(go list -f '{{.Dir}}' "$crd")"/*.yaml "$building/crd/"
rm "$building/log"
mv "$building" "$where"
