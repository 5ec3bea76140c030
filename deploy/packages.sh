#!/usr/bin/env bash
# The Debian 12 packages that Sluice needs, one list a purpose, and their installation.
#
#   deploy/packages.sh PURPOSE...          install what is missing (root, or through sudo)
#   deploy/packages.sh --list PURPOSE...   print the names, one a line, and touch nothing
#
# Called by deploy/quickstart.sh, tests/run.sh and the Dockerfile, so that none of them has a list of its own.
set -euo pipefail

# "package:command" is also satisfied by that command from elsewhere on PATH: nodejs from another archive, for
# instance, brings its own npm and conflicts with Debian's.
packages_for() {
    case $1 in
    build) # the sluice binary
        # prometheus-cpp's CMake configuration looks for civetweb, zlib and curl, which its package brings;
        # only its core library is linked.
        echo ca-certificates ccache cmake g++ ninja-build
        echo libboost1.81-dev libboost-json1.81-dev libc-ares-dev libcli11-dev libssl-dev libyaml-cpp-dev
        echo libbrotli-dev libzstd-dev prometheus-cpp-dev zlib1g-dev
        ;;
    run) # what the binary loads when it runs: the container image's second stage
        echo ca-certificates
        echo libboost-json1.81.0 libbrotli1 libc-ares2 libgcc-s1 libprometheus-cpp-core1.0 libssl3 libstdc++6 libyaml-cpp0.7
        echo libzstd1 zlib1g
        ;;
    unit) # unit and integration tests
        echo catch2
        ;;
    interop) # real clients, a real vendor, and promtool (in Debian's prometheus package)
        echo curl git nginx-light openssl procps prometheus unzip wget
        echo golang-go:go nodejs:node npm:npm openjdk-17-jdk-headless:javac
        echo perl libwww-perl liblwp-protocol-https-perl php-cli php-curl ruby
        echo python3 python3-aiohttp python3-httpx python3-requests python3-yaml
        ;;
    fuzz) # clang 14, Debian's default, cannot compile a C++20 coroutine under AddressSanitizer
        echo clang-16 libclang-rt-16-dev llvm-16
        ;;
    bench)
        echo haproxy jq libbenchmark-dev nginx-light openssl procps python3 util-linux
        ;;
    *)
        echo "packages.sh: no such purpose: $1 (build run unit interop fuzz bench)" >&2
        return 2
        ;;
    esac
}

usage() {
    sed -n '2,/^set/{s/^# \{0,1\}//p}' "$0"
}

is_installed() {
    local package=${1%%:*} command=${1#*:}
    if [[ $1 == *:* ]] && command -v "$command" >/dev/null; then
        return 0
    fi
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]]
}

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif [[ -t 0 ]]; then
        sudo "$@"
    else
        sudo -n "$@" # nobody is there to type a password
    fi
}

# Packages with daemons start them when they are installed, and at every boot from then on. Neither belongs on the
# machine of somebody who wants to run tests: policy-rc.d keeps them from starting, and afterwards they are disabled.
# A policy-rc.d that is already there stays as it is.
policy_file=/usr/sbin/policy-rc.d
policy_is_ours=no

hold_services() {
    if [[ ! -e $policy_file ]]; then
        policy_is_ours=yes
        as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$policy_file && chmod 755 $policy_file"
    fi
}

release_services() {
    if [[ $policy_is_ours == yes ]]; then
        policy_is_ours=no
        as_root rm -f "$policy_file"
    fi
}

disable_services() {
    local package
    command -v systemctl >/dev/null || return 0
    for package in "$@"; do
        case $package in
        haproxy | prometheus) as_root systemctl --quiet disable "$package" 2>/dev/null || true ;;
        nginx-light) as_root systemctl --quiet disable nginx 2>/dev/null || true ;;
        esac
    done
}

install_missing() {
    local missing=("$@")
    if ! command -v apt-get >/dev/null; then
        echo "packages.sh: there is no apt-get here; Sluice builds with the packages of Debian 12: ${missing[*]}" >&2
        return 1
    fi
    if ((EUID != 0)) && ! command -v sudo >/dev/null; then
        echo "packages.sh: neither root nor sudo; let an administrator run: apt-get install ${missing[*]}" >&2
        return 1
    fi

    echo "installing: ${missing[*]}"
    trap release_services EXIT
    hold_services
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0)
    if ! as_root "${apt[@]}" update ||
        ! as_root "${apt[@]}" install --no-install-recommends "${missing[@]}" </dev/null; then
        echo "packages.sh: these could not be installed: ${missing[*]}" >&2
        return 1
    fi
    disable_services "${missing[@]}"
}

main() {
    local list=no purpose entry names=() missing=()
    case ${1:-} in
    -h | --help) usage && return ;;
    --list) list=yes && shift ;;
    esac
    if (($# == 0)); then
        usage >&2
        return 2
    fi
    for purpose in "$@"; do
        entry=$(packages_for "$purpose") || return 2
        # The lists hold plain words, so splitting is what is wanted.
        # shellcheck disable=SC2206
        names+=($entry)
    done

    if [[ $list == yes ]]; then
        printf '%s\n' "${names[@]%%:*}" | sort -u
        return
    fi
    for entry in "${names[@]}"; do
        is_installed "$entry" || missing+=("${entry%%:*}")
    done
    if ((${#missing[@]} > 0)); then
        install_missing "${missing[@]}"
    fi
}

main "$@"
