#!/usr/bin/env bash
# Node's HTTP clients that take the proxy from the environment, and the CA from NODE_EXTRA_CA_CERTS.
. "$(dirname "$0")/support.sh"
require_npm
start
for client in fetch undici axios; do
    main_job "Node $client" "$node" "$interop/clients/client.mjs" "$client"
done
