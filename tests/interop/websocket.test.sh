#!/usr/bin/env bash
# WebSockets through CONNECT to an intercepted host, through CONNECT to a plain one, and in base-URL mode.
. "$(dirname "$0")/support.sh"
require_npm
start
start_live

websocket() {
    timeout 30 "$node" "$interop/clients/websocket.mjs" "$@" 2>"$scratch/client.err" || fail "the WebSocket at $1"
}
websocket wss://api.vendor.test/live/echo proxy
websocket ws://plain.vendor.test/live/echo proxy
websocket "${base_url/http:/ws:}/api/live/echo" direct
only_the_vendors_credential WebSocket 3

if (websocket wss://unknown.vendor.test/live/echo proxy) 2>"$scratch/client.err"; then
    fail 'a WebSocket to a host that no policy names'
fi
