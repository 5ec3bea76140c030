// What an application sends as a head, all the way that the data plane takes it: found, judged, tokenized, framed and
// written anew for the vendor. The vendor must read what we have read, or somebody smuggles.
#include "tests/fuzz/heads.hpp"

using namespace sluice;

namespace {

/// As `send` does it; what is read back must say the same.
void judge_forwarding(RequestHead& head, const Framing& framing) {
    head.fields.remove(Known::sluice);
    head.fields.remove_hop_by_hop();
    std::string written;
    append_request_head(written, head, "", "vendor.example", framing, false);
    if (written.size() > H1Channel::max_head || head.fields.size() + 2 > H1Channel::max_fields) return;

    const auto raw = find_head(written);
    REQUIRE(raw && raw->size() == written.size());
    RequestHead again;
    REQUIRE(!parse_head(*raw, again));
    REQUIRE(again.method == head.method && again.target == head.target && again.minor == 1);
    REQUIRE(again.fields.find(Known::host) == "vendor.example");
    REQUIRE(copied(again.fields) == copied(head.fields));
    for (const Field field : again.fields) REQUIRE(field.known != Known::sluice);
    const Result<Framing> read = judge_request_framing(again);
    REQUIRE(read && *read == framing);

    std::string twice;
    append_request_head(twice, again, "", "vendor.example", *read, false);
    REQUIRE(twice == written);
}

/// What the framing claims, counted anew.
void judge_framing(const RequestHead& head, const Framing& framing) {
    std::size_t hosts = 0, lengths = 0, codings = 0;
    for (const Field field : head.fields) {
        hosts += same_text(field.name, "host");
        lengths += same_text(field.name, "content-length");
        codings += same_text(field.name, "transfer-encoding");
    }
    REQUIRE(hosts == 1 || (hosts == 0 && head.minor == 0));
    REQUIRE(lengths == (framing.kind == Framing::Kind::length ? 1 : 0));
    REQUIRE(codings == (framing.kind == Framing::Kind::chunked ? 1 : 0));
    REQUIRE(framing.kind != Framing::Kind::until_close);
    if (framing.kind == Framing::Kind::chunked) REQUIRE(head.minor == 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view in = as_text(data, size);
    const auto raw = find_head(in.substr(0, H1Channel::max_head));
    if (!raw || judge_first_byte(raw->front(), true)) return 0;
    RequestHead head;
    if (const auto bad = parse_head(*raw, head)) {
        REQUIRE(!bad->detail.empty());
        return 0;
    }
    REQUIRE(is_token(head.method) && !head.target.empty() && head.minor <= 1);
    for (const char c : head.target) REQUIRE(c > ' ' && c < 0x7F);
    REQUIRE(raw->starts_with(head.method + " " + head.target + " HTTP/1." + std::to_string(head.minor) + "\r\n"));
    judge_fields(*raw, head.fields);

    const Result<Framing> framing = judge_request_framing(head);
    if (!framing) {
        REQUIRE(framing.error().origin == Origin::application && framing.error().reason == Reason::bad_request);
        return 0;
    }
    judge_framing(head, *framing);
    judge_forwarding(head, *framing);
    return 0;
}
