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

}  // namespace

void ask_for_readable(Exchange& ex) {
    if (ex.tunnel) return;
    if (may_be_decoded(ex)) {
        if (ex.request.fields.find(Known::accept_encoding)) ex.request.fields.set("Accept-Encoding", "gzip, deflate, br, zstd");
    } else if (is_searched(ex) || is_read(ex)) {
        ex.request.fields.set("Accept-Encoding", "identity");
    }
}

BodySource* decode_answer(Exchange& ex, BodySource* body, Framing& framing) {
    if (!may_be_decoded(ex) || !(needles_for(ex) || is_read(ex))) return body;
    const auto codings = codings_of(ex.response);
    if (!codings || codings->count == 0) return body;   // one that nobody knows is searched as it is
    prepare_decoded_head(ex.response);
    if (!body) return nullptr;
    ex.decoded.begin(*body, *codings);
    framing = {Framing::Kind::chunked, 0};
    return &ex.decoded;
}

}  // namespace sluice
