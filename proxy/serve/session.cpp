#include "proxy/serve/session.hpp"

#include <openssl/err.h>
#include <sys/socket.h>

#include "proxy/base/text.hpp"
#include "proxy/credentials/renewal_plan.hpp"
#include "proxy/net/sockaddr.hpp"
#include "proxy/policy/clients.hpp"

namespace sluice {

namespace {

constexpr Duration linger_time = 2s;
constexpr std::size_t linger_bytes = 64 * 1024 * 1024;   // many clients send a whole upload before they look for an answer
constexpr std::size_t spare_exchanges_kept = 64;
constexpr Duration between_doubts = 250ms;   // of a worker

Refusal bad_request(std::string detail) { return {Reason::bad_request, std::move(detail), {}}; }
Refusal mismatch(std::string detail) { return {Reason::authority_mismatch, std::move(detail), {}}; }

// A Host that does not name whom a request is for. One that names nobody at all is malformed (RFC 9112 3.2); an empty one only where no target names an authority beside it (3.3).
Refusal wrong_host(std::string_view host, bool target_names_it, std::string detail) {
    if (host.empty() && !target_names_it) return bad_request("an empty Host, where only the Host says whom a request is for");
    if (!host.empty() && !parse_authority(host, 1)) return bad_request("a Host that is no host and port");
    return mismatch(std::move(detail));
}

bool is_any(const IpAddress& address) { return address == IpAddress{{}, address.v6}; }
bool is_loopback(const IpAddress& address) { return address.v6 ? address.text() == "::1" : address.bytes[0] == 127; }

// At which of our addresses a connection came in; nothing: at none.
std::optional<IpAddress> local_address(int fd) {
    sockaddr_storage name{};
    socklen_t size = sizeof name;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size) != 0) return {};
    return from_sockaddr(name);
}

std::string_view listener_name(Entrance entrance) {
    switch (entrance) {
    case Entrance::proxy: return "proxy";
    case Entrance::unix_socket: return "unix";
    }
    return "";
}

// Who connected, as the kernel noted it then.
std::optional<std::uint32_t> uid_of_peer(int fd) {
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return {};
    return peer.uid;
}

bool asks_for_websocket(const RequestHead& head, const Framing& framing) {
    const bool empty = framing.kind == Framing::Kind::none || framing == Framing{Framing::Kind::length, 0};
    return head.minor == 1 && head.method == "GET" && empty && head.fields.list_holds(Known::connection, "upgrade") &&
           head.fields.list_holds(Known::upgrade, "websocket");
}

// The name in a ClientHello (RFC 6066 3), whatever TLS version, resumed or not.
int note_server_name(SSL* ssl, int*, void*) {
    auto* name = static_cast<std::string*>(SSL_get_app_data(ssl));
    const unsigned char* bytes = nullptr;
    std::size_t size = 0;
    if (name && SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &bytes, &size) == 1 && size > 5 && bytes[2] == TLSEXT_NAMETYPE_host_name) {
        const std::size_t length = static_cast<std::size_t>(bytes[3]) << 8 | bytes[4];
        if (length <= size - 5) name->assign(reinterpret_cast<const char*>(bytes) + 5, length);
    }
    return SSL_CLIENT_HELLO_SUCCESS;
}

}  // namespace

std::unique_ptr<Exchange> Floor::take_exchange() {
    if (spare_exchanges.empty()) return std::make_unique<Exchange>();
    auto exchange = std::move(spare_exchanges.back());
    spare_exchanges.pop_back();
    return exchange;
}

void Floor::give_exchange(std::unique_ptr<Exchange> exchange) {
    if (!flush_log.armed() && journal.pending()) loop.wheel.arm(flush_log, later(Loop::now(), 100ms));
    exchange->clear();
    if (spare_exchanges.size() < spare_exchanges_kept) spare_exchanges.push_back(std::move(exchange));
}

Session::Session(Floor& floor, Socket socket, Entrance entrance) : floor_(floor), entrance_(entrance), owed_until_(later(Loop::now(), floor.world.times.handshake)) {
    if (entrance == Entrance::unix_socket) uid_ = uid_of_peer(socket.fd());
    channel_.attach(std::make_unique<Stream>(std::move(socket)));
    place_ = floor_.sessions.insert(floor_.sessions.end(), this);
}

