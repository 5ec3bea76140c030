#!/usr/bin/env bash
# OAuth against two token endpoints that we did not write, and a vendor that takes only what these have signed. The
# application has no token and sees none: not in its answers, though the vendor echoes every header, nor in the log.
. "$(dirname "$0")/support.sh"
require_npm
require openssl openssl
require curl curl
resource=https://api.vendor.test/

# What needs encoding, wherever it goes.
printf '%s' 'the secret: of+a/client %&=?' >"$scratch/client.secret"
printf '%s' 'another-secret-of-a-client' >"$scratch/wrong.secret"

make_keys() {
    local name
    make_vendor_authority
    {
        openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:2048 -out "$scratch/rsa.key"
        openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256 -out "$scratch/ec.key"
        for name in 'by certificate' 'somebody else'; do
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -days 2 \
                -keyout "$scratch/${name// /-}.key" -out "$scratch/${name// /-}.crt" \
                -CA "$scratch/vendor-ca.crt" -CAkey "$scratch/vendor-ca.key" -addext basicConstraints=critical,CA:false
        done
    } 2>"$scratch/openssl.log" || fail "openssl: $(cat "$scratch/openssl.log")"
}

start_issuers() {
    NODE_EXTRA_CA_CERTS=$scratch/vendor-ca.crt \
        "$node" "$interop/clients/issuers.mjs" "$scratch" >"$scratch/issuers.log" 2>&1 &
    pids+=($!)
    eventually 30 grep -q ^listening "$scratch/issuers.log" || fail 'the issuers do not start'
    read -r _ mock provider vendor < <(grep ^listening "$scratch/issuers.log")
}

# credential NAME TYPE LINE...
credential() {
    printf '  %s:\n    type: oauth2_%s\n' "$1" "$2"
    printf '    %s\n' "${@:3}"
}

# A pair of the client that is named so: showing NAME.
showing() {
    printf '%s, client: {cert: {file: %s}, key: {file: %s}}}' "${trusted%\}}" "$scratch/$1.crt" "$scratch/$1.key"
}

write_credentials() {
    local at_mock=("token_url: $mock" 'addresses: [127.0.0.1]' "audience: $resource")
    local at_provider=("token_url: $provider" 'addresses: [127.0.0.0/8, "::1/128"]' 'scope: [read]')
    local trusted="tls: {ca: {file: $scratch/vendor-ca.crt}}"
    local jwt=("${at_provider[@]}" "resource: ['$resource']") # an access token that is one
    local plain=("${jwt[@]}" "$trusted")
    local secret="client_secret: {file: $scratch/client.secret}" wrong="client_secret: {file: $scratch/wrong.secret}"
    local rsa="key: {file: $scratch/rsa.key}" ec="key: {file: $scratch/ec.key}"
    local basic='client_auth: client_secret_basic' post='client_auth: client_secret_post'
    local signed='client_auth: private_key_jwt' shown='client_auth: tls_client_auth' lazy='eager: false'

    credential mock-basic client_credentials "${at_mock[@]}" 'client_id: mock:basic' "$secret" "$basic" 'scope: [read, write]'
    credential mock-post client_credentials "${at_mock[@]}" 'client_id: mock:post' "$secret" "$post"
    credential basic client_credentials "${plain[@]}" 'client_id: "by basic: +/%"' "$secret"
    credential post client_credentials "${plain[@]}" 'client_id: by post' "$secret" "$post"
    credential rs256 client_credentials "${plain[@]}" 'client_id: by RS256' "$rsa" 'kid: rsa.key' "$signed"
    credential es256 client_credentials "${plain[@]}" 'client_id: by ES256' "$ec" "$signed"
    credential certificate client_credentials "${jwt[@]}" 'client_id: by certificate' "$shown" "$(showing by-certificate)"
    credential refresh refresh_token "${at_provider[@]}" "$trusted" 'client_id: by refresh' "$secret" \
        "refresh_token: {file: $scratch/refresh.token}"
    credential assertion jwt_bearer "token_url: ${provider%token}assertions" "${at_provider[@]:1}" "$trusted" "$ec" \
        'issuer: by assertion' 'subject: another person' 'claims: {tenant: 42}'
    credential exchange token_exchange "${at_provider[@]}" "$trusted" 'client_id: by exchange' "$secret" "$post" \
        "audience: $resource" "subject_token: {file: $scratch/subject.token}" 'subject_token_type: jwt'
    credential wrong-basic client_credentials "${plain[@]}" 'client_id: by post' "$wrong" "$lazy"
    credential wrong-certificate client_credentials "${jwt[@]}" 'client_id: by certificate' "$shown" "$(showing somebody-else)" "$lazy"
    credential wrong-key client_credentials "${plain[@]}" 'client_id: by RS256' "$ec" "$signed" "$lazy"
}

# A vendor for each credential, by the same name.
write_policy() {
    local credentials name
    credentials=$(write_credentials)
    cat <<END
version: 1
listen: {proxy: "127.0.0.1:$1", admin: "127.0.0.1:$2"}
state: $scratch/state
defaults: {timeout: {connect: 10s, tls: 10s}}
credentials:
$credentials
vendors:
END
    for name in $(grep -oP '^  \K[^ :]+' <<<"$credentials"); do
        vendor_yaml "$name" "$vendor" "$name"
    done
}

