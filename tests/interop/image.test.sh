#!/usr/bin/env bash
# The image's second stage installs `deploy/packages.sh --list run`: that list holds a package for each library that
# the binary names, and none for a library that it does not.
set -euo pipefail

# What Debian's smallest system has already, and what is data.
present=$'ca-certificates\nlibc6'

# Of what the loader finds, only what the binary itself names: what those libraries need is their packages' business.
# dpkg knows a file by the path of its package, with or without /usr.
needed=$(while read -r library; do
    file=$(realpath "$(ldd "$SLUICE" | awk -v library="$library" '$1 == library {print $3}')")
    dpkg-query -S "$file" 2>/dev/null || dpkg-query -S "${file#/usr}"
done < <(objdump -p "$SLUICE" | awk '$1 == "NEEDED" && $2 !~ /^ld-linux/ {print $2}') | cut -d: -f1 | sort -u)
listed=$("$SLUICE_SOURCE_DIR/deploy/packages.sh" --list run | sort -u)

status=0
for package in $needed; do
    if ! grep -qxF "$package" <<<"$listed"$'\n'"$present"; then
        echo "the binary needs $package, which the list does not have"
        status=1
    fi
done
for package in $listed; do
    if ! grep -qxF "$package" <<<"$needed"$'\n'"$present"; then
        echo "the list has $package, which the binary does not need"
        status=1
    fi
done
exit $status
