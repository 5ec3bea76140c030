// Requests to vendors: a pooled connection or a new one (dialled, verified), the request sent while the response is received. One a worker.
#pragma once

#include "proxy/net/dial.hpp"
#include "proxy/wire/contexts.hpp"
#include "proxy/wire/pool.hpp"

namespace sluice {

class HttpTransport final : public Transport {
  public:
    HttpTransport(Loop& loop, Dialler& dialler, WorkerJournal& journal) : loop_(loop), dialler_(dialler), journal_(journal), pool_(journal) {}

    Task<Result<void>> round_trip(RoundTrip& trip) override;
    Task<Result<void>> open_stream(RoundTrip& trip) override;
    Task<void> finish(RoundTrip& trip) override;
    void abort(RoundTrip& trip) override;

    /// Those of the policy that is in force from now on: connections that none of its vendors is reached over are closed, at once or once their exchange has ended.
    void adopt(std::shared_ptr<const ClientContexts> contexts);
    /// Housekeeping of the pool, about once a second.
    void sweep(TimePoint now) { pool_.sweep(now); }
    void close_idle() { pool_.clear(); }

  private:
    using ConnectionPtr = std::unique_ptr<UpstreamConnection>;

    Task<Result<ConnectionPtr>> connect(RoundTrip& trip, const PoolKey& key, bool tls);
    Task<Result<void>> secure(RoundTrip& trip, UpstreamConnection& connection, TimePoint started);
    Task<Result<void>> send(RoundTrip& trip, UpstreamConnection& connection, const Chunk* held);
    Task<Result<void>> receive(RoundTrip& trip, UpstreamConnection& connection, TimePoint sent);
    Result<void> accept_head(RoundTrip& trip, UpstreamConnection& connection);
    void start_upload(RoundTrip& trip, UpstreamConnection& connection, Framing framing, std::optional<Chunk> held);
    Failure timed_out(const RoundTrip& trip, TimePoint now, Reason otherwise, std::string detail) const;
    void discard(ConnectionPtr connection, bool reset);

    Loop& loop_;
    Dialler& dialler_;
    std::shared_ptr<const ClientContexts> contexts_;
    WorkerJournal& journal_;
    Pool pool_;
    SslSessionStore sessions_;
    std::string scratch_;   // the head that is being written
};

/// New sessions of connections made with this context go to their connection's store.
void remember_sessions(SSL_CTX* context);

}  // namespace sluice
