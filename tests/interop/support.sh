# shellcheck shell=bash
# A vendor (nginx, TLS under a private CA), Sluice in front of it, and the environment that `sluice env` prints. Each
# *.test.sh sources this file first, calls `start`, and then runs one real client; what was started ends with the test.
#
# The client never has the vendor's credential. It sends one of its own in the same header, so that a test can tell
# who wrote what the vendor saw.
set -euo pipefail

# shellcheck disable=SC2034 # used by the tests
interop=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${SLUICE:?is the sluice binary to test}"

# What only Sluice knows, and what only the application knows. The clients read the latter from the environment.
api_secret=secret-of-the-api-vendor plain_secret=secret-of-the-plain-vendor
export APPLICATION_AUTHORIZATION='Bearer of-the-application'

scratch=$(mktemp -d "${TMPDIR:-/tmp}/sluice-interop.XXXXXX")
pids=()

# shellcheck disable=SC2317 # called by the trap
leave() {
    local pid
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$scratch"
}
trap leave EXIT
trap 'exit 143' INT TERM

fail() {
    local file
    printf 'FAILED: %s\n' "$*" >&2
    for file in sluice.log vendor.log nginx.log live.log issuers.log s3.log client.err; do
        [[ -s $scratch/$file ]] || continue
        printf '%s\n' "-- the end of $file" >&2
        tail -n 15 "$scratch/$file" >&2
    done
    exit 1
}

# require COMMAND PACKAGE: a client that is not there is a failure, never a test that was left out.
require() {
    command -v "$1" >/dev/null || fail "$1 is missing; 'deploy/packages.sh interop' installs it ($2)"
}

# Node and the clients that Debian does not have.
require_npm() {
    node=$(compgen -G "$interop/node_modules/node-linux-*/bin/node") ||
        fail "no clients from npm; 'tests/interop/install.sh' installs them"
}

# eventually SECONDS COMMAND...: until it succeeds.
eventually() {
    local end=$((SECONDS + $1))
    shift
    until "$@" 2>/dev/null; do
        ((SECONDS < end)) || return 1
        sleep 0.05
    done
}

same() {
    [[ $2 == "$3" ]] || fail "$1: expected '$3', got '$2'"
}

# ---- the vendor

make_vendor_authority() {
    local curve=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
    {
        openssl req -x509 "${curve[@]}" -keyout "$scratch/vendor-ca.key" -out "$scratch/vendor-ca.crt" \
            -subj '/CN=the authority of the vendors' -days 2
        openssl req -x509 "${curve[@]}" -keyout "$scratch/vendor.key" -out "$scratch/vendor.crt" \
            -subj /CN=vendor -days 2 -CA "$scratch/vendor-ca.crt" -CAkey "$scratch/vendor-ca.key" \
            -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:false
    } 2>"$scratch/openssl.log" || fail "openssl: $(cat "$scratch/openssl.log")"
}

free_ports() {
    /usr/bin/python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*[s.getsockname()[1] for s in sockets])'
}

# What the vendor offers: /seen tells what it saw, /files/ keeps what is PUT, /live/ is answered by whatever the test
# lets listen at live.sock (events, WebSockets, fake APIs), /git/ holds repositories.
write_nginx_conf() {
    local user=''
    ((EUID != 0)) || user='user root;' # the workers of root would be nobody, who cannot read the scratch directory
    cat >"$scratch/nginx.conf" <<END
$user
daemon off;
worker_processes 1;
pid $scratch/nginx.pid;
error_log $scratch/nginx.log notice;
events { worker_connections 256; }
http {
    log_format seen '\$request_method \$scheme \$request_uri \$status "\$http_authorization"';
    access_log $scratch/vendor.log seen;
    client_body_temp_path $scratch/nginx-body;
    proxy_temp_path $scratch/nginx-proxy;
    fastcgi_temp_path $scratch/nginx-fastcgi;
    uwsgi_temp_path $scratch/nginx-uwsgi;
    scgi_temp_path $scratch/nginx-scgi;
    client_max_body_size 64m;
    default_type application/octet-stream;
    map \$http_upgrade \$connection_upgrade { default upgrade; '' ''; }
    server {
        listen 127.0.0.1:$tls_port ssl;
        listen 127.0.0.1:$plain_port;
        ssl_certificate $scratch/vendor.crt;
        ssl_certificate_key $scratch/vendor.key;
        absolute_redirect off;
        root $scratch/www;
        location = /seen {
            default_type text/plain;
            return 200 "\$request_method \$scheme \$request_uri [\$http_authorization]\n";
        }
        location = /redirect { return 302 /seen?redirected; }
        location /files/ {
            dav_methods PUT DELETE;
            client_body_in_file_only clean;
        }
        location /git/ { }
        location /big { }
        location /live/ {
            proxy_pass http://unix:$scratch/live.sock:;
            proxy_http_version 1.1;
            proxy_set_header Host \$http_host;
            proxy_set_header Upgrade \$http_upgrade;
            proxy_set_header Connection \$connection_upgrade;
            proxy_buffering off;
            proxy_request_buffering off;
        }
    }
}
END
}

