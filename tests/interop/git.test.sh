#!/usr/bin/env bash
# git over https (GnuTLS, GIT_SSL_CAINFO), over http and in base-URL mode. nginx serves the repository's files.
. "$(dirname "$0")/support.sh"
require git git
start

author=(-c user.name=interop -c user.email=interop@vendor.test)
git init --quiet --initial-branch=main "$scratch/origin"
cp "$scratch/www/big" "$scratch/origin/big" # random bytes: the pack is as large
git -C "$scratch/origin" add big
git -C "$scratch/origin" "${author[@]}" commit --quiet --message 'three million bytes'
git clone --quiet --bare "$scratch/origin" "$scratch/www/git/repository.git"
git -C "$scratch/www/git/repository.git" repack -adq
git -C "$scratch/www/git/repository.git" update-server-info

export GIT_TERMINAL_PROMPT=0
clone() {
    local name=$1 url=$2
    : >"$scratch/vendor.log"
    timeout 60 git -c http.extraHeader="Authorization: $APPLICATION_AUTHORIZATION" clone --quiet "$url" \
        "$scratch/$name" 2>"$scratch/client.err" || fail "git clone ($name) ended with exit code $?"
    cmp "$scratch/$name/big" "$scratch/www/big" || fail "$name: the clone differs"
    same "$name: the commit" "$(git -C "$scratch/$name" log --format=%s)" 'three million bytes'
    only_the_vendors_credential "git, $name" 3
}
clone intercepted https://api.vendor.test/git/repository.git
clone absolute-form http://plain.vendor.test/git/repository.git
clone base-url "$base_url/api/git/repository.git"

if git clone --quiet https://unknown.vendor.test/git/repository.git "$scratch/unknown" 2>"$scratch/client.err"; then
    fail 'git clones from a host that no policy names'
fi
grep -q 403 "$scratch/client.err" || fail 'git does not say that Sluice refused'
