#!/usr/bin/env bash
# curl, which takes everything from the environment.
. "$(dirname "$0")/support.sh"
require curl curl
start

main_job curl "$interop/clients/curl.sh"

# The same without the environment is refused by the CA: Sluice's leaves are trusted by nobody else.
if curl --silent --cacert "$scratch/vendor-ca.crt" https://api.vendor.test/seen; then
    fail 'curl trusts a CA that is not ours'
fi

# A host that no policy names is refused, at CONNECT where there is one.
curl --silent http://unknown.vendor.test/ | grep -q '"reason":"unknown_vendor"' || fail 'unknown over http'
same 'the answer to CONNECT' \
    "$(curl --silent --write-out '%{http_connect}' https://unknown.vendor.test/ || true)" 403

# Sluice originates TLS where only the target says https.
same 'https in absolute-form' \
    "$(printf 'GET https://api.vendor.test/seen HTTP/1.1\r\nHost: api.vendor.test\r\nConnection: close\r\n\r\n' |
        curl --silent --no-buffer "telnet://$proxy" | tail -n 1)" "GET https /seen [Bearer $api_secret]"

# `sluice exec` is the same environment around one command.
executed=$("$SLUICE" exec --config "$scratch/started.yaml" -- \
    curl --silent --show-error https://api.vendor.test/seen 2>"$scratch/client.err")
same 'curl inside of sluice exec' "$executed" "GET https /seen [Bearer $api_secret]"

require promtool prometheus
curl --silent --show-error "http://$admin/metrics" >"$scratch/metrics"
promtool check metrics <"$scratch/metrics" || fail 'promtool has something to say'
grep '^sluice_requests_total{.*vendor="api"' "$scratch/metrics" | grep -q 'code="200"' ||
    fail "no answers of the vendor are counted: $(grep '^sluice_requests_total' "$scratch/metrics")"