answers() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1")
}

vendor_is_up() {
    kill -0 "$vendor_pid" && answers "$tls_port" && answers "$plain_port"
}

# nginx takes no port 0. A port that was free may be taken a moment later: then other ones.
start_vendor() {
    make_vendor_authority
    mkdir -p "$scratch"/www/{files,git}
    head -c 3000001 /dev/urandom >"$scratch/www/big"
    for _ in 1 2 3 4 5; do
        read -r tls_port plain_port < <(free_ports)
        write_nginx_conf
        nginx -e "$scratch/nginx.log" -c "$scratch/nginx.conf" -p "$scratch" 2>"$scratch/client.err" &
        vendor_pid=$!
        pids+=("$vendor_pid")
        if eventually 5 vendor_is_up; then return; fi
        kill "$vendor_pid" 2>/dev/null || true
    done
    fail "nginx does not start: $(cat "$scratch/client.err")"
}

# What answers below /live/: call it after `start`. It must not find the proxy that it stands behind.
start_live() {
    env -i PATH="$PATH" HOME="$HOME" \
        "$node" "$interop/clients/live.mjs" "$scratch/live.sock" "$scratch/www/git" >"$scratch/live.log" 2>&1 &
    pids+=($!)
    eventually 20 grep -q listening "$scratch/live.log" || fail "the live vendor: $(cat "$scratch/live.log")"
}

# ---- Sluice

# vendor_yaml NAME URL CREDENTIAL: a vendor of a policy, reached over TLS on loopback.
vendor_yaml() {
    cat <<END
  $1:
    hosts: [$1.vendor.test]
    endpoints: [{url: "$2"}]
    addresses: [127.0.0.0/8, "::1/128"]
    tls: {ca: {file: $scratch/vendor-ca.crt}}
    credential: $3
END
}

# One vendor a line of the table: its endpoint's path puts an SDK's fake API below /live/.
write_policy() {
    local name url
    printf '%s' "$api_secret" >"$scratch/api.token"
    printf '%s' "$plain_secret" >"$scratch/plain.token"
    cat <<END
version: 1
listen: {proxy: "127.0.0.1:$1", admin: "127.0.0.1:$2"}
state: $scratch/state
credentials:
  api-key: {type: bearer, value: {file: $scratch/api.token}}
  plain-key: {type: bearer, value: {file: $scratch/plain.token}}
vendors:
  plain:
    hosts: [plain.vendor.test]
    endpoints: [{url: "http://127.0.0.1:$plain_port"}]
    addresses: [127.0.0.0/8]
    credential: plain-key
    scrub: off # the vendor says what it saw, and that is what is looked at
END
    while read -r name url; do
        vendor_yaml "$name" "$url" api-key
        printf '    scrub: off\n    deny: ["GET|POST /forbidden"]\n'
    done <<END
api https://localhost:$tls_port
openai https://localhost:$tls_port/live/openai
stripe https://localhost:$tls_port/live/stripe
s3 https://localhost:$tls_port/live/s3
END
}

# started KEY: an address in the line that says so.
started() {
    grep -m1 '"event":"started"' "$scratch/sluice.log" | grep -o "\"$1\":\"[^\"]*\"" | cut -d'"' -f4
}

start_sluice() {
    write_policy 0 0 >"$scratch/started.yaml"
    : >"$scratch/sluice.log" # at once: the next one may not have emptied it before it is looked into
    "$SLUICE" run --config "$scratch/started.yaml" >"$scratch/sluice.log" 2>&1 &
    sluice_pid=$!
    pids+=("$sluice_pid")
    eventually 20 grep -q '"event":"started"' "$scratch/sluice.log" || fail 'sluice run does not start'
    proxy=$(started proxy) admin=$(started admin)
    base_url=http://$proxy
    # `sluice env` wants ports that it can print.
    write_policy "${proxy##*:}" "${admin##*:}" >"$scratch/sluice.yaml"
}

