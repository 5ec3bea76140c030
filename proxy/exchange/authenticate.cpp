#include "proxy/exchange/authenticate.hpp"

#include <algorithm>

#include "proxy/credentials/apply.hpp"
#include "proxy/exchange/admission.hpp"
#include "proxy/exchange/pause.hpp"

namespace sluice {

namespace {

Failure unavailable(std::string detail) { return {Origin::sluice, Reason::credential_unavailable, Replay::safe, std::move(detail)}; }
Failure refused(std::string detail) { return {Origin::sluice, Reason::not_allowed, Replay::safe, std::move(detail)}; }

bool is_usable(const CredentialState& state, TimePoint now) { return state.attachment && now < state.usable_until; }
// One whose end has come is about to be replaced, or to be given up.
bool is_coming(const CredentialState& state) { return state.coming || state.attachment; }

const CredentialSpec& spec_of(const Exchange& ex) { return ex.config->credentials[*ex.credential()]; }

// What speaks against attaching any credential to this request.
std::optional<Failure> judge(const Exchange& ex, const Destination& destination) {
    const Vendor& vendor = *ex.serving;
    if (destination.scheme == Scheme::http && vendor.endpoints.empty())
        return unavailable("a credential never travels in clear text: call https://" + destination.authority.host + " instead, or give vendor '" + vendor.name +
                           "' an endpoint written as http:// if plain text is meant");
    if (ex.request.method == "TRACE")   // its answer is the request: the application would read the credential (RFC 9110 9.3.8)
        return refused("TRACE would send the credential of vendor '" + vendor.name + "' back");
    return {};
}

Result<void> put_value(Exchange& ex, const CredentialSpec& spec, const Attachment& attachment, const FixedValue& value) {
    const std::string& placeholder = spec.rules.placeholder;
    if (placeholder.empty()) {
        apply(value, ex.request);
        return {};
    }
    if (ex.bare.method.empty()) ex.bare = ex.request;   // where the placeholder is, for another attempt
    else ex.request = ex.bare;
    if (replace_placeholder(placeholder, attachment.secrets.front().reveal(), ex.request)) return {};
    if (spec.rules.require) return refused("vendor '" + ex.serving->name + "' wants the placeholder of credential '" + spec.name + "' in each request; it is nowhere in this one");
    apply(value, ex.request);
    return {};
}

Result<void> put_on(Exchange& ex, const std::shared_ptr<const CredentialState>& state) {
    ex.attached = state;
    const CredentialSpec& spec = spec_of(ex);
    const bool previous = state->previous && (ex.policy->credentials.prefers_previous(*ex.credential()) != ex.other_secret);
    ex.attached_previous = previous;
    const Attachment& attachment = previous ? *state->previous : *state->attachment;
    if (const auto* value = std::get_if<FixedValue>(&attachment.how)) return put_value(ex, spec, attachment, *value);
    if (std::holds_alternative<OnConnection>(attachment.how)) return {};
    return unavailable("credential '" + spec.name + "' cannot sign in this version");
}

}  // namespace

std::size_t body_to_sign(const Exchange&) { return 0; }

std::optional<Result<void>> attach_at_once(Exchange& ex, const Destination& destination) {
    const auto credential = ex.credential();
    if (!credential) return Result<void>{};
    if (auto wrong = judge(ex, destination)) return Result<void>(std::move(*wrong));
    const std::shared_ptr<const CredentialState>& state = ex.policy->credentials.current(*credential);
    if (is_usable(*state, Core::now())) return put_on(ex, state);
    if (is_coming(*state)) return {};
    return Result<void>(unavailable(state->fault));
}

Task<Result<void>> attach_credential(Core& core, Exchange& ex, const Destination& destination) {
    for (;;) {
        if (auto attached = attach_at_once(ex, destination)) co_return std::move(*attached);
        CredentialWait wait;
        ex.policy->credentials.wait_for(*ex.credential(), wait);
        const bool here = co_await pause(core, ex, wait.wakeup, ex.limits.total);
        if (!here) co_return Failure::application_gone();
        if (Core::now() >= ex.limits.total) co_return unavailable("credential '" + spec_of(ex).name + "' did not come within the exchange's total time: " + ex.policy->credentials.current(*ex.credential())->fault);
    }
}

bool is_refused_credential(const Exchange& ex) {
    if (!ex.attached || ex.renewed || ex.tunnel || ex.application->began()) return false;
    const CredentialSpec& spec = spec_of(ex);
    const auto& statuses = spec.rules.refresh_on;
    if (std::find(statuses.begin(), statuses.end(), ex.response.status) == statuses.end()) return false;
    // A 401 says that the request has not been applied (RFC 9110 15.5.2), so any method may be sent again; what is needed is its body.
    if (ex.body && !ex.upgrade && !ex.replay.replayable()) return false;
    return !spec.is_static() || ex.attached->previous || ex.policy->credentials.current(*ex.credential())->serial != ex.attached->serial;
}

Task<bool> renew_credential(Core& core, Exchange& ex) {
    ex.renewed = true;
    CredentialDesk& desk = ex.policy->credentials;
    const std::size_t credential = *ex.credential();
    const std::shared_ptr<const CredentialState> refused = ex.attached;
    const auto is_another = [&] {
        const CredentialState& now = *desk.current(credential);
        return now.serial != refused->serial && is_usable(now, Core::now());
    };
    bool another = is_another();
    if (!another && refused->previous) {
        ex.other_secret = !ex.other_secret;
        another = true;
    }
    const std::uint64_t flights = desk.current(credential)->flights;
    if (!another && desk.refused(credential, refused->serial)) {
        while (!is_another() && desk.current(credential)->flights == flights) {
            CredentialWait wait;
            desk.wait_for(credential, wait);
            const bool here = co_await pause(core, ex, wait.wakeup, ex.limits.total);
            if (!here || Core::now() >= ex.limits.total) co_return false;
        }
        another = is_another();
    }
    co_return another && admit_again(ex, Core::now());
}

void note_taken_credential(Exchange& ex) {
    if (!ex.attached || !ex.attached_previous) return;
    const auto& statuses = spec_of(ex).rules.refresh_on;
    if (std::find(statuses.begin(), statuses.end(), ex.response.status) == statuses.end()) ex.policy->credentials.previous_taken(*ex.credential());
}

}  // namespace sluice
