#!/usr/bin/env bash
# The AWS SDK as an application that has keys of no worth, and an S3 that we did not write: each request arrives signed
# with the real ones, and does what it does when the SDK has these itself (the control run).
. "$(dirname "$0")/support.sh"
require_npm
require openssl openssl
bucket_secret=secret/of+the-bucket wrong_secret=another-secret-of-the-bucket

start_bucket() {
    env -i PATH="$PATH" "$node" "$interop/clients/bucket.mjs" "$scratch" "$bucket_secret" >"$scratch/s3.log" 2>&1 &
    pids+=($!)
    eventually 30 grep -q ^listening "$scratch/s3.log" || fail 's3rver does not start'
    read -r _ plain_port tls_port < <(grep ^listening "$scratch/s3.log")
}

# The real pair is in Sluice's environment and in a file of its own; the third one's secret is wrong.
write_policy() {
    cat <<END_OF_POLICY
version: 1
listen: {proxy: "127.0.0.1:$1", admin: "127.0.0.1:$2"}
state: $scratch/state
credentials:
  from-environment: {type: aws_sigv4, region: eu-central-1, service: s3, source: environment}
  from-file: {type: aws_sigv4, region: eu-central-1, service: s3, source: file, profile: bucket}
  wrong: {type: aws_sigv4, region: eu-central-1, service: s3, source: file, profile: wrong}
vendors:
  plain:
    hosts: [plain.vendor.test]
    endpoints: [{url: "http://127.0.0.1:$plain_port"}]
    addresses: [127.0.0.0/8]
    credential: from-environment
  bucket:
    hosts: [bucket.vendor.test]
    endpoints: [{url: "https://localhost:$tls_port"}]
    addresses: [127.0.0.0/8, "::1/128"]
    tls: {ca: {file: $scratch/vendor-ca.crt}}
    credential: from-file
  wrong:
    hosts: [wrong.vendor.test]
    endpoints: [{url: "http://127.0.0.1:$plain_port"}]
    addresses: [127.0.0.0/8]
    credential: wrong
END_OF_POLICY
}

# application NAME WAY ENDPOINT SECRET: what it prints goes to a file of that name, how it was signed to NAME.signed.
application() {
    local name=$1 asked
    asked=$(wc -l <"$scratch/s3.log")
    timeout 60 "$node" "$interop/clients/objects.mjs" "${@:2}" >"$scratch/$name" 2>"$scratch/client.err" ||
        fail "$name: the SDK, after $(tail -n 1 "$scratch/$name")"
    tail -n +$((asked + 1)) "$scratch/s3.log" | cut -d' ' -f1,2 | sort | uniq -c >"$scratch/$name.signed"
}

# like_control NAME: the same came out.
like_control() {
    diff "$scratch/control" "$scratch/$1" >&2 || fail "$1: not what comes out without Sluice"
    printf '%s: passed, %s requests\n' "$1" "$(awk '{n += $1} END {print n}' "$scratch/$1.signed")"
}

signed() { # NAME METHOD PAYLOAD
    grep -q " $2 $3\$" "$scratch/$1.signed" || fail "$1: no $2 was signed as $3: $(cat "$scratch/$1.signed")"
}

forget_the_user
export AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED=true
make_vendor_authority
start_bucket
cat >"$scratch/aws" <<END
[bucket]
aws_access_key_id = S3RVER
aws_secret_access_key = $bucket_secret
[wrong]
aws_access_key_id = S3RVER
aws_secret_access_key = $wrong_secret
END
AWS_ACCESS_KEY_ID=S3RVER AWS_SECRET_ACCESS_KEY=$bucket_secret AWS_SHARED_CREDENTIALS_FILE=$scratch/aws start_sluice
become_the_application

# Through CONNECT over TLS, and in base-URL mode without it; what the SDK cannot send without TLS is left out there.
NODE_EXTRA_CA_CERTS=$scratch/vendor-ca.crt application control control "https://localhost:$tls_port" "$bucket_secret"
application connect proxy https://bucket.vendor.test of-the-application
like_control connect
application control control "http://127.0.0.1:$plain_port" "$bucket_secret"
application base-url direct "$base_url/plain" of-the-application
like_control base-url

signed connect PUT STREAMING-UNSIGNED-PAYLOAD-TRAILER
for name in connect base-url; do
    for payload in hashed STREAMING-AWS4-HMAC-SHA256-PAYLOAD STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER; do
        signed $name PUT $payload
    done
    ! grep -q presigned "$scratch/$name.signed" || fail "$name: a signature of the application has reached S3"
done
signed control PUT presigned

# What S3 says of a signature that is wrong is the application's; without Sluice it is the same.
application refused-control refused-control "http://127.0.0.1:$plain_port" "$wrong_secret"
application refused refused "$base_url/wrong" of-the-application
grep -q SignatureDoesNotMatch "$scratch/refused.signed" || fail 's3rver was not asked'
echo 'a wrong secret: passed'

for secret in "$bucket_secret" "$wrong_secret" of-the-application; do
    ! grep -qF "$secret" "$scratch/sluice.log" || fail 'a secret is in the log'
done
