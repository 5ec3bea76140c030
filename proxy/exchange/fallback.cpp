#include "proxy/exchange/fallback.hpp"

#include "proxy/base/text.hpp"
#include "proxy/credentials/apply.hpp"
#include "proxy/exchange/admission.hpp"
#include "proxy/exchange/authenticate.hpp"
#include "proxy/exchange/pull.hpp"
#include "proxy/policy/access.hpp"
#include "proxy/policy/rewrite.hpp"

namespace sluice {

namespace {

bool is_json(const Fields& fields) {
    const auto type = fields.find(Known::content_type);
    if (!type) return false;
    const std::string essence = to_lower(trimmed(type->substr(0, type->find(';'))));
    return essence == "application/json" || essence.ends_with("+json");
}

CredentialSpec in_field(const char* name) {
    CredentialSpec spec;
    spec.place = {name, ""};
    return spec;
}
CredentialSpec in_parameter(const char* name) {
    CredentialSpec spec;
    spec.place = {"", ""};
    spec.kind = ApiKeySpec{name, {}};
    return spec;
}

// What an application says to one vendor in confidence is not for another.
void drop_what_was_for(const Vendor& vendor, const Config& config, RequestHead& request) {
    // Wherever vendors are told who calls.
    static const CredentialSpec places[] = {in_field("Authorization"), in_field("Cookie"), in_field("X-Api-Key"), in_field("Api-Key"), in_field("X-Goog-Api-Key"), in_field("X-Auth-Token"),
                                               in_field("X-Amz-Security-Token"), in_field("X-Functions-Key"), in_field("Ocp-Apim-Subscription-Key"), in_parameter("key"), in_parameter("api_key"),
                                               in_parameter("apikey"), in_parameter("access_token"), in_parameter("token"), in_parameter("sig"), in_parameter("signature")};
    for (const CredentialSpec& place : places) withhold(place, request);
    if (vendor.credential) withhold(config.credentials[*vendor.credential], request);
    for (const Route& route : vendor.routes)
        if (route.credential) withhold(config.credentials[*route.credential], request);
}

Failure cannot_have(std::string why) { return {Origin::sluice, Reason::bad_request, Replay::safe, std::move(why), {}}; }

Failure too_large(const Exchange& ex) {
    return cannot_have("the request's body is larger than the " + std::to_string(ex.route ? ex.route->keeps : ex.vendor->keeps) + " bytes that are kept of one (`retry.buffer`), so it cannot be rewritten");
}

}  // namespace

bool edits_body(const Exchange& ex, const RequestHead& request) { return ex.body && !ex.serving->fallback->rewrite.request_body.empty() && is_json(request.fields); }

Result<RequestHead> request_for_fallback(const Exchange& ex) {
    const FallbackSpec& fallback = *ex.serving->fallback;
    const Vendor& vendor = ex.config->vendors[fallback.vendor];
    RequestHead request = ex.pristine;   // without the first vendor's credential
    drop_what_was_for(*ex.serving, *ex.config, request);
    request.target = edited_target(request.target, fallback.rewrite.path);
    edit_headers(request.fields, fallback.rewrite.request_headers);
    if (Verdict access = judge_access(vendor.access, vendor.name, request.method, request.path()); access.refused()) return cannot_have(access.refusal().detail);
    if (vendor.endpoints.empty() && !vendor.base_url()) return cannot_have("it has neither an endpoint nor a host without a wildcard");
    const bool has_length = ex.framing.kind == Framing::Kind::length;
    if (edits_body(ex, request) && !ex.replay.whole() && has_length && !ex.replay.would_keep(ex.framing.length)) return too_large(ex);
    return request;
}

Task<Result<std::string>> body_for_fallback(Exchange& ex) {
    Result<bool> whole = co_await read_body(ex);
    if (!whole) co_return std::move(whole.error());
    if (!*whole) co_return too_large(ex);
    Result<std::string> edited = edited_body(ex.replay.kept(), ex.serving->fallback->rewrite.request_body, Origin::application);
    if (!edited) co_return cannot_have(std::move(edited.error().detail));
    co_return edited;
}

void put_body(Exchange& ex, RequestHead& request, std::string body) {
    request.fields.remove(Known::expect);   // which is answered
    ex.framing = {Framing::Kind::length, body.size()};
    ex.replay.replace(std::move(body));
}

void begin_fallback(Exchange& ex, RequestHead request) {
    const FallbackSpec& fallback = *ex.serving->fallback;
    give_back(ex, Core::now());
    ex.sends = 0;
    ex.refusal_fields.clear();
    ex.may_have_cost = false;
    ex.traffic = {ex.body ? ex.replay.kept().size() : 0, 0};   // what of the body was read is sent again
    if (ex.fallbacks.empty()) ex.asked_path = ex.without_credential().path();
    ex.held.clear();
    ex.failed_at.clear();
    ex.serving = &ex.config->vendors[fallback.vendor];
    ex.fallbacks.push_back(&fallback);
    ex.outcome = Outcome::fallback;
    ex.attached.reset();
    ex.renewed = false;
    ex.shows_previous.reset();
    ex.bare.clear();
    ex.request = std::move(request);
    ex.serving_route = ex.serving->route_for(ex.request.method, ex.request.path());
    ex.instead = ex.serving->endpoints.empty() ? ex.serving->base_url() : std::nullopt;
    const Duration total = ex.limits.timeout.total;
    const bool written = ex.limits.timeout.total_written;
    ex.limits.timeout = ex.timeouts();
    ex.limits.timeout.total = total;
    ex.limits.timeout.total_written = written;
    if (ex.serving->fallback) ex.pristine = ex.request;
}

Task<Result<BodySource*>> rewrite_answer(Exchange& ex, BodySource* body, Framing& framing) {
    bool edits = false;
    for (const FallbackSpec* fallback : ex.fallbacks) {
        edits |= !fallback->rewrite.response_body.empty();
    }
    std::string text;
    const bool rewrites = edits && body && is_json(ex.response.fields) && ex.request.method != "HEAD";
    for (bool last = !rewrites; !last;) {
        std::optional<Result<Chunk>> got = body->next_ready();
        if (!got) {
            Result<Chunk> pulled = co_await pull(*body, ex.limits, *ex.trip->activity);
            got.emplace(std::move(pulled));
        }
        if (!got->has_value()) co_return std::move(got->error());
        text.append((*got)->data);
        last = (*got)->last;
        if (text.size() > max_rewritten) co_return Failure{Origin::vendor, Reason::upstream_protocol, Replay::safe, "its answer is too large to be rewritten", {}};
    }
    for (auto fallback = ex.fallbacks.rbegin(); fallback != ex.fallbacks.rend(); ++fallback) {
        const RewriteSpec& rewrite = (*fallback)->rewrite;
        edit_headers(ex.response.fields, rewrite.response_headers);
        if (!rewrites || rewrite.response_body.empty()) continue;
        Result<std::string> edited = edited_body(text, rewrite.response_body, Origin::vendor);
        if (!edited) co_return std::move(edited.error());
        text = std::move(*edited);
    }
    if (edits && ex.request.method == "HEAD") ex.response.fields.remove(Known::content_length);
    if (!rewrites) co_return body;
    for (const char* of_other_bytes : {"ETag", "Content-MD5", "Digest", "Content-Digest", "Repr-Digest", "Accept-Ranges"}) ex.response.fields.remove(of_other_bytes);
    framing = {Framing::Kind::length, text.size()};
    ex.rewritten.hold(std::move(text));
    co_return static_cast<BodySource*>(&ex.rewritten);
}

}  // namespace sluice
