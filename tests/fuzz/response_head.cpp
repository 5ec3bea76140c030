// What a vendor answers, all the way that the data plane takes it: found, judged, tokenized, framed and written anew
// for the application, which must read what we have read. The input's first line is the method that it answers.
#include "tests/fuzz/heads.hpp"

using namespace sluice;

namespace {

bool is_bodiless(const ResponseHead& head, std::string_view method) {
    return head.status < 200 || head.status == 204 || head.status == 304 || method == "HEAD" ||
           (method == "CONNECT" && head.status < 300);
}

/// As `H1Reply` does it for an application that speaks HTTP/1.1.
void judge_forwarding(ResponseHead& head, std::string_view method, Framing framing) {
    head.fields.remove_hop_by_hop();
    head.fields.remove(Known::sluice);
    if (framing.kind == Framing::Kind::until_close) framing.kind = Framing::Kind::chunked;
    const bool keeps_length = method == "HEAD" || head.status == 304;
    std::string written;
    append_response_head(written, head, framing, true, false, keeps_length, 1);
    if (written.size() > H1Channel::max_head || head.fields.size() + 1 > H1Channel::max_fields) return;

    const auto raw = find_head(written);
    REQUIRE(raw && raw->size() == written.size());
    ResponseHead again;
    REQUIRE(!parse_head(*raw, again));
    REQUIRE(again.status == head.status && again.phrase == head.phrase && again.minor == 1);
    REQUIRE(copied(again.fields) == copied(head.fields));
    for (const Field field : again.fields) REQUIRE(field.known != Known::sluice && field.known != Known::connection);
    if (keeps_length) REQUIRE(again.fields.find(Known::content_length) == head.fields.find(Known::content_length));
    const Result<Framing> read = judge_response_framing(again, method);
    REQUIRE(read && *read == framing);

    std::string twice;
    append_response_head(twice, again, *read, true, false, keeps_length, 1);
    REQUIRE(twice == written);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view in = as_text(data, size);
    const std::string_view method = take_line(in);
    const auto raw = find_head(in.substr(0, H1Channel::max_head));
    if (!raw || judge_first_byte(raw->front(), false)) return 0;
    ResponseHead head;
    if (const auto bad = parse_head(*raw, head)) {
        REQUIRE(!bad->detail.empty());
        return 0;
    }
    REQUIRE(head.status <= 999 && head.minor <= 1 && is_field_value(head.phrase));
    REQUIRE(raw->starts_with("HTTP/1." + std::to_string(head.minor) + " "));
    judge_fields(*raw, head.fields);
    if (head.status < 100) return 0;  // the transport takes none of these

    const Result<Framing> framing = judge_response_framing(head, method);
    if (!framing) {
        REQUIRE(framing.error().origin == Origin::vendor && framing.error().reason == Reason::upstream_protocol);
        return 0;
    }
    REQUIRE((framing->kind == Framing::Kind::none) == is_bodiless(head, method));
    judge_forwarding(head, method, *framing);
    return 0;
}
