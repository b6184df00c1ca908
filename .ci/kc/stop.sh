#!/usr/bin/env bash
# stop.sh DIR   ends the Keycloak that start.sh started in DIR
set -euo pipefail
DIR=$(cd "${1:?usage: stop.sh DIR}" && pwd)
[ -f "$DIR/pid" ] || exit 0
PID=$(cat "$DIR/pid")
# only our own: a pid file may outlive its process, and the number may have been given to another
if ps -ww -o args= -p "$PID" | grep -qF "$DIR/keycloak-"; then
  kill -- "-$PID" 2>/dev/null || true # kc.sh leads a process group of its own (setsid): its java goes with it
  for _ in $(seq 75); do
    pgrep -g "$PID" >/dev/null || break
    sleep 0.2
  done
  ! pgrep -g "$PID" >/dev/null || kill -s KILL -- "-$PID" 2>/dev/null || true
fi
rm -f "$DIR/pid"
