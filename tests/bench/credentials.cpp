// What a credential costs a request. Built where Google Benchmark is (libbenchmark-dev):
//
//     ninja -C build/release bench_credentials
//     taskset -c 1 build/release/tests/bench_credentials --benchmark_min_time=1
#include <benchmark/benchmark.h>

#include "proxy/base/codec.hpp"
#include "proxy/credentials/apply.hpp"
#include "proxy/credentials/aws_chunked.hpp"
#include "proxy/credentials/hmac_signer.hpp"
#include "proxy/credentials/sigv4.hpp"

using namespace sluice;

namespace {

/// As an SDK sends it, with what it signed itself.
RequestHead dynamo_request() {
    RequestHead head;
    head.method = "POST";
    head.target = "/";
    head.fields.add("Host", "dynamodb.eu-central-1.amazonaws.com");
    head.fields.add("Content-Type", "application/x-amz-json-1.0");
    head.fields.add("X-Amz-Target", "DynamoDB_20120810.PutItem");
    head.fields.add("X-Amz-Date", "20260716T080000Z");
    head.fields.add("Authorization",
                    "AWS4-HMAC-SHA256 Credential=dummy/20260716/eu-central-1/dynamodb/aws4_request, SignedHeaders="
                    "content-type;host;x-amz-date;x-amz-target, Signature=" +
                        std::string(64, '0'));
    head.fields.add("amz-sdk-invocation-id", "3f6c1a52-8f0e-4f6e-9d0f-6f8f3a0a4b11");
    head.fields.add("amz-sdk-request", "attempt=1; max=3");
    head.fields.add("User-Agent",
                    "aws-sdk-go-v2/1.30.3 os/linux lang/go#1.22 md/GOOS#linux md/GOARCH#amd64 api/dynamodb");
    head.fields.add("Content-Length", "1024");
    head.fields.add("Accept-Encoding", "identity");
    return head;
}

AwsSigning dynamo_signing(std::string_view token) {
    AwsSigning in;
    in.keys = {"ASIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", token};
    in.region = "eu-central-1";
    in.service = "dynamodb";
    in.now = WallTime(std::chrono::seconds(1784188800));
    in.host = "dynamodb.eu-central-1.amazonaws.com";
    return in;
}

/// A request of 1 KiB: its body hashed, its head signed with session keys; what the head costs to copy is left out.
void sigv4_1k(benchmark::State& state) {
    const RequestHead pristine = dynamo_request();
    const std::string body(1024, 'b'), token(900, 't');
    AwsSigning in = dynamo_signing(token);
    AwsKeyCache cache;
    AwsSigned out;
    RequestHead head;
    for (auto _ : state) {
        state.PauseTiming();
        head = pristine;
        state.ResumeTiming();
        const std::string hash = to_hex(hash_of(HashAlgorithm::sha256, body).bytes());
        in.payload = hash;
        sign_aws(in, cache, head, out);
        benchmark::DoNotOptimize(out.signature);
    }
}

/// The same with the copy of the head, and nothing paused: pausing itself costs.
void sigv4_1k_with_copy(benchmark::State& state) {
    const RequestHead pristine = dynamo_request();
    const std::string body(1024, 'b'), token(900, 't');
    AwsSigning in = dynamo_signing(token);
    AwsKeyCache cache;
    AwsSigned out;
    for (auto _ : state) {
        RequestHead head = pristine;
        const std::string hash = to_hex(hash_of(HashAlgorithm::sha256, body).bytes());
        in.payload = hash;
        sign_aws(in, cache, head, out);
        benchmark::DoNotOptimize(out.signature);
    }
}

/// The first request of a day: the key derived.
void sigv4_new_key(benchmark::State& state) {
    const RequestHead pristine = dynamo_request();
    AwsSigning in = dynamo_signing("");
    in.payload = empty_sha256;
    AwsSigned out;
    for (auto _ : state) {
        RequestHead head = pristine;
        AwsKeyCache cache;
        sign_aws(in, cache, head, out);
        benchmark::DoNotOptimize(out.signature);
    }
}

/// An upload in chunks of 64 KiB, which arrive by the 16 KiB.
void aws_chunked(benchmark::State& state) {
    AwsSigned seed;
    seed.key = hash_of(HashAlgorithm::sha256, "key");
    seed.time = "20260716T080000Z";
    seed.scope = "20260716/eu-central-1/s3/aws4_request";
    seed.signature = std::string(64, '0');
    const std::string chunk =
        "10000;chunk-signature=" + std::string(64, '0') + "\r\n" + std::string(65536, 'x') + "\r\n";
    AwsChunkedResigner resigner(seed, false);
    for (auto _ : state) {
        for (std::size_t at = 0; at < chunk.size(); at += 16384) {
            if (!resigner.push(std::string_view(chunk).substr(at, 16384))) state.SkipWithError("refused");
        }
        benchmark::DoNotOptimize(resigner.ready().data());
        resigner.consume(resigner.ready().size());
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * 65536);
}

void hmac_1k(benchmark::State& state) {
    std::string why;
    HmacScheme spec;
    spec.string_to_sign =
        *HmacTemplate::compile("{method}\n{target}\n{header:X-Time}\n{body}", HmacTemplate::Use::string_to_sign, why);
    spec.headers = {{"X-Time", *HmacTemplate::compile("{timestamp}", HmacTemplate::Use::header_value, why)},
                    {"X-Signature", *HmacTemplate::compile("v1={signature}", HmacTemplate::Use::header_value, why)}};
    const RequestHead pristine = dynamo_request();
    const std::string body(1024, 'b');
    HmacRequest request;
    request.now = WallTime(std::chrono::seconds(1784188800));
    request.body = body;
    for (auto _ : state) {
        RequestHead head = pristine;
        sign_hmac(spec, "a key of thirty-two bytes, or so", request, head);
        benchmark::DoNotOptimize(head);
    }
}

/// A token of `range` bytes that is at hand, in place of the application's own; the copy of the head is counted too.
void bearer(benchmark::State& state) {
    const RequestHead pristine = dynamo_request();
    const FixedValue value{FixedValue::Place::header, "Authorization", Secret("Bearer " + std::string(static_cast<std::size_t>(state.range()), 't'))};
    for (auto _ : state) {
        RequestHead head = pristine;
        apply(value, head);
        benchmark::DoNotOptimize(head);
    }
}

void copy_of_head(benchmark::State& state) {
    const RequestHead pristine = dynamo_request();
    for (auto _ : state) {
        RequestHead head = pristine;
        benchmark::DoNotOptimize(head);
    }
}

BENCHMARK(bearer)->Arg(40)->Arg(1024);
BENCHMARK(copy_of_head);
BENCHMARK(sigv4_1k);
BENCHMARK(sigv4_1k_with_copy);
BENCHMARK(sigv4_new_key);
BENCHMARK(aws_chunked);
BENCHMARK(hmac_1k);

}  // namespace

BENCHMARK_MAIN();
