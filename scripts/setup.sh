#!/bin/sh
# What the tests and benches want from the system, by Debian's names. As root it installs what is missing and starts no
# daemon; as anyone else it names what is missing. Tests skip a peer that is not there, except in CI.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
sh "$here/preflight.sh" --installed

wanted='bind9-dnsutils knot knot-dnsutils nsd dnsperf libatomic1'

installed() {
  [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=
for package in $wanted; do
  if ! command -v dpkg-query >/dev/null || ! installed "$package"; then
    missing="$missing $package"
  fi
done
if [ -z "$missing" ]; then
  echo "setup: nothing is missing"
  exec sh "$here/preflight.sh"
fi

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "setup: missing:$missing (with Debian, as root: apt-get install$missing)" >&2
  if [ "${CI:-}" = true ]; then
    exit 1
  fi
  exit 0
fi

# knot and nsd come with services. policy-rc.d is Debian's way to say that none may start now, `disable` that none
# starts at the next boot; the tests run the daemons themselves, on ports of their own.
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
    esac
  done
fi
sh "$here/preflight.sh"
