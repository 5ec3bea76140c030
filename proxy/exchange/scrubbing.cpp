#include "proxy/exchange/scrubbing.hpp"

namespace sluice {

const Needles* needles_for(const Exchange& ex) {
    if (!ex.attached || !ex.attached->needles || ex.attached->needles->empty() || ex.serving->scrub == Scrub::off) return nullptr;
    return ex.attached->needles.get();
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
