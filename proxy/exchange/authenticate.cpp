#include "proxy/exchange/authenticate.hpp"

#include <algorithm>
#include <cstring>

#include "proxy/base/codec.hpp"
#include "proxy/credentials/apply.hpp"
#include "proxy/credentials/aws_error.hpp"
#include "proxy/credentials/renewal_plan.hpp"
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

constexpr std::size_t largest_error = 16 * 1024;   // bytes of an answer that are looked at for a code
constexpr Duration longest_look = 1s;              // that an answer is held back for it

bool is_signed_for_aws(const Exchange& ex) {
    return ex.attached && ex.attached->attachment && std::holds_alternative<AwsSigner>(ex.attached->attachment->how);
}

// By the head of the answer; of what `is_signed_for_aws`.
std::optional<bool> key_is_refused(const Exchange& ex) {
    return says_key_is_refused(ex.response, std::get<AwsSigner>(ex.attached->attachment->how).service);
}

bool says_refused(const Exchange& ex) {
    if (ex.key_refused) return true;
    const auto& statuses = spec_of(ex).rules.refresh_on;
    return std::find(statuses.begin(), statuses.end(), ex.response.status) != statuses.end();
}

// What is fetched comes by itself once its issuer is back; what is read waits for a person.
Failure not_at_hand(const CredentialSpec& spec, std::string detail) {
    Failure failure = unavailable(std::move(detail));
    if (!spec.is_static()) failure.retry_after = asked_again_within;
    return failure;
}

// What an attempt needs of the desk: the certificate that a connection to there shows, then what is put on the request.
struct Needs {
    std::optional<std::size_t> certificate, credential;
};
Needs needs_of(const Exchange& ex, const Destination& destination) {
    return {destination.scheme == Scheme::https ? ex.serving->certificate : std::nullopt, ex.credential()};
}

// The first of them that cannot be used now.
std::optional<std::size_t> missing_of(const Exchange& ex, const Needs& needs) {
    for (const auto& one : {needs.certificate, needs.credential})
        if (one && !is_usable(*ex.policy->credentials.current(*one), Core::now())) return one;
    return {};
}

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
    drop_beside_placeholder(value, placeholder, ex.request);
    switch (replace_placeholder(placeholder, attachment.secrets.front().reveal(), ex.request)) {
    case Placeholders::replaced: return {};
    case Placeholders::too_many:
        ex.request = ex.bare;
        return Failure{Origin::sluice, Reason::bad_request, Replay::safe, "the placeholder of credential '" + spec.name + "' is more than " + std::to_string(most_placeholders) + " times in this request", {}};
    case Placeholders::none: break;
    }
    if (spec.rules.require) return refused("vendor '" + ex.serving->name + "' wants the placeholder of credential '" + spec.name + "' in each request; it is nowhere in this one");
    apply(value, ex.request);
    return {};
}

// Nothing: its body has to be at hand first.
std::optional<Result<void>> sign_for_aws(Core& core, Exchange& ex, const Destination& destination, const AwsSigner& signer) {
    const bool has_body = ex.body && !ex.upgrade && ex.framing != Framing{Framing::Kind::length, 0};
    Result<AwsPayload> payload = judge_aws_payload(signer.service, ex.request, has_body);
    if (!payload) return Result<void>(std::move(payload.error()));
    std::string hash = payload->text;
    if (payload->kind == AwsPayload::Kind::must_hash) {
        if (!ex.replay.whole()) return {};
        hash = to_hex(hash_of(HashAlgorithm::sha256, ex.replay.kept()).bytes());
    }
    const std::string host = destination.authority.text(destination.scheme);
    AwsSigning signing;
    signing.keys = {signer.keys.access_key_id, signer.keys.secret_access_key.reveal(), signer.keys.session_token.reveal()};
    signing.region = signer.region;
    signing.service = signer.service;
    signing.now = Core::wall_now();
    signing.host = host;
    signing.prefix = destination.prefix;
    signing.payload = hash;
    AwsSigned done;
    sign_aws(signing, core.aws_keys[ex.attached->serial % core.aws_keys.size()], ex.request, done);
    const bool with_trailer = payload->kind == AwsPayload::Kind::streaming_signed_trailer;
    if (ex.body && (with_trailer || payload->kind == AwsPayload::Kind::streaming_signed)) {
        ex.resigned.begin(*ex.body, std::move(done), with_trailer);
        ex.body_signed = true;
    }
    return Result<void>{};
}

