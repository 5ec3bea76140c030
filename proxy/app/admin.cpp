#include "proxy/app/admin.hpp"

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <list>
#include <optional>

#include "proxy/base/time.hpp"
#include "proxy/http/authority.hpp"
#include "proxy/policy/address_guard.hpp"
#include "proxy/ports/asio.hpp"

namespace sluice {

namespace {

namespace http = boost::beast::http;
using tcp = asio::ip::tcp;
using TcpSocket = asio::basic_stream_socket<tcp, Executor>;
using Timer =
    asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor>;
using Parser = http::request_parser<http::string_body>;
using Request = http::request<http::string_body>;
using Response = http::response<http::string_body>;

constexpr std::size_t most_connections = 64;
constexpr std::uint32_t most_head = 16 * 1024;
constexpr std::uint64_t most_body = 4 * 1024;

// Asio's own coroutines: few requests come here, and Beast reads and writes them.
template <class T>
using Asynchronous = asio::awaitable<T, Executor>;
constexpr auto with_error = asio::as_tuple(asio::use_awaitable_t<Executor>{});

enum class Does : unsigned char {
    read,   // GET and HEAD
    act,    // changes something: POST only, so that neither a link nor an image can
    either  // shows it, and changes it with POST
};
struct Page {
    std::string_view path;  // "*": a vendor's name
    std::string_view type;
    bool on_metrics_door;
    Does does = Does::read;
};
constexpr Page breaker_page{"/vendors/*/breaker", "application/json", false, Does::either};
constexpr std::array pages = {
    Page{"/metrics", "text/plain; version=0.0.4; charset=utf-8", true},
    Page{"/live", "application/json", true},
    Page{"/ready", "application/json", true},
    Page{"/config", "application/json", false},
    Page{"/vendors", "application/json", false},
    breaker_page,
    Page{"/reload", "application/json", false, Does::act},
};
constexpr Duration longest_action = 2min;  // a policy of 10,000 vendors on a busy machine is read in seconds

struct Answer : AdminAnswer {
    std::string_view allow{};
    bool acts = false;  // what was asked for has still to be done, and will answer
};

Answer problem(unsigned status, std::string_view title, std::string_view detail, std::string_view reason = {}) {
    return {admin_problem(status, title, detail, reason)};
}

Answer refused(std::string_view detail) {
    return problem(403, "admin does not answer this caller", detail, "not_allowed");
}

bool is_loopback(const Authority& authority) {
    if (authority.host == "localhost") return true;
    const auto address = authority.is_address ? parse_address(authority.host) : std::nullopt;
    if (!address) return false;
    if (address->v6) return address->text() == "::1";
    return address->bytes[0] == 127;
}

std::string_view text_of(boost::beast::string_view text) {
    return {text.data(), text.size()};
}

/// Absolute-form, as through a proxy, is a server's to understand too (RFC 9112 3.2.2): where its authority ends.
std::size_t end_of_authority(std::string_view target) {
    constexpr std::string_view http = "http://";
    if (!boost::beast::iequals(target.substr(0, http.size()), http)) return 0;
    return std::min(target.find_first_of("/?", http.size()), target.size());
}
std::string_view authority_in(std::string_view target) {
    const std::size_t end = end_of_authority(target);
    return target.substr(0, end).substr(target.find("//") + 2);
}
/// "" is the path of a URL that ends with its authority: no page of ours.
std::string_view local_part(std::string_view target) {
    return target.substr(end_of_authority(target));
}

/// What was asked for, and of whom.
struct Asked {
    const Page* page = nullptr;
    std::string_view vendor;
    std::string_view query;

    bool is_order(const Request& request) const {
        return page && page->path == breaker_page.path && request.method() == http::verb::post;
    }
};

/// Answers what one request asks; knows nothing of sockets.
class Desk {
  public:
    Desk(const AdminViews& views, Admin::Door door, const std::string& own_address)
        : views_(views), door_(door), own_address_(own_address) {}

    bool takes_body(const Request& request) const { return find(local_part(text_of(request.target()))).is_order(request); }

