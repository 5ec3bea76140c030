// Every virtual interface of the program, and the values that pass through them. What is not in this file is not virtual.
// The walk (proxy/exchange) reaches sockets, credentials and telemetry only through these; each is implemented on a higher floor, or beside it.
// All calls stay on the worker thread that owns the exchange.
#pragma once

#include <array>
#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/base/result.hpp"
#include "proxy/credentials/state.hpp"
#include "proxy/http/head.hpp"
#include "proxy/policy/vendor.hpp"
#include "proxy/ports/task.hpp"

namespace sluice {

/// A piece of a body. `data` stays valid until the next call to its source; it may be empty with `last`.
struct Chunk {
    std::string_view data;
    bool last = false;
    const Fields* trailers = nullptr;   // with `last`, where there are any
};

/// A body that is pulled, so that back-pressure is free.
struct BodySource {
    /// What is at hand without waiting; nothing: the sink should flush, then await `next`.
    virtual std::optional<Result<Chunk>> next_ready() = 0;
    /// Waits until something is at hand, until `deadline` (a Failure with timeout_idle), or until interrupted.
    virtual Task<Result<Chunk>> next(TimePoint deadline) = 0;
    /// Ends the wait of whoever is in `next`, with a Failure.
    virtual void interrupt() = 0;

  protected:
    ~BodySource() = default;
};

/// The worker's time, and its door for other threads.
struct Timer {
    /// Suspends until `wakeup` is notified, or `until` has come (late by up to a tick of the wheel, never early).
    virtual Task<Wait> wait(Wakeup& wakeup, TimePoint until) = 0;
    /// From any thread: runs `closure` on the worker's, soon.
    virtual void post(std::function<void()> closure) = 0;

  protected:
    ~Timer() = default;
};

/// What became of an exchange, in the word that header, metric and log share.
enum class Outcome : unsigned char { vendor, fallback, refused, failed };
std::string_view name_of(Outcome outcome);

/// How long each part took; a part that was not needed stays empty.
struct Phases {
    TimePoint started{};
    std::optional<Duration> dns, connect, tls, first_byte;   // of the last attempt
};

/// When what is under way has to end. A `never` total: only `idle` bounds it.
struct Limits {
    Timeouts timeout;
    TimePoint total = never;
};

/// Where bytes are counted; read when the exchange is recorded.
struct Traffic {
    std::uint64_t to_vendor = 0, from_vendor = 0;   // body bytes
};

/// Both directions of one exchange look here: a byte that moved in either keeps `idle` away from both.
struct Activity {
    TimePoint last{};
};

/// The application's side of an exchange: where answers go.
struct ReplySink {
    /// An interim answer (1xx but 101).
    virtual Task<Result<void>> inform(const ResponseHead& head) = 0;
    /// The answer: `head` as it should be written (hop-by-hop fields removed; framing is the sink's), and its body (null: none). After a Failure the connection cannot be used again.
    virtual Task<Result<void>> deliver(const ResponseHead& head, const Framing& framing, BodySource* body, const Limits& limits, Activity& activity) = 0;
    /// 101, or 200 to CONNECT: the head, then raw bytes both ways from here on. `body` is what comes back.
    virtual Task<Result<void>> deliver_stream(const ResponseHead& head, BodySource& body, const Limits& limits, Activity& activity) = 0;
    /// Has anything of the final answer been written?
    virtual bool began() const = 0;
    /// Is the worker stopping, or the application known to be gone? Then nothing is worth waiting for.
    virtual bool stopped() const = 0;
    /// When the application closed its side; it may still be there to read.
    virtual TimePoint left_at() const { return never; }

  protected:
    ~ReplySink() = default;
};

class ClientContexts;   // proxy/wire
struct ClientCertificate;   // certs

/// One try at one destination. Filled by `attempt`, carried out by a Transport.
struct RoundTrip {
    const Vendor* vendor = nullptr;
    const ClientContexts* contexts = nullptr;   // of the vendor's policy: how it is verified
    std::shared_ptr<const ClientCertificate> certificate;   // that a connection shows; null: the vendor's TLS rules say it
    Destination destination;
    const RequestHead* request = nullptr;   // as it goes upstream, but for framing and Host, which the transport writes
    Framing request_framing;
    BodySource* request_body = nullptr;     // null: none
    bool repeatable = false;                // may reach the vendor twice, its body permitting: as the walk says
    bool upgrade = false;                   // asks for a websocket: a 101 is welcome, `request_body` is raw and pulled only after it
    Limits limits;
    Duration delayed{};                     // of `first_byte`, before this: by chaos, as if the vendor had been slow
    Activity* activity = nullptr;
    ReplySink* application = nullptr;       // for interim answers ...
    const Needles* needles = nullptr;       // ... in which these are masked; null: none
    Phases* phases = nullptr;
    Traffic* traffic = nullptr;

