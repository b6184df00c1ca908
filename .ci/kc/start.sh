#!/usr/bin/env bash
# start.sh DIR PORT MANAGEMENT_PORT REALM_JSON...   a real Keycloak on loopback, forgetting everything when it ends
# - fetches the distribution through Maven when DIR has none (177 MB; Maven's own cache makes another DIR fast)
# - imports the realms, returns when the discovery document of each answers, writes DIR/pid
# The issuer follows the Host header. The first start of a DIR also runs Keycloak's build step (about 20 s).
# Environment: KC_VERSION, KC_JAVA_HOME, KC_HEAP (512m), KC_WAIT (600 s)
set -euo pipefail
die() { echo "start.sh: $*" >&2; exit 1; }
[ $# -ge 4 ] || die "usage: start.sh DIR PORT MANAGEMENT_PORT REALM_JSON..."
mkdir -p "$1"; DIR=$(cd "$1" && pwd); PORT=$2; MANAGEMENT=$3; shift 3
VERSION=${KC_VERSION:-26.7.3}
DIST=$DIR/keycloak-$VERSION

# a JDK: the one named, else the newest of JAVA_HOME, java on PATH and its neighbours (17 or later)
jdk() {
  local best= bestv=16 d v j
  j=$(readlink -f "$(command -v java)" 2>/dev/null || true); j=${j%/bin/java}
  for d in "${KC_JAVA_HOME:-}" "${JAVA_HOME:-}" "$j" ${j:+"${j%/*}"/*}; do
    [ -n "$d" ] && [ -x "$d/bin/java" ] || continue
    v=$("$d/bin/java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -1)
    if [ "$d" = "${KC_JAVA_HOME:-}" ]; then echo "$d"; return; fi
    if [ "${v:-0}" -gt "$bestv" ]; then best=$d; bestv=$v; fi
  done
  [ -n "$best" ] && echo "$best"
}
JAVA_HOME=$(jdk) || die "no JDK 17 or later found; set KC_JAVA_HOME"
export JAVA_HOME

if [ ! -x "$DIST/bin/kc.sh" ]; then
  for pause in 5 20 60 0; do # -U: a failure is not remembered
    mvn -q -B -U dependency:copy -Dartifact="org.keycloak:keycloak-quarkus-dist:$VERSION:zip" -DoutputDirectory="$DIR/dl" >"$DIR/mvn.log" 2>&1 && break
    [ "$pause" != 0 ] || { tail -20 "$DIR/mvn.log" >&2; die "download failed four times"; }
    echo "start.sh: download failed, and is tried again in $pause s" >&2; sleep "$pause"
  done
  (cd "$DIR" && python3 -m zipfile -e dl/*"$VERSION".zip .)
  chmod +x "$DIST"/bin/*.sh
  rm -rf "$DIR/dl"
fi

mkdir -p "$DIST/data/import"; rm -f "$DIST"/data/import/*.json
REALMS=()
for f in "$@"; do
  r=$(jq -er .realm "$f") || die "$f has no .realm"
  cp "$f" "$DIST/data/import/$r-realm.json"
  REALMS+=("$r")
done

export KC_BOOTSTRAP_ADMIN_USERNAME=admin KC_BOOTSTRAP_ADMIN_PASSWORD=admin
export JAVA_OPTS="-Xms64m -Xmx${KC_HEAP:-512m} -XX:+UseSerialGC -XX:MetaspaceSize=96M -XX:MaxMetaspaceSize=256m \
-XX:+ExitOnOutOfMemoryError -Dfile.encoding=UTF-8 -Djava.net.preferIPv4Stack=true -XX:TieredStopAtLevel=1"
setsid "$DIST/bin/kc.sh" start-dev --import-realm --http-host 127.0.0.1 --http-port "$PORT" \
  --http-management-host 127.0.0.1 --http-management-port "$MANAGEMENT" --health-enabled true --cache local --db dev-mem \
  >"$DIR/keycloak.log" 2>&1 </dev/null 9>&- &
PID=$!
echo "$PID" >"$DIR/pid"

fail() { tail -25 "$DIR/keycloak.log" >&2; kill -- "-$PID" 2>/dev/null || true; rm -f "$DIR/pid"; die "$1"; }
trap 'fail interrupted' INT TERM
END=$((SECONDS + ${KC_WAIT:-600}))
for r in "${REALMS[@]}"; do
  until curl -sf --noproxy '*' -m 5 -o /dev/null "http://127.0.0.1:$PORT/realms/$r/.well-known/openid-configuration"; do
    kill -0 "$PID" 2>/dev/null || fail "Keycloak ended"
    [ "$SECONDS" -lt "$END" ] || fail "no answer from the realm $r"
    sleep 0.3
  done
done
