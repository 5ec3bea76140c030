#!/usr/bin/env bash
set -euo pipefail
while read -r method url send save; do
    upload=()
    [[ $send == - ]] || upload=(--upload-file "$send")
    curl --silent --show-error --location --request "$method" "${upload[@]}" --output "$save" \
        --header "Authorization: $APPLICATION_AUTHORIZATION" --write-out '%{http_code}\n' "$url"
done