# ask NAME [PATH]: the application's request, with an Authorization of its own; its answer's head and body go to a file.
ask() {
    curl --silent --show-error --max-time 15 --include --suppress-connect-headers --header "Authorization: $APPLICATION_AUTHORIZATION" \
        "https://$1.vendor.test${2:-/seen}" >"$scratch/answer" 2>"$scratch/client.err" || fail "curl to $1" 2>&3
}

status() {
    head -n 1 "$scratch/answer" | cut -d' ' -f2
}

# claims of the token, and how many times a client was granted or refused one: `of JSON KEY...`, "" where there is none.
of() {
    /usr/bin/python3 -c '
import json, sys
value = json.loads(sys.stdin.readlines()[-1])
for key in sys.argv[1:]: value = value.get(key, "") if value else ""
print(value)' "$@"
}
claim() { of claims "$@" <"$scratch/answer"; }
requests() { curl --silent --noproxy '*' --cacert "$scratch/vendor-ca.crt" "$vendor/requests" | of "$@"; }

# No token that the vendor has seen may be anywhere else.
nothing_tells() {
    local file
    for file in "$@"; do
        ! grep -qF -f "$scratch/tokens" "$file" || fail "a token is in ${file##*/}"
        ! grep -qF -e "$(cat "$scratch/client.secret")" -e "$(cat "$scratch/wrong.secret")" \
            -e "$(cat "$scratch/subject.token")" -e "$(cat "$scratch/refresh.token")" -e of-the-application "$file" ||
            fail "a secret is in ${file##*/}"
    done
}

# granted NAME CLIENT SCOPE: the vendor has taken the token; the application sees who it is for, and stars in its place.
granted() {
    ask "$1"
    same "$1: status" "$(status)" 200
    same "$1: the client" "$(claim client_id)" "$2"
    same "$1: the audience" "$(claim aud)" "$resource"
    same "$1: the scope" "$(claim scope)" "$3"
    same "$1: what the vendor echoes" "$(of headers authorization <"$scratch/answer" | tr -d '*')" 'Bearer '
    nothing_tells "$scratch/answer"
    printf '%s: passed\n' "$1"
}

exec 3>&2 # what `eventually` hides
forget_the_user
make_keys
start_issuers
start_sluice
become_the_application

granted mock-basic mock:basic 'read write'
granted mock-post mock:post ''
granted basic 'by basic: +/%' read
granted post 'by post' read
granted rs256 'by RS256' read
granted es256 'by ES256' read
granted certificate 'by certificate' read
same 'the certificate that the token is bound to' "$(claim cnf x5t#S256)" \
    "$(openssl x509 -in "$scratch/by-certificate.crt" -outform der | openssl dgst -sha256 -binary |
        openssl base64 | tr '/+' '_-' | tr -d '=')"
granted assertion by-assertion read
same 'whom the assertion is about' "$(claim sub)" 'another person'
granted exchange 'by exchange' read
same 'whom the subject token is about' "$(claim sub)" 'a workload'
for client in mock:basic mock:post 'by basic: +/%' 'by post' 'by RS256' 'by ES256' 'by certificate' by-assertion 'by exchange'; do
    same "tokens fetched $client" "$(requests "$client")" "{'granted': 1}"
done

# One token serves everybody, until the vendor does not take it: then there is another, and the request is made again.
curl --silent --show-error --max-time 30 --parallel --parallel-max 5 --fail --output /dev/null \
    "$base_url/post/seen?[1-20]" 2>"$scratch/client.err" || fail '20 requests, five at once'
same 'tokens for 21 requests' "$(requests 'by post' granted)" 1
ask post
before=$(claim jti)
ask post /revoked
same 'a token that was revoked: status' "$(status)" 200
[[ $(claim jti) != "$before" ]] || fail 'the token that was revoked is the one that was taken'
same 'tokens after one was revoked' "$(requests 'by post' granted)" 2
echo 'a token that was revoked: passed'

# A refresh token is good for one time (a second one ends the grant for good): what came last is used, also by the
# next process.
another_token_than() {
    ask refresh
    [[ $(status) == 200 && $(claim jti) != "$1" ]]
}
granted refresh 'by refresh' read
same 'who once agreed' "$(claim sub)" 'a person'
for _ in 1 2; do
    eventually 20 another_token_than "$(claim jti)" || fail 'the token is not renewed'
done
before=$(claim jti)
kill "$sluice_pid"
wait "$sluice_pid" || fail 'sluice does not end well'
cat "$scratch/sluice.log" >>"$scratch/all.log"
start_sluice
become_the_application
granted refresh 'by refresh' read
[[ $(claim jti) != "$before" ]] || fail 'a new process has an old token'
eventually 20 another_token_than "$(claim jti)" || fail 'the token is not renewed after a restart'
same 'refreshes that failed' "$(requests 'by refresh' invalid_grant)" ''
echo 'rotation: passed'

# Whom the issuer does not know: the request fails closed, and the log says why in the issuer's word.
for name in wrong-basic wrong-certificate wrong-key; do
    ask "$name"
    same "$name: status" "$(status)" 503
    grep -q '"reason":"credential_unavailable"' "$scratch/answer" || fail "$name: $(cat "$scratch/answer")"
    eventually 5 grep -q "\"credential\":\"$name\".* invalid_client" "$scratch/sluice.log" ||
        fail "$name: the log does not say why"
    nothing_tells "$scratch/answer"
    printf '%s: passed\n' "$name"
done

cat "$scratch/sluice.log" >>"$scratch/all.log"
nothing_tells "$scratch/all.log"