    Answer answer(const Request& request) const {
        if (const auto refusal = judge_caller(request)) return *refusal;
        const Asked asked = find(local_part(text_of(request.target())));
        const bool reads = request.method() == http::verb::get || request.method() == http::verb::head;
        const bool acts = request.method() == http::verb::post;
        const Does does = asked.page ? asked.page->does : Does::read;
        if (does == Does::act ? !acts : !reads && !(acts && does == Does::either)) return wrong_method(does);
        if (!asked.page) return unknown();
        return asked.is_order(request) ? order(asked, request) : contents(asked);
    }

  private:
    /// "Who may call": a web page, even one whose name was pointed at this address, must not read admin. A name that is
    /// `localhost` or an address cannot be taken over by somebody else's DNS, so its port (which a forwarder may have
    /// changed) does not matter.
    std::optional<Answer> judge_caller(const Request& request) const {
        if (request.count(http::field::host) > 1) return problem(400, "bad request", "more than one Host");
        const auto host = request[http::field::host];
        if (door_ == Admin::Door::admin) {
            if (!is_own(parse_authority(text_of(host), default_port(Scheme::http)))) {
                return refused("the Host of the request is neither this listener's own address nor localhost");
            }
            const std::string_view target = text_of(request.target());
            if (local_part(target).size() < target.size() && !is_own(parse_authority(authority_in(target), default_port(Scheme::http)))) {
                return refused("the URL of the request names neither this listener's own address nor localhost");
            }
        }
        for (const auto& field : request) {  // each of them: who sends two may be read by either
            const auto value = field.value();
            if (boost::beast::iequals(field.name_string(), "Sec-Fetch-Site") &&
                !boost::beast::iequals(value, "same-origin") && !boost::beast::iequals(value, "none")) {
                return refused("a web page of another site asked");
            }
            const bool ours = value.starts_with("http://") && value.substr(7) == host;
            if (field.name() == http::field::origin && !ours) return refused("a web page of another origin asked");
        }
        return std::nullopt;
    }

    bool is_own(const Result<Authority>& named) const {
        return named && (is_loopback(*named) || named->host == own_address_);
    }

    bool shows(const Page& page) const { return door_ == Admin::Door::admin || page.on_metrics_door; }

    Asked find(std::string_view target) const {
        const std::size_t end = std::min(target.find('?'), target.size());
        const std::string_view path = target.substr(0, end);
        Asked asked{nullptr, {}, target.substr(std::min(end + 1, target.size()))};
        for (const Page& page : pages) {
            if (!shows(page)) continue;
            const std::size_t star = std::min(page.path.find('*'), page.path.size());
            const std::string_view before = page.path.substr(0, star);
            const std::string_view after = page.path.substr(std::min(star + 1, page.path.size()));
            const bool fits = star == page.path.size() ? path == before
                                                       : path.size() > before.size() + after.size() &&
                                                             path.starts_with(before) && path.ends_with(after);
            if (!fits) continue;
            asked.page = &page;
            asked.vendor = path.substr(before.size(), path.size() - before.size() - after.size());
            break;
        }
        return asked;
    }

    static Answer wrong_method(Does does) {
        Answer wrong = problem(405, "method not allowed",
                               does == Does::read ? "admin is read with GET or HEAD" : "this changes something: POST");
        switch (does) {
        case Does::read: wrong.allow = "GET, HEAD"; break;
        case Does::act: wrong.allow = "POST"; break;
        case Does::either: wrong.allow = "GET, HEAD, POST"; break;
        }
        return wrong;
    }

    Answer unknown() const {
        std::string known;
        for (const Page& page : pages) {
            if (shows(page)) known += (known.empty() ? "" : " ") + std::string(page.path);
        }
        return problem(404, "no such page", "there is: " + known);
    }

    Answer order(const Asked& asked, const Request& request) const {
        const auto read = read_breaker_order(asked.query, text_of(request[http::field::content_type]), request.body());
        if (const auto* wrong = std::get_if<AdminAnswer>(&read)) return {*wrong};
        return {views_.force_breakers(asked.vendor, std::get<BreakerOrder>(read))};
    }