// Nothing: its body has to be at hand first.
std::optional<Result<void>> sign_by_template(Core& core, Exchange& ex, const Destination& destination, const HmacSigner& signer) {
    const bool has_body = ex.body && !ex.upgrade;
    if (has_body && signer.scheme.needs_body() && !ex.replay.whole()) return {};
    const std::string host = destination.authority.text(destination.scheme);
    HmacRequest request;
    request.now = Core::wall_now();
    for (std::size_t i = 0; i < request.nonce.size(); i += 8) {
        const std::uint64_t bits = core.draw();
        std::memcpy(request.nonce.data() + i, &bits, 8);
    }
    request.host = host;
    request.prefix = destination.prefix;
    if (has_body) request.body = ex.replay.kept();
    sign_hmac(signer.scheme, signer.key.reveal(), request, ex.request);
    return Result<void>{};
}

// Will the body be at hand if the request is to be sent again? Known ahead of its coming where it has a length.
bool will_be_kept(const Exchange& ex) {
    if (!ex.body || ex.upgrade || ex.replay.whole()) return true;
    return ex.framing.kind == Framing::Kind::length && ex.replay.would_keep(ex.framing.length);
}
bool is_kept(const Exchange& ex) { return !ex.body || ex.upgrade || ex.replay.replayable(); }

std::optional<Result<void>> put_on(Core& core, Exchange& ex, const std::shared_ptr<const CredentialState>& state, const Destination& destination) {
    ex.attached = state;
    ex.body_signed = false;
    const CredentialSpec& spec = spec_of(ex);
    ex.key_refused = false;
    CredentialDesk& desk = ex.policy->credentials;
    ex.attached_previous = state->previous && (ex.shows_previous ? *ex.shows_previous : desk.shows_previous(*ex.credential(), will_be_kept(ex)));
    const Attachment& attachment = ex.attached_previous ? *state->previous : *state->attachment;
    if (const auto* value = std::get_if<FixedValue>(&attachment.how)) return put_value(ex, spec, attachment, *value);
    if (const auto* aws = std::get_if<AwsSigner>(&attachment.how)) return sign_for_aws(core, ex, destination, *aws);
    if (const auto* hmac = std::get_if<HmacSigner>(&attachment.how)) return sign_by_template(core, ex, destination, *hmac);
    return Result<void>{};   // the connection shows its certificate
}

}  // namespace

std::optional<Result<void>> attach_at_once(Core& core, Exchange& ex, const Destination& destination) {
    const Needs needs = needs_of(ex, destination);
    if (!needs.credential && !needs.certificate) return Result<void>{};
    if (needs.credential)
        if (auto wrong = judge(ex, destination)) return Result<void>(std::move(*wrong));
    CredentialDesk& desk = ex.policy->credentials;
    if (const auto missing = missing_of(ex, needs)) {
        const CredentialState& state = *desk.current(*missing);
        if (is_coming(state)) return {};
        return Result<void>(not_at_hand(ex.config->spec_at(*missing), state.fault));
    }
    if (needs.certificate) ex.trip->certificate = std::get<OnConnection>(desk.current(*needs.certificate)->attachment->how).certificate;
    if (!needs.credential) return Result<void>{};
    return put_on(core, ex, desk.current(*needs.credential), destination);
}

bool awaits_credential(const Exchange& ex, const Destination& destination) {
    const auto missing = missing_of(ex, needs_of(ex, destination));
    return missing && is_coming(*ex.policy->credentials.current(*missing));
}

Task<Result<bool>> read_body(Exchange& ex) {
    if (!ex.replay.whole() && ex.request.fields.find(Known::expect)) {   // nobody sends a body that is not asked for
        ResponseHead go_on;
        go_on.status = 100;
        go_on.phrase = "Continue";
        Result<void> told = co_await ex.application->inform(go_on);
        if (!told) co_return std::move(told.error());
        ex.drop_expect();
    }
    ex.activity.last = Core::now();
    Result<bool> whole = co_await ex.replay.read_whole(ex.limits, ex.activity);
    co_return whole;
}