Session::~Session() { floor_.sessions.erase(place_); }

void Session::close_if_idle() {
    if (!idle_) return;
    if (Loop::now() < owed_until_)
        channel_.interrupt();   // whoever waits goes on waiting, but only so long
    else
        channel_.close();
}

void Session::abort() {
    Floor& floor = floor_;
    if (current_ && current_->pausing) return interrupt(floor.core, *current_);   // it only waits, and can still be answered
    stopped_ = true;
    const auto lives = [&floor, this] { return std::find(floor.sessions.begin(), floor.sessions.end(), this) != floor.sessions.end(); };
    if (current_) interrupt(floor.core, *current_);   // may end, and so destroy, this session
    if (lives() && channel_.open()) channel_.close(true);
}

void Session::tidy() {
    if (inside_ && channel_.open()) channel_.stream().send_ticket();
    if (!idle_) {
        look_for_hang_up();
    } else if (!rested_ && channel_.open()) {
        channel_.stream().release_buffers();
        rested_ = true;
    }
}

void Session::look_for_hang_up() {
    if (!current_ || !current_->waits() || !channel_.open() || stopped_) return;
    if (Loop::now() - current_->phases.started < 500ms) return;
    Stream& stream = channel_.stream();
    if (channel_.body_done()) {
        current_->left_at = stream.socket().ended_at();
        if (!stream.hung_up()) return;
    } else {
        // A body that is being read will show it by itself. While the exchange waits for its turn nobody reads it.
        if (!current_->pausing || !stream.hung_up_behind_bytes()) return;
    }
    current_->application_gone = true;
    stopped_ = true;
    interrupt(floor_.core, *current_);
}

Task<void> Session::run() {
    Next next = Next::request;
    while (next == Next::request) next = co_await serve_one();
    switch (next) {
    case Next::request:
    case Next::close: channel_.close(); break;
    case Next::close_gently: co_await linger(); break;
    case Next::reset: channel_.close(true); break;
    }
}

Task<Session::Next> Session::serve_one() {
    idle_ = true;
    channel_.rest();
    const ApplicationTimes& times = floor_.world.times;
    const TimePoint patience = later(Loop::now(), fresh_ ? times.head : times.keep_alive);
    H1Channel::Got first = H1Channel::Got::interrupted;
    while (first == H1Channel::Got::interrupted && channel_.open()) {   // by a drain that begins
        const bool draining = floor_.core.draining;
        if (draining && Loop::now() >= owed_until_) co_return Next::close;
        first = co_await channel_.await_message(draining ? std::min(patience, owed_until_) : patience);
    }
    if (first != H1Channel::Got::head) co_return Next::close;
    idle_ = rested_ = false;
    owed_until_ = {};
    constexpr unsigned seldom = 2;   // a CONNECT and what it was made for
    if (++requests_ > seldom) channel_.stream().keep_buffers();

    std::unique_ptr<Exchange> exchange = floor_.take_exchange();
    Exchange& ex = *exchange;
    ex.listener = listener_name(entrance_);
    ex.application = &reply_;
    if (inside_) {
        ex.scheme = inside_->scheme;
        ex.authority = inside_->authority;
    } else {
        ex.authority = {};
    }
    current_ = &ex;
    Failure fault;
    H1Channel::Got got = H1Channel::Got::closed;
    if (const auto at_hand = channel_.head_at_hand(ex.request, fault))
        got = *at_hand;
    else
        got = co_await channel_.read_head(ex.request, later(Loop::now(), times.head), fault);
    ex.begin_under(floor_.core.policy);   // an exchange begins when its head is complete: one that dawdles does not keep an old policy
    Next next = Next::close;
    switch (got) {
    case H1Channel::Got::head: next = co_await answer(ex); break;
    case H1Channel::Got::failed:
        if (!fault.gone) ex.refused_already = Refusal{fault.reason, std::move(fault.detail), {}};
        break;
    case H1Channel::Got::timed_out: ex.refused_already = Refusal{Reason::timeout_request, "the head of the request was not complete after " + format_duration(times.head), {}}; break;
    case H1Channel::Got::closed:
    case H1Channel::Got::interrupted: break;
    }
    if (got != H1Channel::Got::head && ex.refused_already) {
        ex.request.clear();   // half a head is nobody's
        if (inside_) attribute(ex, identify(ex).has_value());
        reply_.begin({}, 1, false);
        const Result<void> done = co_await run_exchange(floor_.core, ex);
        next = done ? Next::close_gently : Next::reset;
    }
    fresh_ = false;
    current_ = nullptr;
    floor_.give_exchange(std::move(exchange));
    co_return next;
}

