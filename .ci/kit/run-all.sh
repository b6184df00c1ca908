#!/usr/bin/env bash
# run-all.sh MCP_URL TOOL [JSON_ARGS]     KIT=DIR of setup.sh
# Runs every client (CLIENTS="a b c" for some) one after another, each with its own home and a limit of T seconds (150), prints a table and
# leaves DIR/results.jsonl (OUT=DIR, default a temporary folder). Exit 0 when all are good.
HERE=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 2 ] || { sed -n 2,5p "$0" >&2; exit 2; }
OUT=${OUT:-$(mktemp -d)}; mkdir -p "$OUT"; OUT=$(cd "$OUT" && pwd); : > "$OUT/results.jsonl"
CLIENTS=${CLIENTS:-ts-v1 ts-v2 ts-v2-modern mcp-remote inspector go-sdk py-mcp fastmcp mcporter codex claude opencode gemini copilot}
bad=0
for c in $CLIENTS; do
  s=$(date +%s)
  l=$(WORK="$OUT/$c" "$HERE/run-client.sh" "$c" "$@"); rc=$?
  e=$(( $(date +%s) - s ))
  x=ok; [ $rc -eq 0 ] || { x=FAIL; bad=1; }
  printf '%s\n' "$l" | sed "s/}\$/,\"seconds\":$e,\"verdict\":\"$x\"}/" >> "$OUT/results.jsonl"
  echo "$c: $x (${e}s)" >&2
done
node -e '
const r=require("fs").readFileSync(process.argv[1],"utf8").trim().split("\n").map(JSON.parse);
const rows=[["client","version","registration","login","tools","call","refresh","s","verdict","notes"],...r.map(o=>[o.client,o.version,o.registration,o.login,o.tools,o.call,o.refresh,o.seconds,o.verdict,o.notes.replace(/\|/g,"/").slice(0,140)])].map(x=>x.map(String));
const w=rows[0].map((_,i)=>Math.max(...rows.map(x=>x[i].length)));
rows.forEach((x,i)=>{console.log("| "+x.map((v,j)=>j==x.length-1?v:v.padEnd(w[j])).join(" | ")+" |");if(!i)console.log("|"+w.map(n=>"-".repeat(Math.min(n,20)+2)).join("|")+"|")});
const n=r.filter(o=>o.verdict=="ok").length;console.log(`\n${n} passed, ${r.length-n} failed`);
' "$OUT/results.jsonl"
echo "logs: $OUT" >&2
exit $bad