    Answer contents(const Asked& asked) const {
        const Page& page = *asked.page;
        if (page.path == breaker_page.path) return {views_.breakers(asked.vendor)};
        Answer answer;
        answer.type = page.type;
        answer.acts = page.does == Does::act;
        if (answer.acts) return answer;
        if (page.path == "/metrics") {
            answer.body = views_.metrics();
        } else if (page.path == "/config") {
            answer.body = views_.config();
        } else if (page.path == "/vendors") {
            answer.body = views_.vendors();
        } else if (page.path == "/live") {
            answer.body = "{\"live\":true}\n";
        } else {
            const std::vector<std::string> reasons = views_.waiting_for();
            boost::json::object out{{"ready", reasons.empty()}};
            if (!reasons.empty()) out["waiting_for"] = boost::json::array(reasons.begin(), reasons.end());
            answer.status = reasons.empty() ? 200 : 503;
            answer.body = boost::json::serialize(out) + '\n';
        }
        return answer;
    }

    const AdminViews& views_;
    Admin::Door door_;
    const std::string& own_address_;
};

Response written(const Answer& answer, const Request& request, bool keep_alive) {
    Response response(static_cast<http::status>(answer.status), 11);
    response.set(http::field::content_type, answer.type);
    response.set(http::field::cache_control, "no-store");
    response.set("X-Content-Type-Options", "nosniff");
    if (!answer.allow.empty()) response.set(http::field::allow, answer.allow);
    response.keep_alive(keep_alive);
    response.content_length(answer.body.size());
    if (request.method() != http::verb::head) response.body() = answer.body;
    return response;
}

/// One connection. Closed by its timer when either side is too slow.
struct Session : std::enable_shared_from_this<Session> {
    Session(asio::io_context& io, TcpSocket connected, Admin::Door by, Duration patient)
        : socket(std::move(connected)), timer(io.get_executor()), door(by), patience(patient) {
        boost::system::error_code error;
        const asio::ip::address own = socket.local_endpoint(error).address();
        own_address = own.is_v6() && own.to_v6().is_v4_mapped()
                          ? asio::ip::make_address_v4(asio::ip::v4_mapped, own.to_v6()).to_string()
                          : own.to_string();
    }

    void close() {
        boost::system::error_code error;
        timer.cancel();
        socket.close(error);
    }

    /// From now on `patience`.
    void watch() {
        timer.expires_after(patience);
        timer.async_wait([weak = weak_from_this()](boost::system::error_code error) {
            const auto overdue = weak.lock();
            if (!error && overdue) overdue->close();
        });
    }

