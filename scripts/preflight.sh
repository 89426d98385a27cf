#!/bin/sh
# Can the Node of this clone run? Every npm script that needs it asks here first, so that the answer is one line.
# `--installed` asks only whether npm ci has been run: setup.sh may still bring what the binary lacks.
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
node="$root/node_modules/node/bin/node"

if [ ! -d "$root/node_modules" ]; then
  echo "clusterset-dns: run npm ci first" >&2
  exit 1
fi
if [ ! -e "$node" ]; then
  echo "clusterset-dns: node_modules has no Node of its own: run npm ci first, without --ignore-scripts and --omit=dev" >&2
  exit 1
fi
if [ "${1:-}" = --installed ]; then
  exit 0
fi
if ! said=$("$node" --version 2>&1); then
  case $said in
    *libatomic.so.1*) echo "clusterset-dns: Node 26 needs libatomic.so.1: apt-get install libatomic1" >&2 ;;
    *) echo "clusterset-dns: node_modules/node/bin/node cannot run: $said" >&2 ;;
  esac
  exit 1
fi