Task<Session::Next> Session::answer(Exchange& ex) {
    reply_.begin(ex.request.method, ex.request.minor, keeps_alive(ex.request.minor, ex.request.fields));
    Result<Framing> framing = judge_request_framing(ex.request);
    const bool sound = framing.has_value();
    if (sound) {
        ex.framing = *framing;
        std::optional<Refusal> stranger = identify(ex);
        if (ex.request.method == "CONNECT") {
            ex.refused_already = std::move(stranger);
            co_return co_await connect(ex);
        }
        ex.refused_already = address(ex);
        if (ex.refused_already) attribute(ex, stranger.has_value());
        if (stranger) {   // who is told nothing else: not which vendors there are either
            ex.vendor = nullptr;
            ex.refused_already = std::move(stranger);
        }
    } else {
        ex.refused_already = Refusal{framing.error().reason, framing.error().detail, {}};
        if (inside_) attribute(ex, identify(ex).has_value());
        reply_.begin(ex.request.method, ex.request.minor, false);   // where the next request begins is anybody's guess
    }
    prepare_body(ex);
    const Result<void> done = co_await run_exchange(floor_.core, ex);
    if (!done) co_return Next::reset;
    if (ex.upgrade && ex.status != 101) channel_.start_body({}, nullptr, nullptr);   // nobody has read a byte of it
    if (reply_.keep_alive() && channel_.body_done()) co_return Next::request;
    co_return sound && channel_.body_done() && !channel_.has_input() ? Next::close : Next::close_gently;
}

void Session::prepare_body(Exchange& ex) {
    if (ex.refused_already) {
        channel_.start_body(ex.framing, &ex.traffic.to_vendor, &ex.activity);
        return;
    }
    ex.upgrade = asks_for_websocket(ex.request, ex.framing);
    if (ex.upgrade) {
        ex.framing = {};
        channel_.start_raw(&ex.traffic.to_vendor, &ex.activity);
    } else
        channel_.start_body(ex.framing, &ex.traffic.to_vendor, &ex.activity, &ex.request.fields);
    ex.body = ex.upgrade || !channel_.body_done() ? &channel_ : nullptr;
    if (ex.framing.kind != Framing::Kind::chunked) return;   // no other can be malformed
    // What came with the head is judged with it: nothing of such a request is tried anywhere.
    if (auto fault = channel_.look_at_body()) {
        if (!ex.vendor) ex.vendor = ex.config->match(ex.authority);
        ex.refused_already = Refusal{fault->reason, std::move(fault->detail), {}};
    }
}

// ---- whose request it is ---------------------------------------------------------------------------------------------

std::optional<Refusal> Session::identify(Exchange& ex) {
    const std::vector<ClientSpec>& clients = ex.config->clients;
    if (clients.empty()) return {};
    const PasswordOf password_of = [&ex](const ClientSpec& client) -> const Secret* {
        if (!client.password) return nullptr;
        const CredentialState& state = *ex.policy->credentials.current(*client.password);
        return state.attachment && Loop::now() < state.usable_until ? &state.attachment->secrets.front() : nullptr;
    };
    Caller caller;
    if (inside_) {
        caller = identify_inside(clients, uid_, inside_->client, password_of);
    } else {
        const auto authorization = ex.request.fields.find(Known::proxy_authorization);
        caller = sluice::identify(clients, {uid_, authorization, ex.request.fields.count(Known::proxy_authorization) > 1}, password_of);
    }
    ex.client = caller.client;
    by_password_ = caller.by_password;
    if (caller.client) return {};
    return refuse(ex, std::move(caller));
}

// One that is fetched may have been changed where it is kept: who shows another makes us look there, but strangers must not make us do so at will.
Refusal Session::refuse(const Exchange& ex, Caller caller) {
    const bool fetched = caller.named && !ex.config->spec_at(*caller.named->password).is_static();
    if (caller.unread) return {Reason::credential_unavailable, std::move(caller.why), fetched ? asked_again_within : Duration{}};
    if (fetched && Loop::now() >= floor_.doubted) {
        floor_.doubted = Loop::now() + between_doubts;
        CredentialDesk& desk = ex.policy->credentials;
        desk.refused(*caller.named->password, desk.current(*caller.named->password)->serial);
    }
    return {Reason::client_unknown, std::move(caller.why), {}};
}