# Nothing of this machine's user may help a client to find a proxy or to trust a CA.
forget_the_user() {
    local name
    for name in $(compgen -e |
        grep -iE '_proxy$|^(SSL_CERT|CURL_|GIT_|NODE_|JAVA_|REQUESTS_|AWS_|PERL_|WGETRC|GO|RUBYOPT|PYTHON)'); do
        unset "$name"
    done
    export HOME=$scratch/home LC_ALL=C.UTF-8
    mkdir -p "$HOME"
}

become_the_application() {
    local environment
    environment=$("$SLUICE" env --config "$scratch/sluice.yaml") || fail 'sluice env'
    eval "$environment"
}

# After this the shell is that of an application: proxy, admin and base_url are addresses, the rest is environment.
start() {
    require nginx nginx-light
    require openssl openssl
    forget_the_user
    start_vendor
    start_sluice
    become_the_application
}

# ---- what every client can do

# requests_to_send: METHOD URL FILE-TO-SEND FILE-TO-SAVE, one a line; "-" is no file. The same for every client.
requests_to_send() {
    cat <<END
GET https://api.vendor.test/seen - secure
GET http://plain.vendor.test/seen - plain
GET $base_url/api/seen - base-url
GET https://api.vendor.test/seen?a=b%26c - reused
GET https://api.vendor.test/big - big
PUT https://api.vendor.test/files/intercepted $scratch/www/big put
PUT http://plain.vendor.test/files/absolute-form $scratch/www/big put
PUT $base_url/api/files/base-url $scratch/www/big put
GET https://api.vendor.test/redirect - redirected
GET https://api.vendor.test/forbidden - forbidden
GET $base_url/unknown/seen - unknown
END
}

# main_job NAME COMMAND...: the command reads requests_to_send, sends each with the application's Authorization,
# follows redirects, saves the bodies in the working directory, and prints each answer's status on a line of its own.
main_job() {
    local name=$1 label saved file
    shift
    rm -rf "$scratch/saved" "$scratch/www/files"
    mkdir "$scratch/saved" "$scratch/www/files"
    : >"$scratch/vendor.log"
    requests_to_send >"$scratch/requests"
    (cd "$scratch/saved" && timeout 60 "$@" <"$scratch/requests" >"$scratch/statuses" 2>"$scratch/client.err") ||
        fail "$name ended with exit code $?"

    same "$name: statuses" "$(paste -sd' ' "$scratch/statuses")" '200 200 200 200 200 201 201 201 200 403 403'
    while read -r label saved; do
        same "$name: $label" "$(cat "$scratch/saved/$label")" "$saved"
    done <<END
secure GET https /seen [Bearer $api_secret]
plain GET http /seen [Bearer $plain_secret]
base-url GET https /seen [Bearer $api_secret]
reused GET https /seen?a=b%26c [Bearer $api_secret]
redirected GET https /seen?redirected [Bearer $api_secret]
END
    for file in saved/big www/files/{intercepted,absolute-form,base-url}; do
        cmp "$scratch/$file" "$scratch/www/big" || fail "$name: $file differs"
    done
    while read -r label saved; do
        grep -q "\"reason\":\"$saved\"" "$scratch/saved/$label" ||
            fail "$name: expected the reason $saved, got $(cat "$scratch/saved/$label")"
    done <<END
forbidden not_allowed
unknown unknown_vendor
END
    only_the_vendors_credential "$name" 10
}

vendor_has_logged() {
    (($(wc -l <"$scratch/vendor.log") >= $1))
}

# only_the_vendors_credential NAME COUNT: the vendor has seen so many requests, each with its own credential.
only_the_vendors_credential() {
    eventually 5 vendor_has_logged "$2" || fail "$1: the vendor has seen fewer than $2 requests"
    ! grep -vE "^[A-Z]+ (https .* \"Bearer $api_secret\"|http .* \"Bearer $plain_secret\")$" "$scratch/vendor.log" ||
        fail "$1: the vendor has seen another credential than its own"
    ! grep -qE "$api_secret|$plain_secret|of-the-application" "$scratch/sluice.log" || fail "$1: a secret is in the log"
    printf '%s: passed\n' "$1"
}
