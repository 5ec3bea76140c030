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
#include <boost/beast/http/empty_body.hpp>
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
#include "proxy/ports/task.hpp"

namespace sluice {

namespace {

namespace http = boost::beast::http;
using tcp = asio::ip::tcp;
using TcpSocket = asio::basic_stream_socket<tcp, Executor>;
using Timer =
    asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor>;
using Request = http::request<http::empty_body>;
using Response = http::response<http::string_body>;

constexpr std::size_t most_connections = 64;
constexpr std::uint32_t most_head = 16 * 1024;

// Asio's own coroutines: few requests come here, and Beast reads and writes them.
template <class T>
using Asynchronous = asio::awaitable<T, Executor>;
constexpr auto with_error = asio::as_tuple(asio::use_awaitable_t<Executor>{});

struct Page {
    std::string_view path;
    std::string_view type;
    bool on_metrics_door;
    bool acts = false;  // changes something: POST only, so that neither a link nor an image can
};
constexpr std::array pages = {
    Page{"/metrics", "text/plain; version=0.0.4; charset=utf-8", true},
    Page{"/live", "application/json", true},
    Page{"/ready", "application/json", true},
    Page{"/config", "application/json", false},
    Page{"/vendors", "application/json", false},
    Page{"/reload", "application/json", false, true},
};
constexpr Duration longest_action = 2min;  // a policy of 10,000 vendors on a busy machine is read in seconds

struct Answer {
    unsigned status = 200;
    std::string type = "application/json";
    std::string body;
    std::string allow;
    bool acts = false;  // what was asked for has still to be done, and will answer
};

Answer problem(unsigned status, std::string_view title, std::string_view detail, std::string_view reason = {}) {
    boost::json::object out{{"status", status}, {"title", title}, {"detail", detail}};
    if (!reason.empty()) out["reason"] = reason;
    return {status, "application/problem+json", boost::json::serialize(out) + '\n', {}};
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

/// Answers what one request asks; knows nothing of sockets.
class Desk {
  public:
    Desk(const AdminViews& views, Admin::Door door, const std::string& own_address)
        : views_(views), door_(door), own_address_(own_address) {}

    Answer answer(const Request& request) const {
        if (const auto refusal = judge_caller(request)) return *refusal;
        const std::string_view target(request.target().data(), request.target().size());
        const Page* asked = find(target.substr(0, target.find('?')));
        const bool reads = request.method() == http::verb::get || request.method() == http::verb::head;
        if (asked ? asked->acts != (request.method() == http::verb::post) || (!asked->acts && !reads) : !reads) {
            const bool acts = asked && asked->acts;
            Answer wrong = problem(405, "method not allowed",
                                   acts ? "this changes something: POST" : "admin is read with GET or HEAD");
            wrong.allow = acts ? "POST" : "GET, HEAD";
            return wrong;
        }
        return asked ? contents(*asked) : unknown();
    }

  private:
    /// "Who may call": a web page, even one whose name was pointed at this address, must not read admin. A name that is
    /// `localhost` or an address cannot be taken over by somebody else's DNS, so its port (which a forwarder may have
    /// changed) does not matter.
    std::optional<Answer> judge_caller(const Request& request) const {
        if (request.count(http::field::host) > 1) return problem(400, "bad request", "more than one Host");
        const auto host = request[http::field::host];
        if (door_ == Admin::Door::admin) {
            const Result<Authority> named = parse_authority(std::string_view(host.data(), host.size()), 80);
            if (!named || !(is_loopback(*named) || named->host == own_address_)) {
                return refused("the Host of the request is neither this listener's own address nor localhost");
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

    bool shows(const Page& page) const { return door_ == Admin::Door::admin || page.on_metrics_door; }

    const Page* find(std::string_view path) const {
        for (const Page& page : pages) {
            if (path == page.path && shows(page)) return &page;
        }
        return nullptr;
    }

    Answer unknown() const {
        std::string known;
        for (const Page& page : pages) {
            if (shows(page)) known += (known.empty() ? "" : " ") + std::string(page.path);
        }
        return problem(404, "no such page", "there is: " + known);
    }

    Answer contents(const Page& page) const {
        Answer answer;
        answer.type = page.type;
        answer.acts = page.acts;
        if (page.acts) return answer;
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
    if (error == http::error::end_of_stream || error == http::error::partial_message) return std::nullopt;
    if (error.category() == make_error_code(http::error::bad_method).category()) {
        return problem(400, "bad request", error.message());
    }
    return std::nullopt;
}

bool has_body(const http::request_parser<http::empty_body>& parser) {
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
    answer.status = waiting->answer->status;
    answer.body = std::move(waiting->answer->body);
}

Asynchronous<bool> serve_one(const AdminViews& views, Session& session) {
    session.watch();
    http::request_parser<http::empty_body> parser;
    parser.header_limit(most_head);
    const auto [error, size] = co_await http::async_read_header(session.socket, session.buffer, parser, with_error);
    std::optional<Answer> answer;
    if (error) {
        answer = answer_to(error);
        if (!answer) co_return false;
    } else if (has_body(parser)) {
        answer = problem(413, "no body is accepted", "admin is read with GET or HEAD, without a body");
    } else {
        answer = Desk(views, session.door, session.own_address).answer(parser.get());
        if (answer->acts) co_await act(views, session, *answer);
    }
    const bool keep_alive = !error && answer->status != 413 && parser.get().keep_alive();
    const Response response = written(*answer, parser.get(), keep_alive);
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
