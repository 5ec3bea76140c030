#include "proxy/exchange/scrubbing.hpp"

#include "proxy/http/content_coding.hpp"

namespace sluice {

const Needles* needles_for(const Exchange& ex) {
    if (!ex.attached || !ex.attached->needles || ex.attached->needles->empty() || ex.serving->scrub == Scrub::off) return nullptr;
    return ex.attached->needles.get();
}

void ask_for_searchable(Exchange& ex) {
    if (ex.tunnel || !ex.credential()) return;
    switch (ex.serving->scrub) {
    case Scrub::off:
    case Scrub::head: return;
    case Scrub::identity: ex.request.fields.set("Accept-Encoding", "identity"); return;
    case Scrub::deep:
        if (ex.request.fields.find(Known::accept_encoding)) ex.request.fields.set("Accept-Encoding", "gzip, deflate, br, zstd");
        return;
    }
}

BodySource* decode_answer(Exchange& ex, BodySource* body, Framing& framing) {
    if (ex.serving->scrub != Scrub::deep || !needles_for(ex)) return body;
    const auto codings = codings_of(ex.response);
    if (!codings || codings->count == 0) return body;   // one that nobody knows is searched as it is
    prepare_decoded_head(ex.response);
    if (!body) return nullptr;
    ex.decoded.begin(*body, *codings);
    framing = {Framing::Kind::chunked, 0};
    return &ex.decoded;
}

BodySource* scrub_answer(Exchange& ex, BodySource* body) {
    const Needles* needles = needles_for(ex);
    if (!needles) return body;
    ex.scrubbed_in_head = scrub_head(*needles, ex.response);
    if (!body || ex.serving->scrub == Scrub::head) return body;
    ex.scrubbed.begin(*body, {ex.attached, needles});   // counted on this thread, as the state that they belong to
    return &ex.scrubbed;
}

}  // namespace sluice
