#!/usr/bin/env bash
# Server-sent events arrive one by one. No clock is asked: an event that were held back would keep the next from
# being sent, and the client would wait for ever.
. "$(dirname "$0")/support.sh"
require_npm
start
start_live
for url in https://api.vendor.test/live/events http://plain.vendor.test/live/events "$base_url/api/live/events"; do
    timeout 20 "$node" "$interop/clients/events.mjs" "$url" 2>"$scratch/client.err" || fail "the events of $url"
done
only_the_vendors_credential 'server-sent events' 9