Task<Result<void>> attach_credential(Core& core, Exchange& ex, const Destination& destination) {
    for (;;) {
        if (auto attached = attach_at_once(core, ex, destination)) co_return std::move(*attached);
        CredentialDesk& desk = ex.policy->credentials;
        const auto missing = missing_of(ex, needs_of(ex, destination));
        if (!missing) {   // so it is the body that it waits for
            Result<bool> whole = co_await read_body(ex);
            if (!whole) co_return std::move(whole.error());
            if (!*whole)
                co_return Failure{Origin::application, Reason::bad_request, Replay::safe,
                                  "the body of a request that is signed for vendor '" + ex.serving->name + "' is larger than " + std::to_string(spec_of(ex).body_to_sign) + " bytes; raise `max_body` of credential '" +
                                      spec_of(ex).name + "'"};
            ex.framing = {Framing::Kind::length, ex.replay.kept().size()};
            continue;
        }
        CredentialWait wait;
        desk.wait_for(*missing, wait);
        const bool here = co_await pause(core, ex, wait.wakeup, ex.limits.total);
        if (!here) co_return cut_short(ex);
        const CredentialSpec& spec = ex.config->spec_at(*missing);
        if (Core::now() >= ex.limits.total)
            co_return not_at_hand(spec, "credential '" + spec.name + "' did not come within the exchange's total time: " + desk.current(*missing)->fault);
    }
}

bool may_tell_of_key(const Exchange& ex) {
    if (!is_signed_for_aws(ex) || ex.renewed || ex.tunnel || spec_of(ex).rules.refresh_on.empty()) return false;
    return key_is_refused(ex) != std::optional(false);
}

Task<void> look_for_refused_key(Exchange& ex) {
    if (const auto said = key_is_refused(ex)) {
        ex.key_refused = *said;
        co_return;
    }
    RoundTrip& trip = *ex.trip;
    const Framing& framing = trip.response_framing;
    const bool has_length = framing.kind == Framing::Kind::length;
    const bool small = framing.kind == Framing::Kind::chunked || (has_length && framing.length <= largest_error);
    if (!trip.response_body || trip.upgraded || !small) co_return;
    ex.looked_at.clear();
    ex.looked_at.begin(*trip.response_body, largest_error);
    trip.response_body = &ex.looked_at;
    // Where it breaks off or takes longer, who delivers it finds that out.
    Limits limits = trip.limits;
    limits.total = std::min(limits.total, later(Core::now(), longest_look));
    Result<bool> whole = co_await ex.looked_at.read_whole(limits, *trip.activity);
    ex.key_refused = whole && *whole && tells_of_refused_key(ex.looked_at.kept());
}

bool is_refused_credential(const Exchange& ex) {
    if (!ex.attached || ex.renewed || ex.tunnel || ex.application->began()) return false;
    if (!says_refused(ex)) return false;
    return !spec_of(ex).is_static() || ex.attached->previous || ex.policy->credentials.current(*ex.credential())->serial != ex.attached->serial;
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
    // Whoever was refused leaves word of it: a request that cannot be sent again has only that to give.
    const bool kept = is_kept(ex);
    if (refused->previous) desk.secret_refused(credential, refused->serial, ex.attached_previous, kept);
    bool another = is_another();
    const std::uint64_t flights = desk.current(credential)->flights;
    const bool coming = !another && desk.refused(credential, refused->serial);
    // A 401 says that the request has not been applied (RFC 9110 15.5.2), so any method may be sent again; what is
    // needed is its body.
    if (!kept) co_return false;
    if (!another && refused->previous) {
        ex.shows_previous = !ex.attached_previous;
        another = true;
    }
    if (!another && coming) {
        while (!is_another() && desk.current(credential)->flights == flights) {
            CredentialWait wait;
            desk.wait_for(credential, wait);
            const bool here = co_await pause(core, ex, wait.wakeup, ex.limits.total);
            if (!here || Core::now() >= ex.limits.total) co_return false;
        }
        another = is_another();
    }
    co_return another && spend_again(ex, Core::now());
}

void note_taken_credential(Exchange& ex) {
    if (!ex.attached || !ex.attached->previous || ex.response.status >= 400 || says_refused(ex)) return;   // a 429 may come before anybody has looked at it
    ex.policy->credentials.secret_taken(*ex.credential(), ex.attached->serial, ex.attached_previous);
}

}  // namespace sluice