    ResponseHead* response = nullptr;       // out
    Framing response_framing;               // out
    BodySource* response_body = nullptr;    // out; null: none
    bool upgraded = false;                  // out: 101 was accepted, `response_body` is raw
    void* connection = nullptr;             // the transport's own
};

/// Towards vendors.
struct Transport {
    /// Sends the request and receives the head of its final answer. A body that is not at hand at once goes on being sent while the answer is received.
    virtual Task<Result<void>> round_trip(RoundTrip& trip) = 0;
    /// A connection for raw bytes (a blind tunnel): dialled, no TLS of ours. `response_body` is what comes back; `request_body` goes out from here on.
    virtual Task<Result<void>> open_stream(RoundTrip& trip) = 0;
    /// Ends the trip, on every path: what can be used again goes back to the pool, everything else is closed. Nothing of the trip may be touched afterwards.
    virtual Task<void> finish(RoundTrip& trip) = 0;
    /// Wakes a trip that waits for its vendor, after its application has `stopped()`: it fails.
    virtual void abort(RoundTrip& trip) = 0;

  protected:
    ~Transport() = default;
};

/// Whoever waits for news of a credential. Leaves the desk's list by itself when it is told, or destroyed.
struct CredentialWait : boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
    Wakeup wakeup;
};

/// Where the credentials of one policy come from. Those that are read are there ahead of time; those that are fetched are renewed before they end, so that a request waits only for a first one, or
/// after an issuer was down.
struct CredentialDesk {
    /// As it stands, valid until the caller next suspends. It may have no attachment; an attachment that must not be used any more is not given out.
    virtual const std::shared_ptr<const CredentialState>& current(std::size_t credential) = 0;
    /// From now on `wait.wakeup` is notified with the next state of the credential, once. Somebody wants it: one that is fetched on demand is fetched now.
    virtual void wait_for(std::size_t credential, CredentialWait& wait) = 0;
    /// The vendor has refused what has this serial number. True: another one is being fetched, so that the next state is worth waiting for.
    virtual bool refused(std::size_t credential, std::uint64_t serial) = 0;
    /// Of one that has a previous secret too (`overlap`), as it stands: does the request that is about to go show that? `repeatable`: it can be sent again with the other one. It counts as shown.
    virtual bool shows_previous(std::size_t credential, bool repeatable) = 0;
    /// The vendor refused, or took, that one of its two secrets, as they were under this serial number: what it says holds for all workers.
    virtual void secret_refused(std::size_t credential, std::uint64_t serial, bool previous, bool repeatable) = 0;
    virtual void secret_taken(std::size_t credential, std::uint64_t serial, bool previous) = 0;

  protected:
    ~CredentialDesk() = default;
};

/// Everything that telemetry is told of an exchange; views are valid during the call only.
struct ExchangeRecord {
    const Vendor* vendor = nullptr;            // that the application named; null: before any could be told (a bad head, a foreign host): `_other`
    const Vendor* serving = nullptr;           // whose endpoints were used last: `vendor`, or who stood in for it
    const Route* route = nullptr;
    std::string_view request_id;
    std::string_view method;
    std::string_view authority;                // as judged; a host that no policy names is logged, never a metric label
    std::string_view path;                     // without the query
    std::string_view listener;                 // "proxy", "base_url", "unix"
    std::string_view client;                   // the application, where the policy has clients; "": none that is known
    unsigned status = 0;                       // as the application saw it; 0: it saw none
    Outcome outcome = Outcome::vendor;
    std::optional<Reason> reason;
    std::string_view detail;                   // of a refusal or failure; never a secret
    unsigned attempts = 0;
    bool application_gone = false;
    bool tunnel = false;
    bool reported = false;                     // let through by `unmatched: report`
    Phases phases;
    Duration duration{};
    Traffic traffic;                           // with `serving`
    std::uint64_t scrubbed = 0;                // secrets that were masked in the answer, of `serving`
};

/// Metrics and log: exactly one record an exchange, on every path. What the application asked for is told of the vendor that it named; what was done with a vendor, of that one: also where it stood in.
struct Journal {
    virtual void began(const Vendor& vendor) = 0;                 // `inflight`
    virtual void ended(const Vendor& vendor) = 0;
    virtual void attempted(const Vendor& vendor, std::string_view endpoint, std::string_view result, std::optional<Duration> first_byte) = 0;   // as its breaker is named, "" where it has none; "ok", "failed" or "throttled" (an answer that says so), "abandoned" (nobody waited for it any more) or a reason; from the request being sent to the head of the answer, where there was one
    virtual void carried(const Vendor& vendor, const Traffic& traffic) = 0;   // with a vendor that another one now stands in for
    virtual void waited(const Vendor& vendor, Duration time) = 0;   // for a place under a limit, got or not: `limit_wait_seconds`
    virtual void moved(const Vendor& vendor, std::string_view endpoint, Breaker::State to) = 0;   // a breaker, by itself
    virtual void used_tokens(const Vendor& vendor, std::uint64_t prompt, std::uint64_t completion) = 0;   // as an answer's usage says
    virtual void injected(const Vendor& vendor, std::string_view fault) = 0;   // on purpose; as written
    virtual void chaos_stopped(const Vendor& vendor) = 0;                      // by itself
    virtual void record(const ExchangeRecord& record) = 0;

  protected:
    ~Journal() = default;
};

}  // namespace sluice