    TcpSocket socket;
    Timer timer;
    Admin::Door door;
    Duration patience;
    std::string own_address;
    boost::beast::flat_buffer buffer{most_head + 1024};
};

/// What there is to say of a head that could not be read; nothing: nobody is left to be told.
std::optional<Answer> answer_to(boost::system::error_code error) {
    if (error == http::error::header_limit || error == http::error::buffer_overflow) {
        return problem(431, "the head of the request is too large", "admin reads heads of at most 16 KiB");
    }
    if (error == http::error::body_limit) {
        return problem(413, "the body is too large", "admin reads bodies of at most 4 KiB, where it takes one");
    }
    if (error == http::error::end_of_stream || error == http::error::partial_message) return std::nullopt;
    if (error.category() == make_error_code(http::error::bad_method).category()) {
        return problem(400, "bad request", error.message());
    }
    return std::nullopt;
}

bool has_body(const Parser& parser) {
    const auto length = parser.content_length();
    return parser.chunked() || parser.get().count(http::field::transfer_encoding) || (length && *length > 0);
}

// What the coroutines below take is named and outlives them: g++ 12 destroys some temporaries of a co_await twice.
Asynchronous<bool> send(Session& session, const Response& response) {
    session.watch();
    const auto [error, size] = co_await http::async_write(session.socket, response, with_error);
    co_return !error && response.keep_alive();
}

/// Reloads, and waits for what comes of it.
Asynchronous<void> act(const AdminViews& views, Session& session, Answer& answer) {
    struct Waiting {
        explicit Waiting(const Executor& executor) : timer(executor) {}
        Timer timer;
        std::optional<AdminAnswer> answer;
    };
    session.timer.cancel();
    const Executor executor = session.timer.get_executor();
    const auto waiting = std::make_shared<Waiting>(executor);
    waiting->timer.expires_after(longest_action);
    views.reload([waiting, executor](AdminAnswer done) {
        asio::post(executor, [waiting, done = std::move(done)]() mutable {
            waiting->answer = std::move(done);
            waiting->timer.cancel();
        });
    });
    const auto waited = co_await waiting->timer.async_wait(with_error);
    static_cast<void>(waited);  // by the answer or by time
    if (!waiting->answer) {
        answer = problem(504, "it takes too long", "the log will say what comes of it");
        co_return;
    }
    static_cast<AdminAnswer&>(answer) = std::move(*waiting->answer);
}

/// The body, where one is taken. An answer: it is not.
Asynchronous<std::optional<Answer>> take_body(Session& session, Parser& parser, bool wanted) {
    if (!has_body(parser)) co_return std::nullopt;
    if (!wanted) co_return problem(413, "no body is accepted", "nothing here takes one but an order about a breaker");
    if (!parser.content_length() || parser.get().count(http::field::transfer_encoding))
        co_return problem(411, "length required", "send the body with a Content-Length");
    const auto [error, size] = co_await http::async_read(session.socket, session.buffer, parser, with_error);
    if (error) co_return problem(400, "bad request", "the body did not come whole");
    co_return std::nullopt;
}

Asynchronous<bool> serve_one(const AdminViews& views, Session& session) {
    session.watch();
    Parser parser;
    parser.header_limit(most_head);
    parser.body_limit(most_body);
    const auto [error, size] = co_await http::async_read_header(session.socket, session.buffer, parser, with_error);
    std::optional<Answer> answer;
    bool unread = true;  // what comes next is not the head of a request
    if (error) {
        answer = answer_to(error);
        if (!answer) co_return false;
    } else {
        const Desk desk(views, session.door, session.own_address);
        answer = co_await take_body(session, parser, desk.takes_body(parser.get()));
        unread = answer.has_value();
        if (!answer) answer = desk.answer(parser.get());
        if (answer->acts) co_await act(views, session, *answer);
    }
    const Response response = written(*answer, parser.get(), !unread && parser.get().keep_alive());
    co_return co_await send(session, response);
}

/// Takes in what the caller is still sending (a body that was refused): closing over it would reset the connection, and
/// the answer would be lost.
Asynchronous<void> linger(Session& session) {
    boost::system::error_code shut;
    session.socket.shutdown(tcp::socket::shutdown_send, shut);
    std::array<char, 4096> dropped;
    const auto room = asio::buffer(dropped);
    for (int reads = 0; !shut && reads < 64; ++reads) {
        const auto [error, size] = co_await session.socket.async_read_some(room, with_error);
        if (error) co_return;
    }
}

}  // namespace

struct Admin::Impl {
    Impl(asio::io_context& loop, AdminViews shown, Duration patient)
        : io(loop), views(std::move(shown)), patience(patient) {}

    static Asynchronous<void> serve(std::shared_ptr<Impl> impl, std::shared_ptr<Session> session) {
        const auto place = impl->sessions.insert(impl->sessions.end(), session);
        try {
            while (co_await serve_one(impl->views, *session)) {
            }
        } catch (const std::exception&) {
            // A view that fails (out of memory) costs its caller the connection, and nobody else anything.
        }
        co_await linger(*session);
        session->close();
        impl->sessions.erase(place);
    }

    asio::io_context& io;
    AdminViews views;
    Duration patience;
    std::list<std::shared_ptr<Session>> sessions;
};

Admin::Admin(asio::io_context& io, AdminViews views, Duration patience)
    : impl_(std::make_shared<Impl>(io, std::move(views), patience)) {}
Admin::~Admin() {
    close();
}

void Admin::adopt(int fd, Door door) {
    TcpSocket socket(impl_->io.get_executor());
    boost::system::error_code error;
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    const bool v6 = ::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size) == 0 && bound.ss_family == AF_INET6;
    socket.assign(v6 ? tcp::v6() : tcp::v4(), fd, error);
    if (error) {
        ::close(fd);
        return;
    }
    if (impl_->sessions.size() >= most_connections) return;  // the socket closes itself
    auto session = std::make_shared<Session>(impl_->io, std::move(socket), door, impl_->patience);
    asio::co_spawn(impl_->io, Impl::serve(impl_, std::move(session)), asio::detached);
}

void Admin::close() {
    for (const auto& session : impl_->sessions) session->close();
}

std::size_t Admin::connections() const {
    return impl_->sessions.size();
}

}  // namespace sluice
