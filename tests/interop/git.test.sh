#!/usr/bin/env bash
# git over https (GnuTLS, GIT_SSL_CAINFO), over http and in base-URL mode: from git's own server, and from plain files.
. "$(dirname "$0")/support.sh"
require git git
require_npm # git's own server stands behind the live part of the vendor
start
start_live

export GIT_TERMINAL_PROMPT=0
git config --global user.name interop
git config --global user.email interop@vendor.test
git config --global http.extraHeader "Authorization: $APPLICATION_AUTHORIZATION"

commit_new_bytes() { # FOLDER MESSAGE: random, so that the pack is as large
    head -c 3000001 /dev/urandom >"$1/big"
    git -C "$1" add big
    git -C "$1" commit --quiet --message "$2"
}

repository=$scratch/www/git/repository.git
git init --quiet --initial-branch=main "$scratch/origin"
commit_new_bytes "$scratch/origin" first
git clone --quiet --bare "$scratch/origin" "$repository"
git -C "$repository" repack -adq
git -C "$repository" update-server-info

# remotely NAME COUNT ARGUMENT...: git does it, and the vendor has seen at least so many requests.
remotely() {
    local name=$1 count=$2
    shift 2
    : >"$scratch/vendor.log"
    timeout 60 git "$@" 2>"$scratch/client.err" || fail "git, $name, ended with exit code $?"
    only_the_vendors_credential "git, $name" "$count"
}

clone() {
    local folder=$scratch/clone
    rm -rf "$folder"
    remotely "clone $1" 2 clone --quiet "$1" "$folder"
    cmp "$folder/big" "$scratch/origin/big" || fail "the clone of $1 differs"
}
for path in live/git git; do
    clone "https://api.vendor.test/$path/repository.git"
    clone "http://plain.vendor.test/$path/repository.git"
    clone "$base_url/api/$path/repository.git"
done

# What is pushed is more than git buffers: it goes in chunks.
commit_new_bytes "$scratch/origin" second
remotely push 3 -C "$scratch/origin" push --quiet https://api.vendor.test/live/git/repository.git main
same 'what the vendor has now' "$(git -C "$repository" log -1 --format=%s main)" second

if git clone --quiet https://unknown.vendor.test/git/repository.git "$scratch/unknown" 2>"$scratch/client.err"; then
    fail 'git clones from a host that no policy names'
fi
grep -q 403 "$scratch/client.err" || fail 'git does not say that Sluice refused'
