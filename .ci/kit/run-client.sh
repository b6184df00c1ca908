#!/usr/bin/env bash
# run-client.sh CLIENT MCP_URL TOOL [JSON_ARGS]   one client: login, list, call, refresh; one JSON line; exit 0 when all is good
. "$(dirname "$0")/lib/common.sh"
run_client "$@"
