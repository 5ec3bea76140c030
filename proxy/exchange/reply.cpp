#include "proxy/exchange/reply.hpp"

#include <charconv>

#include "proxy/base/text.hpp"
#include "proxy/http/status.hpp"
#include "proxy/policy/clients.hpp"

namespace sluice {

namespace {

void append_member(std::string& out, std::string_view name, std::string_view value) {
    out.append(out.size() > 1 ? ",\"" : "\"").append(name).append("\":\"");
    append_json_escaped(out, value);
    out.push_back('"');
}

// How a gRPC caller reads our statuses (grpc's HTTP status mapping, and its codes for what we know better).
std::string_view grpc_status_of(Reason reason) {
    switch (status_of(reason)) {
    case 400:
    case 421:
    case 431: return "13";                                                // INTERNAL
    case 403: return "7";                                                 // PERMISSION_DENIED
    case 407: return "16";                                                // UNAUTHENTICATED
    case 429: return "8";                                                 // RESOURCE_EXHAUSTED
    case 408:
    case 504: return "4";                                                 // DEADLINE_EXCEEDED
    default: return "14";                                                 // UNAVAILABLE
    }
}

bool is_grpc(const RequestHead& head) {
    const auto type = head.fields.find(Known::content_type);
    return type && type->starts_with("application/grpc") && !type->starts_with("application/grpc-web");
}

// grpc-message is percent-encoded (gRPC over HTTP/2, "Responses").
std::string grpc_message(std::string_view text) {
    static constexpr char digits[] = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        if (c >= ' ' && c <= '~' && c != '%') {
            out.push_back(c);
        } else {
            const auto byte = static_cast<unsigned char>(c);
            out.append({'%', digits[byte >> 4], digits[byte & 15]});
        }
    }
    return out;
}

// What the policy says, and what the application got wrong, be it found out late; but not that it took too long.
bool is_refusal(const Failure& failure) {
    return failure.origin == Origin::sluice || (failure.origin == Origin::application && status_of(failure.reason) < 500);
}

// The answer's `vendor` is the one that the application named: where another one stood in, it is that one's failure.
std::string detail_of(const Exchange& ex, const Failure& failure) {
    if (ex.fallbacks.empty()) return failure.detail;
    const std::string_view what = failure.detail.empty() ? title_of(failure.reason) : std::string_view(failure.detail);
    return "vendor '" + ex.vendor->name + "' fell back to '" + ex.serving->name + "': " + std::string(what);
}

Task<Result<void>> answer(Exchange& ex, Reason reason, std::string_view detail, Duration retry_after) {
    ex.reason = reason;
    ex.detail = detail;
    ResponseHead& head = ex.response;
    head.clear();
    const bool grpc = is_grpc(ex.request);
    head.status = grpc ? 200 : status_of(reason);
    head.phrase = phrase_of(head.status);
    ex.status = head.status;
    head.fields.add("Sluice-Reason", name_of(reason));
    if (reason == Reason::client_unknown) head.fields.add("Proxy-Authenticate", client_challenge);
    if (retry_after > Duration{}) {
        const auto seconds = std::chrono::ceil<std::chrono::seconds>(retry_after).count();
        head.fields.add("Retry-After", std::to_string(seconds));
    }
    for (const Field field : ex.refusal_fields) head.fields.add(field.name, field.value);
    WholeBody& body = ex.rewritten;
    body.hold(grpc ? std::string() : problem(reason, detail, ex.vendor ? std::string_view(ex.vendor->name) : std::string_view{}, ex.request_id));
    Framing framing{Framing::Kind::length, 0};
    if (grpc) {
        head.fields.add("Content-Type", "application/grpc");
        head.fields.add("grpc-status", grpc_status_of(reason));
        head.fields.add("grpc-message", grpc_message(detail.empty() ? title_of(reason) : detail));
    } else {
        head.fields.add("Content-Type", "application/problem+json");
        head.fields.add("Cache-Control", "no-store");
        framing.length = body.size();
    }
    sign_response(ex);
    const bool bodiless = ex.request.method == "HEAD" || grpc;
    // The answer itself has its own time: the exchange's may have run out.
    const Limits limits{Timeouts{.idle = 10s}, later(Core::now(), 10s)};
    ex.activity.last = Core::now();
    co_return co_await ex.application->deliver(head, framing, bodiless ? nullptr : &body, limits, ex.activity);
}

}  // namespace

std::string problem(Reason reason, std::string_view detail, std::string_view vendor, std::string_view request_id) {
    std::string out = "{";
    append_member(out, "title", title_of(reason));
    out.append(",\"status\":").append(std::to_string(status_of(reason)));
    append_member(out, "detail", detail.empty() ? title_of(reason) : detail);
    append_member(out, "reason", name_of(reason));
    if (!vendor.empty()) append_member(out, "vendor", vendor);
    append_member(out, "request_id", request_id);
    out += "}\n";
    return out;
}

void sign_response(Exchange& ex) {
    Fields& fields = ex.response.fields;
    if (ex.reason)
        fields.add("Sluice-Outcome", name_of(ex.outcome));
    else {
        fields.remove(Known::sluice);
        fields.add(Known::sluice, "Sluice-Outcome", name_of(ex.outcome));
    }
    char digits[12];
    const auto end = std::to_chars(digits, digits + sizeof digits, ex.attempts).ptr;
    fields.add(Known::sluice, "Sluice-Attempts", {digits, static_cast<std::size_t>(end - digits)});
    fields.add(Known::sluice, "Sluice-Request-Id", ex.request_id);
    if (ex.retries_spent && (ex.reason || ex.status >= 400 || ex.retry().on.names(ex.status)))   // a vendor that stands in may have done better
        fields.set("x-should-retry", "false");   // an SDK's own retries would multiply ours
}

Task<Result<void>> refuse(Exchange& ex, const Refusal& refusal) {
    ex.outcome = Outcome::refused;
    co_return co_await answer(ex, refusal.reason, refusal.detail, refusal.retry_after);
}

Task<Result<void>> report(Exchange& ex, const Failure& failure) {
    ex.outcome = is_refusal(failure) ? Outcome::refused : Outcome::failed;
    const bool cut_off = ex.application->stopped() && !ex.application_gone;   // by us: only the end of a drain does that
    if (failure.gone || ex.application->stopped()) {   // nobody is left to be answered
        ex.application_gone = !cut_off;
        ex.outcome = Outcome::failed;
        if (cut_off) ex.reason = Reason::draining;
        ex.detail = cut_off ? "cut off: it was not over when the time to drain was" : "the application went away";
        co_return failure;
    }
    if (ex.application->began()) {   // too late for a status: the connection is cut, the log says why
        ex.outcome = Outcome::failed;
        ex.reason = failure.reason;
        ex.detail = detail_of(ex, failure);
        co_return failure;
    }
    const Duration retry_after = failure.reason == Reason::overloaded ? Duration{1s} : failure.retry_after;
    const std::string detail = detail_of(ex, failure);
    co_return co_await answer(ex, failure.reason, detail, retry_after);
}

}  // namespace sluice
