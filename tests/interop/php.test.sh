#!/usr/bin/env bash
# PHP's curl extension: the proxy from the environment, the CA from curl.cainfo, as php.ini would say it.
. "$(dirname "$0")/support.sh"
require php php-cli
php -r 'exit(extension_loaded("curl") ? 0 : 1);' ||
    fail "PHP's curl extension is missing; 'deploy/packages.sh interop' installs it (php-curl)"
start
main_job PHP php -d curl.cainfo="$SSL_CERT_FILE" "$interop/clients/client.php"
