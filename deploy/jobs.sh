#!/usr/bin/env bash
# Prints how many compilers may run at once: one a core, and never more than memory has room for. A file full of
# coroutines takes g++ up to 1.5 GiB, and a compiler that the kernel kills says nothing of why.
set -euo pipefail

cores=$(nproc)
fitting=$(awk '/^MemAvailable:/ {print int($2 / (1536 * 1024))}' /proc/meminfo)
jobs=$((cores < fitting ? cores : fitting))
echo $((jobs > 0 ? jobs : 1))
