#!/usr/bin/env bash
# Python's clients, as Debian packages them.
. "$(dirname "$0")/support.sh"
start
for library in urllib requests httpx aiohttp; do
    /usr/bin/python3 -c "import $library" ||
        fail "Python's $library is missing; 'deploy/packages.sh interop' installs it"
    main_job "Python $library" /usr/bin/python3 "$interop/clients/client.py" "$library"
done
