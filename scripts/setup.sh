#!/bin/sh
# What the tests and benches want from the system, by Debian's names. As root it installs what is missing and starts no
# daemon; as anyone else it names what is missing. Then the peers that have no package are built. Tests skip a peer
# that is not there, except in CI.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
sh "$here/preflight.sh" --installed

wanted='bind9-dnsutils knot knot-dnsutils nsd dnsperf etcd-server openssl libatomic1'
# Packages of kubectl exclude each other, and any of them will do.
if ! command -v kubectl >/dev/null; then
  wanted="$wanted kubernetes-client"
fi

installed() {
  [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# A subshell: its traps end with it.
install_missing() (
  # knot, nsd and etcd-server come with services. policy-rc.d is Debian's way to say that none may start now, `disable`
  # that none starts at the next boot; the tests run the daemons themselves, on ports of their own.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  echo "setup: installing$missing"
  export DEBIAN_FRONTEND=noninteractive
  # A source that cannot be reached matters only if the install then misses a package.
  apt-get -qq -o Acquire::Retries=3 update </dev/null || true
  # shellcheck disable=SC2086 # one word a package
  apt-get -qq -o Acquire::Retries=3 install --yes --no-install-recommends $missing </dev/null
  if command -v systemctl >/dev/null; then
    for package in $missing; do
      case $package in
        knot | nsd) systemctl --quiet disable "$package.service" 2>/dev/null || true ;;
        etcd-server) systemctl --quiet disable etcd.service 2>/dev/null || true ;;
      esac
    done
  fi
)

missing=
for package in $wanted; do
  if ! command -v dpkg-query >/dev/null || ! installed "$package"; then
    missing="$missing $package"
  fi
done
if [ -z "$missing" ]; then
  echo "setup: nothing is missing"
elif [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  install_missing
else
  echo "setup: missing:$missing (with Debian, as root: apt-get install$missing)" >&2
  if [ "${CI:-}" = true ]; then
    exit 1
  fi
fi
sh "$here/peers.sh"
sh "$here/preflight.sh"