// What is refused before the walk can look for its vendor is that of its target; inside a CONNECT, of the CONNECT, whatever else it names. A stranger is told nothing of it.
void Session::attribute(Exchange& ex, bool stranger) {
    if (stranger || ex.vendor) return;
    const Authority& authority = inside_ ? inside_->authority : ex.authority;
    if (!authority.host.empty()) ex.vendor = ex.config->match(authority);
}

// ---- whom the request is for ----------------------------------------------------------------------------------------

std::optional<Refusal> Session::address(Exchange& ex) {
    Result<Target> target = parse_target(ex.request.method, ex.request.target);
    if (!target) return bad_request(std::move(target.error().detail));
    if (target->form == Target::Form::asterisk) {
        if (!inside_) return bad_request("OPTIONS * names no host here");
        return address_inside(ex, *target);
    }
    std::string rest(target->rest);
    if (!rest.starts_with('/')) rest.insert(rest.begin(), '/');
    if (inside_) {
        if (auto refusal = address_inside(ex, *target)) return refusal;
        ex.request.target = std::move(rest);
        return {};
    }
    if (target->form == Target::Form::origin) return address_base_url(ex, rest);

    if (names_us(target->authority)) return address_base_url(ex, rest);
    ex.scheme = target->scheme;
    ex.authority = std::move(target->authority);
    ex.request.target = std::move(rest);
    const auto host = ex.request.fields.find(Known::host);
    if (host && !names(*host, ex.authority, default_port(ex.scheme))) return wrong_host(*host, true, "the target names " + ex.authority.text(ex.scheme) + ", the Host field something else");
    return {};
}

std::optional<Refusal> Session::address_inside(Exchange& ex, const Target& target) {
    const Inside& inside = *inside_;
    const std::string& name = inside.authority.host;
    if (inside.sni_differs) return mismatch("the TLS handshake named another server than the CONNECT to " + name);
    if (target.form == Target::Form::absolute && (target.authority != inside.authority || target.scheme != inside.scheme))
        return mismatch("the target names another authority than the CONNECT to " + name);
    const auto host = ex.request.fields.find(Known::host);
    if (host && !names(*host, inside.authority, default_port(inside.scheme))) return wrong_host(*host, target.form == Target::Form::absolute, "the Host field names another authority than the CONNECT to " + inside.authority.text());
    return {};
}

// The proxy's own listener: who means another one of ours does not mean base-URL mode.
bool Session::names_us(const Authority& authority) {
    const ListenAddress& own = floor_.world.own.front();
    if (own.port != authority.port) return false;
    if (authority.host == "localhost") return true;
    const auto address = authority.is_address ? parse_address(authority.host) : std::nullopt;
    if (!address || !is_any(own.address)) return address == own.address;
    if (is_loopback(*address)) return true;
    if (!reached_at_) reached_at_ = local_address(channel_.stream().socket().fd());
    return address == *reached_at_;
}

// A page in a browser must not spend a credential: who may call base-URL mode.
bool Session::foreign_origin(std::string_view origin) {
    constexpr std::string_view http = "http://";
    if (!origin.starts_with(http)) return true;
    const auto authority = parse_authority(origin.substr(http.size()), default_port(Scheme::http));
    return !authority || !names_us(*authority);
}

// One that this application can call us by.
std::string Session::our_address() {
    ListenAddress own = floor_.world.own.front();
    if (!is_any(own.address)) return own.text();
    if (!reached_at_) reached_at_ = local_address(channel_.stream().socket().fd());
    own.address = reached_at_->value_or(IpAddress{{127, 0, 0, 1}, false});
    return own.text();
}

