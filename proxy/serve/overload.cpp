#include "proxy/serve/overload.hpp"

#include <sys/random.h>

#include "proxy/exchange/reply.hpp"
#include "proxy/http/status.hpp"
#include "proxy/wire/h1.hpp"

namespace sluice {

std::uint64_t system_random() {
    std::uint64_t bits = 0;
    while (::getrandom(&bits, sizeof bits, 0) != sizeof bits) {
    }
    return bits;
}

std::string overload_answer(std::string_view request_id) {
    const std::string body = problem(Reason::overloaded, overload_detail, {}, request_id);
    ResponseHead head;
    head.status = status_of(Reason::overloaded);
    head.phrase = phrase_of(head.status);
    head.fields.add("Sluice-Reason", name_of(Reason::overloaded));
    head.fields.add("Retry-After", "1");
    head.fields.add("Content-Type", "application/problem+json");
    head.fields.add("Cache-Control", "no-store");
    head.fields.add("Sluice-Outcome", name_of(Outcome::refused));
    head.fields.add("Sluice-Attempts", "0");
    head.fields.add("Sluice-Request-Id", request_id);
    std::string answer;
    append_response_head(answer, head, {Framing::Kind::length, body.size()}, false, false, false, 1);
    return answer + body;
}

ExchangeRecord overload_record(std::string_view request_id) {
    ExchangeRecord record;
    record.request_id = request_id;
    record.detail = overload_detail;
    record.status = status_of(Reason::overloaded);
    record.outcome = Outcome::refused;
    record.reason = Reason::overloaded;
    record.phases.started = std::chrono::steady_clock::now();
    return record;
}

}  // namespace sluice
