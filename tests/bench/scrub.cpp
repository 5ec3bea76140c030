// What looking for secrets costs, in bytes a second of one core: by what is in the body and by what is looked for. Pieces of 16 KiB, as TLS records are.
//
//     ninja -C build/release bench_scrub && build/release/tests/bench_scrub --benchmark_repetitions=5
//
// `feed` is what a body passes through; the names say which body, which secrets and which instructions.
#include <benchmark/benchmark.h>

#include <random>

#include "proxy/credentials/scrub.hpp"

using namespace sluice;

namespace {

constexpr std::size_t piece = 16 * 1024, body_size = 64 * piece;   // 1 MiB: from the second level cache, as bytes just decrypted are
constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string random_text(std::mt19937& random, std::size_t size) {
    std::string out;
    while (out.size() < size) out += alphabet[random() % alphabet.size()];
    return out;
}

enum Body { random_bytes, json, base64 };
std::string make_body(Body body) {
    std::mt19937 random(1);
    std::string out;
    switch (body) {
    case random_bytes:
        while (out.size() < body_size) out += static_cast<char>(random());
        break;
    case base64: out = random_text(random, body_size); break;
    case json: {
        constexpr std::string_view words[] = {"the", "customer", "has", "paid", "invoice", "status", "created_at", "active", "account", "description", "amount", "token", "secret", "error", "request"};
        while (out.size() < body_size) {
            out += "{\"id\":\"ch_" + random_text(random, 24) + "\",\"amount\":" + std::to_string(random() % 100000) + ",\"livemode\":true,\"description\":\"";
            for (int i = 0; i < 12; ++i) out.append(words[random() % std::size(words)]).append(" ");
            out += "\",\"url\":\"https://api.example.com/v1/charges/" + std::to_string(random()) + "\"},\n";
        }
        out.resize(body_size);
        break;
    }
    }
    return out;
}

enum Sought { key, tokens, many };
std::vector<Secret> make_secrets(Sought sought) {
    std::mt19937 random(2);
    std::vector<Secret> out;
    switch (sought) {
    case key: out.emplace_back("sk_live_" + random_text(random, 32)); break;
    case tokens:   // two of the same issuer: they begin alike
        for (int i = 0; i < 2; ++i) out.emplace_back("eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IjEyMyJ9." + random_text(random, 970));
        break;
    case many:
        for (std::size_t i = 0; i < Needles::most_secrets; ++i) out.emplace_back("sk_live_" + random_text(random, 32));
        break;
    }
    return out;
}

void feed(benchmark::State& state, Body body, Sought sought, Needles::Search search) {
    if (!Needles::can(search)) return state.SkipWithError("this processor cannot");
    const std::string text = make_body(body);
    Scrubber scrubber;
    scrubber.begin(std::make_shared<const Needles>(make_secrets(sought), search));
    for (auto _ : state) {
        for (std::size_t at = 0; at < text.size(); at += piece) benchmark::DoNotOptimize(scrubber.feed(std::string_view(text).substr(at, piece), false));
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
}

// Once for each new token.
void compile(benchmark::State& state, Sought sought) {
    const auto secrets = make_secrets(sought);
    for (auto _ : state) benchmark::DoNotOptimize(std::make_shared<const Needles>(secrets));
}

// What every answer pays: a head of usual size.
void head(benchmark::State& state) {
    const Needles needles(make_secrets(key));
    ResponseHead head;
    head.status = 200;
    head.phrase = "OK";
    for (const auto& [name, value] : {std::pair{"Date", "Thu, 26 Nov 2026 20:51:17 GMT"}, {"Content-Type", "application/json; charset=utf-8"}, {"Content-Length", "1024"}, {"Cache-Control", "no-cache, no-store"},
                                      {"X-Request-Id", "req_2vC8hOZ7f0Jk1m"}, {"Strict-Transport-Security", "max-age=63072000; includeSubDomains; preload"}, {"Vary", "Origin"}, {"Server", "nginx"}})
        head.fields.add(name, value);
    for (auto _ : state) benchmark::DoNotOptimize(scrub_head(needles, head));
}

#define SLUICE_FEED(body, sought)                                                           \
    BENCHMARK_CAPTURE(feed, body/sought/avx512, body, sought, Needles::Search::avx512);     \
    BENCHMARK_CAPTURE(feed, body/sought/avx2, body, sought, Needles::Search::avx2);         \
    BENCHMARK_CAPTURE(feed, body/sought/vector16, body, sought, Needles::Search::vector16); \
    BENCHMARK_CAPTURE(feed, body/sought/scalar, body, sought, Needles::Search::scalar)

SLUICE_FEED(random_bytes, key);
SLUICE_FEED(json, key);
SLUICE_FEED(base64, key);
SLUICE_FEED(random_bytes, tokens);
SLUICE_FEED(json, tokens);
SLUICE_FEED(base64, tokens);
SLUICE_FEED(json, many);
SLUICE_FEED(base64, many);
BENCHMARK_CAPTURE(compile, key, key);
BENCHMARK_CAPTURE(compile, tokens, tokens);
BENCHMARK(head);

}  // namespace

BENCHMARK_MAIN();
