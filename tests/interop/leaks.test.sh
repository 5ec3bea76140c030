#!/usr/bin/env bash
# Every secret that a policy can hold, a vendor and an issuer that tell everything on, and all that Sluice says and
# writes: none of the secrets is anywhere in it, in none of the forms that something could be encoded in.
. "$(dirname "$0")/support.sh"
require_npm
require openssl openssl
require curl curl

out=$scratch/out # what is searched in the end
mkdir -p "$out"

# secret NAME VALUE: kept in a file of that name, and looked for.
secret() {
    printf '%s %s\n' "$1" "$2" >>"$scratch/secrets"
    printf '%s' "$2" >"$scratch/$1"
}
secret bearer 'bearer+of/a-file=%41'
secret rotated 'bearer+after/rotation=%42'
secret previous 'bearer+before/rotation=%43'
secret header 'key-in-a"header"\of-its-own'
secret query 'key in a query&its+value'
secret password 'pass:word+of/somebody'
secret client 'secret-of+an/oauth=client'
secret refresh 'first-refresh+token/of=all'
secret refresh.other 'another-refresh+token/of=all'
secret token 'minted+access/token=of-the.issuer'
secret hmac 'key-of+a/signature=for-all'
secret aws 'aws+secret/access=key/of=all'
secret session 'aws+session/token=of=all=='
secret environment 'of+a-program/environment='
secret printed 'printed+by/a=program'
secret plain 'written+in/plain=text'
secret subject 'subject-token+of/an-exchange=='
secret federated 'federated-token+of/a-cluster=='
secret approle 'secret-id+of/an=approle'
secret vault-session 'client-token+of/vault=='
secret client-password 'password+of/a:client=%45'
secret wrong-password 'guess-at+a/password=%46'
secret vault-value 'kept-in+vault/<&>=%44'
for n in 0 1 2 3 4; do printf 'rotated-refresh-%s %s-refresh-%s\n' $n "$(cat "$scratch/token")" $n; done >>"$scratch/secrets"

make_keys() {
    make_vendor_authority
    openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256 -out "$scratch/signing.key" 2>"$scratch/openssl.log"
    local key
    for key in github google; do openssl genpkey -algorithm rsa -out "$scratch/$key.key" 2>>"$scratch/openssl.log"; done
    for key in signing vendor github google; do printf 'pem-of-%s %s\n' $key "$(sed -n 2p "$scratch/$key.key")"; done >>"$scratch/secrets"
}

# One writes down what it was given, before it prints a token; the other tells its secret and fails.
write_programs() {
    cat >"$scratch/program" <<END
#!/bin/sh
cat /proc/\$\$/environ /proc/\$\$/cmdline >"$scratch/child"
printf '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"%s"}}' "\$(cat "$scratch/printed")"
END
    cat >"$scratch/noisy-program" <<END
#!/bin/sh
echo "wrong: \$OF_THE_PROGRAM, \$(printf %s "\$OF_THE_PROGRAM" | base64)" >&2
echo "{\"token\": \"\$OF_THE_PROGRAM\"}"
exit 3
END
    chmod +x "$scratch/program" "$scratch/noisy-program"
}

# google_account TOKEN-ENDPOINT: a key file as Google gives it.
google_account() {
    printf '{"type": "service_account", "client_email": "me@project.test", "private_key_id": "1", "token_uri": "%s", "private_key": "%s"}' \
        "$1" "$(awk '{printf "%s\\n", $0}' "$scratch/google.key")"
}

start_parrot() {
    "$node" "$interop/clients/parrot.mjs" "$scratch" "$(cat "$scratch/token")" >"$scratch/live.log" 2>&1 &
    pids+=($!)
    eventually 30 grep -q ^listening "$scratch/live.log" || fail 'the vendor does not start'
    parrot=$(grep -oP '^listening \K.*' "$scratch/live.log")
    google_account "$parrot/token/good" >"$scratch/google.json"
    google_account "$parrot/token/refused" >"$scratch/google-refused.json"
}

# Of every type of the language; `vaulted` by the login that is called `vault`.
good=(bearer header query basic oauth refresh exchange assertion hmac aws gcp azure github vaulted leased program overlap mtls)
bad=(refused odd garbage exchange-refused assertion-refused gcp-refused azure-refused github-refused vault-refused noisy)

