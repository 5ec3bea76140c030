#include "proxy/exchange/readable.hpp"

#include <algorithm>

#include "proxy/exchange/admission.hpp"
#include "proxy/exchange/scrubbing.hpp"
#include "proxy/http/content_coding.hpp"

namespace sluice {

namespace {

bool is_searched(const Exchange& ex) { return ex.credential() && (ex.serving->scrub == Scrub::identity || ex.serving->scrub == Scrub::deep); }
bool may_be_decoded(const Exchange& ex) { return ex.credential() && ex.serving->scrub == Scrub::deep; }

// By anything but the search.
bool is_read(const Exchange& ex) {
    return any_limit(ex, [](const LimitSpec& limit) { return limit.learn || limit.tokens.has_value(); }) ||
           std::any_of(ex.fallbacks.begin(), ex.fallbacks.end(), [](const FallbackSpec* fallback) { return !fallback->rewrite.response_body.empty(); });
}

constexpr std::string_view accept_encoding = "Accept-Encoding";

}  // namespace

void ask_for_readable(Exchange& ex) {
    if (ex.tunnel || !(is_searched(ex) || is_read(ex))) return;
    Fields& fields = ex.request.fields;
    if (!may_be_decoded(ex) || fields.find("Range"))   // a part of what is coded cannot be decoded
        fields.set(accept_encoding, "identity");
    else if (fields.find(Known::accept_encoding))
        fields.set(accept_encoding, "gzip, deflate, br, zstd");
    fields.remove_lookalikes(accept_encoding);   // some vendors read `Accept_Encoding` as the same
}

std::optional<Failure> judge_coding(const Exchange& ex, const Framing& framing) {
    const bool has_body = framing.kind != Framing::Kind::none && framing != Framing{Framing::Kind::length, 0};
    if (!has_body || !may_be_decoded(ex) || !needles_for(ex) || codings_of(ex.response)) return {};
    // Its Content-Encoding is not quoted: it may repeat the secret.
    std::string detail = ex.response.status == 206 ? "the vendor's answer is a part (206) of something that is coded, which cannot be decoded without the rest"
                                                   : "the vendor's answer has a Content-Encoding that is not known here, or more than " + std::to_string(Codings::most) + " of them";
    detail += ", so that it cannot be searched for the credential that its request was given; where that need not be, say `scrub: identity` for this vendor";
    return Failure{Origin::vendor, Reason::upstream_protocol, Replay::unsafe, std::move(detail), {}};
}

BodySource* decode_answer(Exchange& ex, BodySource* body, Framing& framing) {
    if (!may_be_decoded(ex) || !(needles_for(ex) || is_read(ex))) return body;
    const auto codings = codings_of(ex.response);
    if (!codings || codings->count == 0) return body;
    prepare_decoded_head(ex.response);
    if (!body) return nullptr;
    ex.decoded.begin(*body, *codings);
    framing = {Framing::Kind::chunked, 0};
    return &ex.decoded;
}

}  // namespace sluice