std::optional<Refusal> Session::address_base_url(Exchange& ex, std::string_view rest) {
    ex.listener = "base_url";
    const auto host = ex.request.fields.find(Known::host);
    const auto named = host ? parse_authority(*host, default_port(Scheme::http)) : Result<Authority>(Failure{});
    const bool through_file = entrance_ == Entrance::unix_socket && named && named->host == "localhost";
    if (!through_file && (!named || !names_us(*named))) {
        std::string detail = "a request without a proxy target must name the proxy's own address as its Host (base-URL mode: http://" + our_address() + "/<vendor>/<path>)";
        return host ? wrong_host(*host, false, std::move(detail)) : mismatch(std::move(detail));
    }
    // Each of them: who sends two may be read by either.
    for (const Field field : ex.request.fields) {
        if (field.known == Known::origin && foreign_origin(field.value))
            return Refusal{Reason::not_allowed, "base-URL mode refuses requests from web pages (Origin)", {}};
        // A page on another port of this machine is of the same site, and sends no Origin with an image's GET.
        if (field.known == Known::sec_fetch_site && !same_text(field.value, "same-origin") && !same_text(field.value, "none"))
            return Refusal{Reason::not_allowed, "base-URL mode refuses requests from web pages (Sec-Fetch-Site: " + std::string(field.value) + ")", {}};
    }

    const std::string_view path = rest.substr(1);
    const std::size_t end = std::min(path.find_first_of("/?"), path.size());
    const std::string_view name = path.substr(0, end);
    const Vendor* vendor = ex.config->find(name);
    if (!vendor) return Refusal{Reason::unknown_vendor, "base-URL mode: the first segment of the path must be a vendor of the policy: /<vendor>/<path>", {}};
    const auto url = vendor->base_url();
    if (!url) return bad_request("vendor '" + vendor->name + "' cannot be reached in base-URL mode: it has neither an endpoint nor a host without a wildcard");
    ex.vendor = vendor;
    ex.scheme = url->scheme;
    ex.authority = url->authority;
    std::string target(path.substr(end));
    if (!target.starts_with('/')) target.insert(target.begin(), '/');
    ex.request.target = std::move(target);
    return {};
}

// ---- CONNECT --------------------------------------------------------------------------------------------------------

Task<Session::Next> Session::connect(Exchange& ex) {
    reply_.begin(ex.request.method, ex.request.minor, false);
    Result<Target> target = parse_target(ex.request.method, ex.request.target);
    ex.tunnel = true;
    ex.scheme = Scheme::https;
    if (ex.refused_already) {
        if (target) ex.authority = std::move(target->authority);
        co_return co_await challenge(ex);
    }
    if (!target) {
        ex.refused_already = bad_request(std::move(target.error().detail));
    } else if (inside_) {
        ex.refused_already = bad_request("CONNECT inside a CONNECT");
    } else if (ex.framing.kind != Framing::Kind::none && ex.framing != Framing{Framing::Kind::length, 0}) {
        ex.refused_already = bad_request("a CONNECT has no body");
    } else {
        ex.authority = std::move(target->authority);
        const auto host = ex.request.fields.find(Known::host);
        if (host && !names(*host, ex.authority, ex.authority.port)) ex.refused_already = wrong_host(*host, true, "CONNECT names " + ex.authority.text() + ", its Host field something else");
    }
    if (ex.refused_already) {
        attribute(ex, false);
    } else {
        const Vendor* vendor = ex.config->match(ex.authority);
        const bool enters = vendor && vendor->mode == Mode::intercept && !judge_client(ex.config->clients, ex.client, *vendor, true).refused();
        if (enters) co_return co_await enter(ex);
    }
    channel_.start_raw(&ex.traffic.to_vendor, &ex.activity);
    ex.body = &channel_;
    const Result<void> done = co_await run_exchange(floor_.core, ex);
    if (!done) co_return Next::reset;
    co_return ex.status == 200 ? Next::close : Next::close_gently;
}

// Nobody that we know: a second try, with credentials, may come on the same connection, as it does from most clients.
Task<Session::Next> Session::challenge(Exchange& ex) {
    reply_.begin(ex.request.method, ex.request.minor, keeps_alive(ex.request.minor, ex.request.fields));
    channel_.start_body(ex.framing, &ex.traffic.to_vendor, &ex.activity);
    const Result<void> done = co_await run_exchange(floor_.core, ex);
    if (!done) co_return Next::reset;
    co_return reply_.keep_alive() && channel_.body_done() ? Next::request : Next::close_gently;
}

