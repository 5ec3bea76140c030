#!/usr/bin/env bash
# wget knows no variable for a CA, only an option. With --server-response it prints each status line, redirects too.
set -euo pipefail
while read -r method url send save; do
    upload=()
    [[ $send == - ]] || upload=(--body-file="$send")
    wget --no-verbose --server-response --content-on-error --tries=1 --ca-certificate="$SSL_CERT_FILE" \
        --method="$method" "${upload[@]}" --output-document="$save" \
        --header="Authorization: $APPLICATION_AUTHORIZATION" "$url" 2>"$save.err" ||
        (($? == 8)) # the server issued an error response
    grep -oP '^ *HTTP/\d\.\d \K\d+' "$save.err" | tail -n 1
done
