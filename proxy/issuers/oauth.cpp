#include "proxy/issuers/oauth.hpp"

#include <algorithm>
#include <boost/json/serialize.hpp>

#include "proxy/base/codec.hpp"
#include "proxy/base/text.hpp"
#include "proxy/credentials/assertion.hpp"
#include "proxy/credentials/secret_json.hpp"
#include "proxy/issuers/refresh_flight.hpp"
#include "proxy/issuers/refresh_store.hpp"

namespace sluice {

namespace {

constexpr std::string_view client_assertion_type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
constexpr std::string_view grant_jwt_bearer = "urn:ietf:params:oauth:grant-type:jwt-bearer";
constexpr std::string_view grant_token_exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
constexpr std::string_view type_access_token = "urn:ietf:params:oauth:token-type:access_token";
constexpr Duration assertion_lifetime = 60s;   // of a client's; it is used at once
constexpr Duration patience_for_a_successor = 60s;
constexpr Duration lock_patience = 5s, lock_glance = 50ms;   // while another process asks

// RFC 7523 3.
struct Claims {
    std::string issuer, subject, audience;
    Duration lifetime{};
    std::string more;   // a JSON object, "" for none
};

JwtMembers members_of(const Claims& claims) {
    const WallTime now = Errand::wall_now();
    JwtMembers members;
    members.text("iss", claims.issuer).text("sub", claims.subject).text("aud", claims.audience);
    members.time("iat", now).time("exp", now + std::chrono::duration_cast<WallTime::duration>(claims.lifetime)).id(Errand::random());
    if (claims.more.empty()) return members;
    const auto more = SecretJson::parse(claims.more);
    if (const auto* object = more ? more->value().if_object() : nullptr)
        for (const auto& [name, value] : *object) members.json(std::string_view(name), boost::json::serialize(value));
    return members;
}

Task<Result<Secret>> sign_assertion(Errand& errand, const SigningKeySpec& spec, Claims claims) {
    Result<Secret> pem = co_await errand.secret(spec.pem);
    if (!pem) co_return pem;
    std::string why;
    const auto key = JwtKey::read(pem->reveal(), spec.algorithm, why);
    if (!key) co_return errand.failure("the key in " + spec.pem.text() + ' ' + why);
    JwtMembers header;
    if (!spec.kid.empty()) header.text("kid", spec.kid);
    auto token = sign_jwt(*key, header, members_of(claims));
    if (!token) co_return errand.failure(token.error().detail);
    Secret assertion(std::move(*token));
    errand.hide(assertion);
    co_return assertion;
}

// Who asks: in the form, or in the request's head.
Task<Result<void>> authenticate(Errand& errand, const OAuthSpec& spec, Secret secret, Form& form, Fields& fields) {
    const ClientAuthSpec& client = spec.client;
    switch (client.kind) {
    case ClientAuthSpec::Kind::none: form.add_if("client_id", client.client_id); co_return Result<void>{};
    case ClientAuthSpec::Kind::tls: form.add("client_id", client.client_id); co_return Result<void>{};
    case ClientAuthSpec::Kind::secret_post:
        form.add("client_id", client.client_id).add("client_secret", secret, errand);
        co_return Result<void>{};
    case ClientAuthSpec::Kind::secret_basic: {   // both form-encoded first (RFC 6749 2.3.1)
        std::string encoded = form_encoded(secret.reveal()), pair, value = "Basic ";
        pair.reserve(3 * client.client_id.size() + 1 + encoded.size());
        pair.append(form_encoded(client.client_id)).append(":").append(encoded);
        value.reserve(value.size() + (pair.size() + 2) / 3 * 4);
        append_base64(value, pair);
        fields.set("Authorization", value);
        errand.hide(Secret(std::move(encoded)));   // in base64 it is another text than the secret's own
        for (std::string* text : {&pair, &value}) wipe(*text);
        co_return Result<void>{};
    }
    case ClientAuthSpec::Kind::private_key_jwt: {
        Claims claims;
        claims.issuer = claims.subject = client.client_id;
        claims.audience = whole_text_of(spec.token_url);
        claims.lifetime = assertion_lifetime;
        Result<Secret> assertion = co_await sign_assertion(errand, client.key, std::move(claims));
        if (!assertion) co_return std::move(assertion.error());
        form.add("client_id", client.client_id).add("client_assertion_type", client_assertion_type).add("client_assertion", *assertion, errand);
        co_return Result<void>{};
    }
    }
    co_return Result<void>{};
}

// What is asked for, apart from who asks. `refresh_token` where the grant has one.
Task<Result<void>> write_grant(Errand& errand, const OAuthSpec& spec, const Secret& refresh_token, Form& form) {
    switch (spec.grant) {
    case OAuthSpec::Grant::client_credentials: form.add("grant_type", "client_credentials"); break;
    case OAuthSpec::Grant::refresh_token: form.add("grant_type", "refresh_token").add("refresh_token", refresh_token, errand); break;
    case OAuthSpec::Grant::token_exchange: {
        Result<Secret> subject = co_await errand.secret(spec.subject_token);
        if (!subject) co_return std::move(subject.error());
        form.add("grant_type", grant_token_exchange).add("subject_token", *subject, errand);
        form.add("subject_token_type", spec.subject_token_type.empty() ? type_access_token : spec.subject_token_type);
        form.add_if("requested_token_type", spec.requested_token_type);
        if (!spec.actor_token.written()) break;
        Result<Secret> actor = co_await errand.secret(spec.actor_token);
        if (!actor) co_return std::move(actor.error());
        form.add("actor_token", *actor, errand);
        form.add("actor_token_type", spec.actor_token_type.empty() ? type_access_token : spec.actor_token_type);
        break;
    }
    case OAuthSpec::Grant::jwt_bearer: {
        Claims claims;
        claims.issuer = spec.issuer;
        claims.subject = spec.subject;
        claims.audience = spec.audience.empty() ? whole_text_of(spec.token_url) : spec.audience;
        claims.lifetime = spec.lifetime;
        claims.more = spec.claims;
        Result<Secret> assertion = co_await sign_assertion(errand, spec.key, std::move(claims));
        if (!assertion) co_return std::move(assertion.error());
        form.add("grant_type", grant_jwt_bearer).add("assertion", *assertion, errand);
        break;
    }
    }
    form.add_if("scope", joined(spec.scope, " "));
    if (spec.grant != OAuthSpec::Grant::jwt_bearer) form.add_if("audience", spec.audience);
    for (const std::string& resource : spec.resource) form.add("resource", resource);
    for (const auto& [name, value] : spec.params) form.add(name, value);
    co_return Result<void>{};
}

struct Answer {
    Result<TokenGranted> granted;
    std::string error;   // OAuth's code for why not
    Secret refresh_token;   // the next one, whether the rest is any good or not; empty: none
};

Task<Answer> ask(Errand& errand, const OAuthSpec& spec, Secret client_secret, const Secret& refresh_token) {
    Form form;
    Fields fields;
    Result<void> written = co_await write_grant(errand, spec, refresh_token, form);
    if (written) written = co_await authenticate(errand, spec, std::move(client_secret), form, fields);
    if (!written) co_return Answer{std::move(written.error()), {}};
    IssuerRequest request = std::move(form).post_to(spec.token_url);
    if (spec.grant == OAuthSpec::Grant::refresh_token) request.patience = patience_for_a_successor;
    for (const Field field : fields) request.fields.set(field.name, field.value);
    TokenDenied denied;
    Result<TokenGranted> granted = co_await ask_token_endpoint(errand, std::move(request), &denied);
    Secret next = std::move(granted ? granted->refresh_token : denied.refresh_token);
    co_return Answer{std::move(granted), std::move(denied.error), std::move(next)};
}

// The secret of the client, and where that is refused the one from before it was rotated.
Task<Answer> ask_as_client(Errand& errand, const OAuthSpec& spec, const Secret& refresh_token) {
    Result<Secret> secret = co_await errand.secret(spec.client.secret);
    if (!secret) co_return Answer{std::move(secret.error()), {}};
    Answer answer = co_await ask(errand, spec, std::move(*secret), refresh_token);
    const SecretSource& overlap = errand.spec().rules.overlap;
    if (answer.error != "invalid_client" || !overlap.written() || !answer.refresh_token.empty()) co_return answer;
    Result<Secret> previous = co_await errand.secret(overlap);
    if (!previous) co_return answer;   // it may be gone as soon as nobody takes it any more
    Answer again = co_await ask(errand, spec, std::move(*previous), refresh_token);
    if (!again.granted) {
        answer.refresh_token = std::move(again.refresh_token);
        co_return answer;
    }
    errand.note("the issuer refuses the client secret, and still takes the one before it (overlap)");
    co_return again;
}

Task<Result<void>> lock(Errand& errand, RefreshStore& store) {
    const TimePoint until = std::min(errand.deadline(), later(Errand::now(), lock_patience));
    for (;;) {
        const Result<bool> locked = store.try_lock();
        if (!locked) co_return errand.failure(locked.error().detail);
        if (*locked) co_return Result<void>{};
        if (errand.aborted() || Errand::now() >= until) co_return errand.failure("another process with the same `state` has its refresh token under way");
        Wakeup wakeup;
        co_await errand.timer().wait(wakeup, later(Errand::now(), lock_glance));
    }
}

// What is on disk, unless that is spent as far as this process knows: then what came for it, on disk again.
Result<Secret> find_latest(RefreshStore& store, const Secret& first, RefreshSuccessor& known) {
    Result<Secret> token = store.latest();
    if (!token || token->same_as(known.token.reveal())) return token;
    const bool begun = token->same_as(first.reveal());
    if (!known.token.empty() && (begun || token->same_as(known.replaced.reveal()))) {
        Result<void> kept = store.keep(known.token);
        if (!kept) return kept.error();
        return known.token;
    }
    if (!begun) known = {*token, std::move(known.token)};   // from before this process, or another's on the same state
    return token;
}

// Alone with the token: in this process as `RefreshFlights` has it, among those that share `state` by the lock. What replaces it is on disk before anything is done with what came beside it: the one before is
// worth nothing any more.
Task<Result<TokenGranted>> ask_alone(Errand& errand, const OAuthSpec& spec, Secret first) {
    errand.hide(first);
    RefreshStore store(errand.state_directory(), errand.spec().name, first);
    Result<void> locked = co_await lock(errand, store);
    if (!locked) co_return std::move(locked.error());
    RefreshSuccessor& known = errand.flights().successor(RefreshStore::chain_of(first));
    Result<Secret> token = find_latest(store, first, known);
    if (!token) co_return errand.failure(token.error().detail);
    errand.hide(*token);
    if (store.is_dead(*token))
        co_return errand.failure("its refresh token was refused for good (invalid_grant); put a new one where " + spec.refresh_token.text() + " is");
    Result<void> kept = store.try_to_keep();
    if (!kept) co_return errand.failure(kept.error().detail);
    Answer answer = co_await ask_as_client(errand, spec, *token);
    const Secret& next = answer.refresh_token;   // even beside what is no good
    if (!next.empty() && !next.same_as(token->reveal())) {
        errand.hide(next);
        known = {next, *token};
        kept = store.keep(next);
        if (!kept) co_return errand.failure(kept.error().detail);
    } else if (!answer.granted && answer.error == "invalid_grant") {
        store.bury(*token);
    }
    co_return std::move(answer.granted);
}

const OAuthSpec& spec_of(const RefreshFlight& flight) { return std::get<OAuthSpec>(flight.errand.spec().kind); }

std::shared_ptr<RefreshFlight> begin_flight(Errand& errand, const std::string& chain, const Secret& first) {
    auto flight = std::make_shared<RefreshFlight>(errand);
    RefreshFlights& flights = errand.flights();
    flights.begin(chain, flight);
    const auto end = [flight, chain, &flights](const std::exception_ptr& broken, std::optional<Result<TokenGranted>> got) {
        flights.end(chain, broken ? Result<TokenGranted>(flight->errand.failure("the fetch broke")) : std::move(*got));
    };
    spawn(ask_alone(flight->errand, spec_of(*flight), first), end);
    return flight;
}

// For as long as the issuer's `timeout` says, from when it was asked, or from now where it was before.
Task<void> wait_for(RefreshFlight& flight, Errand& errand) {
    const TimePoint came = Errand::now();
    const Duration patience = errand.own_rules() ? errand.own_rules()->timeout.total : errand_time;
    while (!flight.answer && !errand.flights().stopping()) {
        const std::optional<TimePoint> sent = flight.errand.sent_since();
        const TimePoint end = sent ? std::min(errand.deadline(), later(std::max(*sent, came), patience)) : errand.deadline();
        const TimePoint now = Errand::now();
        if (now >= end) break;
        CredentialWait wait;
        flight.waits.push_back(wait);
        co_await errand.timer().wait(wait.wakeup, std::min(end, later(now, patience)));   // it may be sent meanwhile
    }
}

Task<Result<TokenGranted>> refresh(Errand& errand, const OAuthSpec& spec) {
    const TimePoint came = Errand::now();
    const Result<Secret> first = co_await errand.secret(spec.refresh_token);
    if (!first) co_return first.error();
    const std::string chain = RefreshStore::chain_of(*first);   // whatever the credential is called
    for (;;) {
        if (errand.flights().stopping()) co_return errand.failure("broken off");
        std::shared_ptr<RefreshFlight> flight = errand.flights().find(chain);
        if (!flight) flight = begin_flight(errand, chain, *first);
        co_await wait_for(*flight, errand);
        errand.learn_from(flight->errand);
        if (!flight->answer) {
            const std::string where = text_of(spec.token_url);
            if (errand.flights().stopping()) co_return errand.failure("broken off");
            if (!flight->errand.sent_since()) co_return errand.failure("its refresh token could not be sent in time");
            errand.add_call({"POST", where, 0, Reason::timeout_total, {}, Errand::now() - *flight->errand.sent_since()});
            co_return errand.failure(where + " has not answered in time; the answer is waited for all the same, since it may hold the next refresh token");
        }
        if (!(spec_of(*flight) == spec)) continue;   // a reload has changed what is asked for
        Result<TokenGranted> answer = *flight->answer;
        const Duration age = came - flight->began;   // the lifetime counts from when it was asked for
        if (answer && answer->minted.lifetime && age > Duration{}) *answer->minted.lifetime -= age;
        co_return answer;
    }
}

}  // namespace

Task<Result<TokenGranted>> ask_token_endpoint(Errand& errand, IssuerRequest request, TokenDenied* denied) {
    const std::string where = text_of(request.url);
    Result<IssuerReply> reply = co_await errand.call(std::move(request));
    if (!reply) co_return std::move(reply.error());
    auto read = read_token_reply(reply->status, reply->body.reveal());
    if (auto* granted = std::get_if<TokenGranted>(&read)) {
        errand.hide(std::get<Secret>(granted->minted.what));
        co_return std::move(*granted);
    }
    auto& refused = std::get<TokenDenied>(read);
    if (const auto said = SecretJson::parse(reply->body.reveal()))   // what is no good as an answer may hold a good token
        for (const char* name : {"access_token", "refresh_token", "id_token"})
            if (const auto token = said->text(name)) errand.hide(Secret(std::string(*token)));
    const Failure failure = errand.failure(where + ' ' + refused.what);
    if (denied) *denied = std::move(refused);
    co_return failure;
}

Task<Result<Minted>> fetch_oauth(Errand& errand, const OAuthSpec& spec) {
    const Secret none;
    Answer answer{Failure{}, {}};
    if (spec.grant == OAuthSpec::Grant::refresh_token)
        answer.granted = co_await refresh(errand, spec);
    else
        answer = co_await ask_as_client(errand, spec, none);
    if (!answer.granted) co_return std::move(answer.granted.error());
    Minted minted = std::move(answer.granted->minted);
    minted.subject = spec.subject.empty() ? spec.client.client_id : spec.subject;
    if (minted.scope.empty()) minted.scope = spec.scope;   // RFC 6749 5.1: left out where it is what was asked for
    co_return minted;
}

}  // namespace sluice