// Our 200, then whatever the application says first: TLS on any port, or plain HTTP.
Task<Session::Next> Session::enter(Exchange& ex) {
    Authority authority = ex.authority;
    std::string client = ex.client && by_password_ ? ex.client->name : std::string();
    Stream& stream = channel_.stream();
    stream.stage("HTTP/1.1 200 Connection established\r\n\r\n");
    Activity activity{Loop::now()};
    const Duration handshake_time = floor_.world.times.handshake;
    const Limits limits{Timeouts{.idle = handshake_time}};
    co_await stream.sealed();
    const Result<void> sent = co_await push(stream, Origin::application, {}, limits, activity);
    if (!sent) co_return Next::close;
    idle_ = true;
    owed_until_ = later(Loop::now(), handshake_time);
    H1Channel::Got got = H1Channel::Got::interrupted;
    while (got == H1Channel::Got::interrupted && channel_.open()) got = co_await channel_.await_message(owed_until_);
    idle_ = false;
    if (got != H1Channel::Got::head) co_return Next::close;

    auto inside = std::make_unique<Inside>(Inside{std::move(authority), Scheme::http, false, std::move(client)});
    constexpr char tls_handshake_record = 0x16;
    if (channel_.input().view().front() == tls_handshake_record) {
        inside->scheme = Scheme::https;
        const bool secured = co_await intercept(*inside);
        if (!secured) co_return Next::close;
    }
    inside_ = std::move(inside);
    owed_until_ = later(Loop::now(), handshake_time);
    co_return Next::request;
}

Task<bool> Session::intercept(Inside& inside) {
    const std::string& host = inside.authority.host;
    CertResult<SSL_CTX*> context = floor_.leaves.context(host, std::chrono::system_clock::now());
    if (!context) {
        floor_.world.telemetry->notice(Level::error, "leaf_failed", {{"host", host}, {"error", context.error().what}});
        co_return false;
    }
    SSL_CTX_set_client_hello_cb(*context, note_server_name, nullptr);
    std::string server_name;
    SslPtr ssl(SSL_new(*context));
    if (!ssl) co_return false;
    SSL_set_accept_state(ssl.get());
    SSL_set_app_data(ssl.get(), &server_name);

    Stream& stream = channel_.stream();
    InputBuffer& input = channel_.input();
    stream.start_tls(std::move(ssl), input.view());
    input.consume(input.view().size());
    channel_.rest();
    const Stream::Handshake shaken = co_await stream.handshake(later(Loop::now(), floor_.world.times.handshake));
    SSL_set_app_data(stream.ssl(), nullptr);
    if (shaken != Stream::Handshake::done) {
        // The commonest cause is an application that does not trust our CA; nobody should have to guess. At most one line a second.
        const TimePoint now = Loop::now();
        if (shaken != Stream::Handshake::interrupted && now - floor_.complained > 1s) {
            floor_.complained = now;
            const char* why = ERR_reason_error_string(ERR_peek_last_error());
            floor_.world.telemetry->notice(Level::warning, "intercept_failed",
                                           {{"host", host}, {"error", shaken == Stream::Handshake::timed_out ? "timed out" : why ? why : "the application closed the connection"},
                                            {"hint", "does the application trust the CA? see `sluice env`"}});
        }
        co_return false;
    }
    if (!server_name.empty()) {
        std::string_view name = server_name;
        if (name.ends_with('.')) name.remove_suffix(1);
        inside.sni_differs = !same_text(name, host);
    }
    co_return true;
}

// An answer that went out early must not be lost to a reset because bytes of the request are still coming in (RFC 9112 9.6).
Task<void> Session::linger() {
    if (!channel_.open()) co_return;
    Stream& stream = channel_.stream();
    stream.end_writing();
    const TimePoint until = later(Loop::now(), linger_time);
    std::size_t thrown_away = 0;
    auto block = floor_.loop.blocks.take();
    while (channel_.open() && thrown_away < linger_bytes) {
        const Io io = stream.socket().read({block->bytes.get(), Block::size});
        if (io.kind == Io::Kind::some) {
            thrown_away += io.size;
            continue;
        }
        if (io.kind != Io::Kind::blocked) break;
        const Wait waited = co_await stream.readable(until);
        if (waited != Wait::ready) break;
    }
    block->wipe();   // it may have been requests, with what these log in with
    floor_.loop.blocks.give(std::move(block));
    channel_.close();
}

}  // namespace sluice
