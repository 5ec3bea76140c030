// One application's connection, from its first byte to its last: reads requests, tells proxy, CONNECT and base-URL mode apart, judges that all names agree, and sends each request on its walk. A session is one detached coroutine on one worker.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <vector>

#include "certs/leaf.hpp"
#include "proxy/exchange/run_exchange.hpp"
#include "proxy/serve/worker.hpp"
#include "proxy/wire/h1_reply.hpp"

namespace sluice {

class Session;

/// What the sessions of one worker share.
struct Floor {
    World& world;
    Loop& loop;
    Core& core;
    LeafCache& leaves;
    WorkerJournal& journal;
    std::vector<std::unique_ptr<Exchange>> spare_exchanges;   // LIFO
    std::list<Session*> sessions;
    TimePoint complained{};   // when a failed handshake was last logged
    TimePoint doubted{};      // when a client's password was last asked for because another one was shown
    Deadline flush_log{[](void* floor) { static_cast<Floor*>(floor)->journal.flush(); }, this};

    std::unique_ptr<Exchange> take_exchange();
    void give_exchange(std::unique_ptr<Exchange> exchange);
};

class Session {
  public:
    Session(Floor& floor, Socket socket, Entrance entrance);
    ~Session();

    /// Serves until the connection ends. Never throws.
    Task<void> run();

    /// The worker drains: closes now if nothing is under way.
    void close_if_idle();
    /// Ends whatever is under way: cut off, or answered 503 `draining` where it only waits for its turn.
    void abort();
    /// About once a second: an idle connection gives its buffers back; an application that has hung up while its vendor thinks need not be waited for.
    void tidy();

  private:
    // What a CONNECT has settled for all requests inside it.
    struct Inside {
        Authority authority;
        Scheme scheme = Scheme::https;
        bool sni_differs = false;
        std::string client;   // that opened it by password; "": none did
    };
    enum class Next : unsigned char { request, close, close_gently, reset };

    Task<Next> serve_one();
    Task<Next> answer(Exchange& ex);
    Task<Next> connect(Exchange& ex);
    Task<Next> challenge(Exchange& ex);
    Task<Next> enter(Exchange& ex);
    Task<bool> intercept(Inside& inside);
    std::optional<Refusal> identify(Exchange& ex);
    Refusal refuse(const Exchange& ex, Caller caller);
    void attribute(Exchange& ex, bool stranger);
    bool names_us(const Authority& authority);
    bool foreign_origin(std::string_view origin);
    std::string our_address();
    std::optional<Refusal> address(Exchange& ex);
    std::optional<Refusal> address_inside(Exchange& ex, const Target& target);
    std::optional<Refusal> address_base_url(Exchange& ex, std::string_view rest);
    void prepare_body(Exchange& ex);
    Task<void> linger();
    void look_for_hang_up();

    Floor& floor_;
    Entrance entrance_;
    std::optional<std::uint32_t> uid_;   // behind a socket file
    bool by_password_ = false;   // the latest request's client is known so
    H1Channel channel_{Origin::application};
    bool stopped_ = false;
    H1Reply reply_{channel_, floor_.core.draining, stopped_};
    std::unique_ptr<Inside> inside_;
    Exchange* current_ = nullptr;
    bool idle_ = true;
    bool rested_ = false;   // has been idle since the last tidying
    unsigned requests_ = 0;
    bool fresh_ = true;   // no request was read yet
    TimePoint owed_until_;   // a drain waits until then for a first request: of a new connection, or inside a CONNECT that was answered
    std::optional<std::optional<IpAddress>> reached_at_;   // by the application, once it was asked for; nothing: through a socket file
    std::list<Session*>::iterator place_;
};

}  // namespace sluice
