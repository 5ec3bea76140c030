#!/usr/bin/env bash
# wget (GnuTLS): the proxy from the environment, the CA from --ca-certificate.
. "$(dirname "$0")/support.sh"
require wget wget
start
main_job wget "$interop/clients/wget.sh"