write_policy() {
    local name
    local issuer="addresses: [127.0.0.0/8, '::1/128'], tls: {ca: {file: $scratch/vendor-ca.crt}}"
    local approle="address: $parrot/vault, auth: {approle: {role_id: me, secret_id: {file: $scratch/approle}}}, $issuer"
    local azure="authority_host: $parrot, client_id: me, scope: all, token_file: $scratch/federated, $issuer"
    local github="api_url: $parrot/github, app_id: 12, key: {file: $scratch/github.key}, $issuer"
    local client="client_id: somebody, client_secret: {file: $scratch/client}, $issuer"
    cat <<END
version: 1
listen: {proxy: "127.0.0.1:$1", admin: "127.0.0.1:$2"}
state: $scratch/state
credentials:
  bearer: {type: bearer, value: {file: $scratch/bearer}}
  header: {type: api_key, header: x-api-key, value: {env: SECRET_OF_HEADER}}
  query: {type: api_key, query: key, value: {env: SECRET_OF_QUERY}}
  basic: {type: basic, username: somebody, password: {file: $scratch/password}}
  overlap: {type: bearer, value: {file: $scratch/rotated}, overlap: {secret: {file: $scratch/previous}}}
  oauth: {type: oauth2_client_credentials, token_url: $parrot/token/good, $client}
  refresh: {type: oauth2_refresh_token, token_url: $parrot/token/refresh, refresh_token: {file: $scratch/refresh}, $client}
  assertion: {type: oauth2_jwt_bearer, token_url: $parrot/token/good, key: {file: $scratch/signing.key}, issuer: me, $issuer}
  exchange: {type: oauth2_token_exchange, token_url: $parrot/token/good, subject_token: {file: $scratch/subject}, $issuer}
  gcp: {type: gcp, source: service_account, key: {file: $scratch/google.json}, scope: [all], $issuer}
  azure: {type: azure_workload_identity, tenant: good, $azure}
  github: {type: github_app, installation_id: 1, $github}
  vault: {type: vault, $approle}
  vaulted: {type: bearer, value: {vault: "kv/data/good#key"}}
  leased: {type: vault, path: kv/data/good, field: key, $approle}
  hmac: {type: hmac, key: {file: $scratch/hmac}, algorithm: sha256, string_to_sign: "{method}\n{target}", header: x-signature}
  aws: {type: aws_sigv4, region: eu-central-1, service: s3, source: environment}
  program: {type: exec, command: [$scratch/program], env: {OF_THE_PROGRAM: {file: $scratch/environment}}}
  mtls: {type: mtls, cert: {file: $scratch/vendor.crt}, key: {file: $scratch/vendor.key}}
  refused: {type: oauth2_client_credentials, token_url: $parrot/token/refused, $client, client_auth: client_secret_post, eager: false}
  odd: {type: oauth2_client_credentials, token_url: $parrot/token/odd, $client, client_auth: client_secret_post, eager: false}
  garbage: {type: oauth2_refresh_token, token_url: $parrot/token/garbage, refresh_token: {file: $scratch/refresh.other}, $client, eager: false}
  exchange-refused: {type: oauth2_token_exchange, token_url: $parrot/token/odd, subject_token: {file: $scratch/subject}, $issuer, eager: false}
  assertion-refused: {type: oauth2_jwt_bearer, token_url: $parrot/token/refused, key: {file: $scratch/signing.key}, issuer: me, $issuer, eager: false}
  gcp-refused: {type: gcp, source: service_account, key: {file: $scratch/google-refused.json}, scope: [all], $issuer, eager: false}
  azure-refused: {type: azure_workload_identity, tenant: refused, $azure, eager: false}
  github-refused: {type: github_app, installation_id: 2, $github, eager: false}
  vault-refused: {type: vault, path: kv/data/refused, field: key, $approle, eager: false}
  noisy: {type: exec, command: [$scratch/noisy-program], env: {OF_THE_PROGRAM: {file: $scratch/environment}}, eager: false}
vendors:
END
    for name in "${good[@]}" "${bad[@]}"; do
        vendor_yaml "$name" "$parrot" "$name"
    done
}

# What a command says, whatever it ends with.
say() {
    local name=$1
    shift
    "$@" >"$out/$name" 2>&1 || true
    [[ -s $out/$name ]] || fail "$name: $* says nothing"
}
ask() { # NAME CURL-ARGUMENT...
    say "$1" curl --silent --show-error --include --max-time 15 "${@:2}"
}
status() {
    grep -oP '^HTTP/1.1 \K\d+' "$out/$1" | tail -n 1
}

