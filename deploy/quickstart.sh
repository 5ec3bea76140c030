#!/usr/bin/env bash
# From a fresh Debian 12 machine to Sluice at work: installs what is missing, builds the release binary, runs the demo.
#
#   deploy/quickstart.sh                 ends when the demo has shown its requests
#   deploy/quickstart.sh --stay          keeps the demo running, with curl lines to try (any option is the demo's)
#   deploy/quickstart.sh --build-only    stops after the build: build/release/sluice
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1:-} in
-h | --help)
    sed -n '2,/^set/{s/^# \{0,1\}//p}' deploy/quickstart.sh
    exit
    ;;
esac

echo '== packages'
deploy/packages.sh build

# Without these, ccache does not keep what was compiled with a precompiled header.
export CCACHE_SLOPPINESS=pch_defines,time_macros
echo '== build'
configure=(cmake --preset release)
# Catch2 is needed for tests only. A tree that tests/run.sh has already configured keeps its tests.
[[ -f build/release/CMakeCache.txt ]] || configure+=(-DSLUICE_TESTS=OFF)
"${configure[@]}"
NINJA_STATUS='[%f/%t %es] ' cmake --build build/release --target sluice --parallel "$(deploy/jobs.sh)"

if [[ ${1:-} == --build-only ]]; then
    echo 'built build/release/sluice'
    exit
fi
echo '== demo'
exec build/release/sluice demo "$@"
