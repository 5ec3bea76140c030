#!/usr/bin/env bash
# Vendors' own SDKs for Node, with fake APIs behind them: OpenAI, Stripe, S3.
. "$(dirname "$0")/support.sh"
require_npm
start
start_live
export OPENAI_API_KEY=of-the-application OPENAI_BASE_URL=$base_url/openai/v1

# sdk NAME COUNT ARGUMENT...: how many requests the vendor then has seen, and the SDK's arguments.
sdk() {
    local name=$1 count=$2
    shift 2
    : >"$scratch/vendor.log"
    timeout 30 "$node" "$interop/clients/$name.mjs" "$@" 2>"$scratch/client.err" || fail "the SDK of $name $*"
    only_the_vendors_credential "$name $*" "$count"
}
sdk openai 5
sdk openai 5 https://openai.vendor.test/v1
sdk stripe 2
sdk s3 3 "$base_url/s3" direct
sdk s3 5 https://s3.vendor.test proxy
