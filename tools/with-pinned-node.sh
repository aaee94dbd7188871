#!/bin/sh
# with-pinned-node.sh SCRIPT [ARG...]: runs SCRIPT under the pinned Node, bringing in the locked dependencies
# (development ones included) first when they are missing or the lock file has changed.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
SALVAGE_WITH_DEV=1
. "$root/tools/bring-in.sh"
exec "$node" "$@"