# every_request NAME...: of these vendors.
every_request() {
    local name url
    for name; do
        url=https://$name.vendor.test
        ask "$name.echo" "$url/echo?a=b%2Fc"
        ask "$name.post" --data 'a body' "$base_url/$name/echo"
        ask "$name.refused" "$url/refused"
        ask "$name.redirect" "$url/redirect"
        say "$name.explain" "$SLUICE" explain --config "$scratch/sluice.yaml" GET "$url/echo"
        say "$name.test" "$SLUICE" credential test --config "$scratch/sluice.yaml" "$name"
    done
    ask unknown https://unknown.vendor.test/
}

# The policy in force, and one that holds a secret as it should not.
every_command() {
    local page
    for page in config vendors metrics ready live; do ask "$1.$page" "http://$admin/$page"; done
    ask "$1.reload" --request POST "http://$admin/reload"
    say "$1.status" "$SLUICE" status --config "$scratch/sluice.yaml"
    say "$1.check" "$SLUICE" check --config "$scratch/sluice.yaml"
    say "$1.against" "$SLUICE" check --config "$scratch/sluice.yaml" --against "http://$admin"
    say "$1.env" "$SLUICE" env --config "$scratch/sluice.yaml"
    say "$1.exec" "$SLUICE" exec --config "$scratch/exec.yaml" --log "$out/$1.exec.log" -- sh -c 'env; curl -si https://bearer.vendor.test/echo'
}

# Applications that log in, one of them with what it guesses.
clients_log_in() {
    local name page pid log=$out/clients.log
    {
        write_policy 0 0 | sed "s#^state: .*#state: $scratch/state-of-clients#"
        printf 'clients:\n  shop: {password: {file: %s}, vendors: [bearer]}\n' "$scratch/client-password"
    } >"$scratch/clients.yaml"
    "$SLUICE" run --config "$scratch/clients.yaml" >"$log" 2>&1 &
    pid=$!
    pids+=("$pid")
    eventually 20 grep -q '"event":"started"' "$log" || fail 'Sluice with clients does not start'
    started=$(grep -m1 '"event":"started"' "$log")
    for name in client wrong; do
        ask "clients.$name" --header "Proxy-Authorization: Basic $(printf 'shop:%s' "$(cat "$scratch/$name-password")" | base64 -w0)" \
            "http://$(grep -o '"proxy":"[^"]*"' <<<"$started" | cut -d'"' -f4)/bearer/echo"
    done
    same 'a client: status' "$(status clients.client)" 200
    same 'a stranger: status' "$(status clients.wrong)" 407
    for page in config vendors metrics; do
        ask "clients.$page" "http://$(grep -o '"admin":"[^"]*"' <<<"$started" | cut -d'"' -f4)/$page"
    done
    kill "$pid"
    wait "$pid" || fail 'Sluice with clients does not end well'
}

search() {
    local left
    left=$(/usr/bin/python3 "$interop/clients/leaks.py" "$@") || fail "secrets are told:
$(cut -c1-300 <<<"$left")"
}

process_is_closed() {
    local apart=$scratch/apart open
    mkdir "$apart"
    cp "$SLUICE" "$apart/sluice"
    printf '%s' "$(cat "$scratch/bearer")" >"$apart/bearer"
    cat >"$apart/sluice.yaml" <<END
version: 1
listen: {proxy: "127.0.0.1:0", admin: "127.0.0.1:0"}
state: $apart/state
credentials: {bearer: {type: bearer, value: {file: $apart/bearer}}}
vendors: {bearer: {hosts: [bearer.vendor.test], credential: bearer}}
END
    if ((EUID == 0)); then chown -R 65534:65534 "$apart"; fi
    chmod 711 "$scratch"
    open=$(cd "$apart" && env -i PATH="$PATH" /usr/bin/python3 "$interop/clients/closed.py" ./sluice sluice.yaml crash.log) ||
        fail "closed.py: $(tail -n 3 "$apart/crash.log")"
    [[ -z $open ]] || fail "Sluice can be looked into: $open"
    cp "$apart/crash.log" "$out/crash.log"
}

forget_the_user
make_keys
write_programs
start_parrot
SECRET_OF_HEADER=$(cat "$scratch/header") SECRET_OF_QUERY=$(cat "$scratch/query") AWS_ACCESS_KEY_ID=AKIDREAL \
    AWS_SECRET_ACCESS_KEY=$(cat "$scratch/aws") AWS_SESSION_TOKEN=$(cat "$scratch/session") start_sluice
write_policy 0 0 | sed "s#^state: .*#state: $scratch/state-of-exec#" >"$scratch/exec.yaml"
become_the_application

every_request "${good[@]}" "${bad[@]}"
for name in "${good[@]}"; do same "$name: status" "$(status "$name.echo")" 200; done
for name in "${bad[@]}"; do same "$name: status" "$(status "$name.echo")" 503; done
for name in bearer basic oauth refresh exchange assertion gcp azure github vaulted leased program; do
    grep -q '^x-echo: .*\*\*\*' "$out/$name.echo" || fail "$name: the vendor has echoed nothing"
done
say doctor "$SLUICE" doctor --config "$scratch/sluice.yaml"
every_command before

# A secret that is rotated, a policy that is bad and holds one, and a policy that is good again.
sees_the_new_bearer() {
    ask rotated.echo https://bearer.vendor.test/echo
    grep -qi "^x-echo: Bearer \*\{$(wc -c <"$scratch/rotated")\}"$'\r' "$out/rotated.echo"
}
cp "$scratch/rotated" "$scratch/bearer"
eventually 20 sees_the_new_bearer || fail "the new secret is not taken: $(cat "$out/rotated.echo")"
cp "$scratch/started.yaml" "$scratch/good.yaml"
sed -i "s#value: {file: $scratch/bearer}#value: '$(cat "$scratch/plain")'#" "$scratch/started.yaml"
ask bad.reload --request POST "http://$admin/reload"
same 'a bad policy: status' "$(status bad.reload)" 422
say bad.check "$SLUICE" check --config "$scratch/started.yaml"
say bad.explain "$SLUICE" explain --config "$scratch/started.yaml" GET https://bearer.vendor.test/
say bad.run "$SLUICE" run --config "$scratch/started.yaml"
cp "$scratch/good.yaml" "$scratch/started.yaml"
every_command after
every_request bearer overlap refresh vaulted garbage vault-refused

# The end, while something is in flight.
curl --silent --include --max-time 20 https://bearer.vendor.test/held >"$out/held" 2>&1 &
held=$!
eventually 10 grep -q ^held "$scratch/live.log" || fail 'no request is held'
kill "$sluice_pid"
eventually 10 grep -q '"event":"draining"' "$scratch/sluice.log" || fail 'it does not drain'
curl --silent --noproxy '*' --cacert "$scratch/vendor-ca.crt" "$parrot/release"
wait "$held" || fail 'what was in flight has failed'
wait "$sluice_pid" || fail 'it does not end well'
cp "$scratch/sluice.log" "$out/sluice.log"

clients_log_in
process_is_closed

# Of what is written only the refresh tokens may be in `state`, and in a program's environment only what it was given.
find "$scratch/state" "$scratch/state-of-exec" "$scratch/state-of-clients" -type f -printf '%m %p\n' >"$scratch/state.files"
! grep -E '[.]key$|refresh' "$scratch/state.files" | grep -v '^600 ' || fail "others can read what is in \`state\`"
while read -r _ file; do
    [[ $file == *refresh* ]] || cp "$file" "$out/state.$(tr / . <<<"$file")"
done <"$scratch/state.files"
grep -q '"event":"credential_minted".*"why":"command"' "$out"/state.*.state.audit.jsonl || fail 'the audit trail is not searched'
"$SLUICE" audit verify --config "$scratch/sluice.yaml" >"$out/audit.verify" || fail "the audit trail is broken: $(cat "$out/audit.verify")"
search "$scratch/secrets" "$out"/*
grep -v '^environment ' "$scratch/secrets" >"$scratch/secrets.of-others"
search "$scratch/secrets.of-others" "$scratch/child"
grep -q OF_THE_PROGRAM "$scratch/child" || fail 'the program was not given its environment'

# That they would have been found, also inside of something that was encoded as a whole.
printf 'x%s.' "$(cat "$scratch/bearer")" | base64 >"$scratch/one-more"
for name in header query one-more; do
    ! /usr/bin/python3 "$interop/clients/leaks.py" "$scratch/secrets" "$scratch/$name" >/dev/null ||
        fail "$name would not be found"
done
printf 'nothing is told: %s outputs, %s bytes, %s secrets\n' "$(find "$out" -type f | wc -l)" \
    "$(cat "$out"/* | wc -c)" "$(wc -l <"$scratch/secrets")"
