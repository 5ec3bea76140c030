// What is counted, and how it is told to Prometheus. Nothing is shared between workers: each has a WorkerMeters whose
// numbers only its own thread writes, and a scrape sums over the workers. So counting neither locks nor builds labels,
// and it costs no more with many workers than with one.
//
// Labels, where they are not plain: `vendor` is a name of the policy or `_other`; `endpoint` is the endpoint without
// its scheme, or the entry of `hosts`, or `_other`; `route` is the route's name or `_none`; `method` is a registered
// one or
// `_other`; `code` is what the application saw, 100 to 599, `_none` where it saw nothing, `_other` for a status that is
// none; `direction` is `to_vendor` or `from_vendor`, of tokens `prompt` or `completion`; `result` is `ok`, `failed` (an
// answer that its breaker counts as a failure, or whose status `retry.on` names), `throttled` (one that says too fast or
// too much: 429, 529, gRPC's RESOURCE_EXHAUSTED), `abandoned` or a reason.
//
// Where a vendor stands in for another one, `vendor` is the one that the application named in what is counted of requests
// (`requests_total`, `request_duration_seconds`, `rejected_total`, `inflight`), and the one it was done with in all the
// rest: attempts, the time to the first byte, bytes, tokens, waits for its limits, secrets that were masked.
//
// `rejected_total` counts every exchange that has a reason, failures too: `requests_total` tells by its `outcome` which
// of the two it was. An exchange that did not end yet is in `inflight` only. What is alive: live_families.
//
// So the number of series is bounded whatever applications and vendors send, and one vendor has at most
// `WorkerMeters::max_request_series` mixes of route, method, code and outcome a worker. A vendor that was never used
// costs one pointer a worker.
//
// What is counted belongs to a name, not to a policy: a vendor that stays goes on counting through every reload, and so
// does a route of its. One that left is told of until nothing of it is under way.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "config/config.hpp"
#include "proxy/ports/ports.hpp"

namespace sluice {

/// A number that one thread writes and any thread reads: never torn, and no locked instruction.
template <class Number>
class Cell {
  public:
    void add(Number by) { value_.store(get() + by, std::memory_order_relaxed); }
    Number get() const { return value_.load(std::memory_order_relaxed); }

  private:
    std::atomic<Number> value_{0};
};

/// A list that one thread extends and any thread reads. Nothing leaves it.
template <class Node>
class Chain {
  public:
    Chain() = default;
    Chain(const Chain&) = delete;
    Chain& operator=(const Chain&) = delete;
    ~Chain() {
        for (Node* node = head_.load(); node != nullptr;) delete std::exchange(node, node->next);
    }

    Node& add(std::unique_ptr<Node> node) {
        node->next = head_.load(std::memory_order_relaxed);
        head_.store(node.get(), std::memory_order_release);
        return *node.release();
    }
    const Node* first() const { return head_.load(std::memory_order_acquire); }
    Node* first() { return head_.load(std::memory_order_relaxed); }

  private:
    std::atomic<Node*> head_{nullptr};
};

/// Times in buckets up to 300 s.
class TimeHistogram {
  public:
    static constexpr std::array<Duration, 17> bounds{1ms, 2500us, 5ms, 10ms, 25ms, 50ms, 100ms, 250ms, 500ms,
                                                     1s,  2500ms, 5s,  10s,  30s,  60s,  120s,  300s};

    void observe(Duration time);

    std::array<Cell<std::uint64_t>, bounds.size() + 1> counts;  // not cumulative; the last is above every bound
    Cell<std::uint64_t> nanoseconds;                            // all together
};

/// One vendor's numbers on one worker.
struct VendorMeters {
    struct Requests {
        std::uint64_t key;  // RequestKey, packed
        Cell<std::uint64_t> count;
        Requests* next = nullptr;
    };
    struct Durations {
        std::size_t route;  // Route::series; 0 for none
        TimeHistogram histogram;
        Durations* next = nullptr;
    };
    struct Endpoint {
        std::string name;
        std::array<Cell<std::uint64_t>, reason_count + 5> by_result;  // ok, the reasons, `_other`, abandoned, failed, throttled
        std::array<Cell<std::uint64_t>, 3> moved_to;                  // by Breaker::State
        Endpoint* next = nullptr;
    };
    struct Fault {
        std::string name;  // as written
        Cell<std::uint64_t> injected;
        Fault* next = nullptr;
    };

    Cell<std::int64_t> inflight, active, idle;
    Cell<std::uint64_t> handshakes_full, handshakes_resumed, to_vendor, from_vendor, prompt_tokens, completion_tokens,
        scrubbed;
    std::array<Cell<std::uint64_t>, reason_count> rejected;
    TimeHistogram first_byte, wait;
    Chain<Requests> requests;
    Chain<Durations> durations;
    Chain<Endpoint> endpoints;
    Chain<Fault> faults;

    // How the writing thread finds its way into the chains; no other thread looks here.
    struct TextHash {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
    };
    std::unordered_map<std::uint64_t, Requests*> request_by_key;
    Requests* last_request = nullptr;  // most exchanges of a vendor are like the one before
    std::vector<Durations*> duration_by_route;
    template <class Node>
    using ByName = std::unordered_map<std::string, Node*, TextHash, std::equal_to<>>;
    ByName<Endpoint> endpoint_by_name;
    ByName<Fault> fault_by_name;
};

/// One vendor's numbers on all workers, under its name. Held by each policy that has the vendor and by each connection
/// to it; gone with the last of them.
struct VendorSeries {
    static constexpr std::size_t no_route = 0, other_route = 1;
    static constexpr std::size_t max_routes = 4096;  // names that are told apart, of all policies together

    VendorSeries(std::string vendor, std::size_t workers);
    ~VendorSeries();
    /// Is an exchange or a connection of it there? Any thread.
    bool busy() const;

    const std::string name;
    std::vector<std::string> routes{"_none", "_other"};  // by Route::series; Metrics' mutex guards it
    std::unordered_map<std::string, std::size_t> route_by_name;
    std::vector<std::atomic<VendorMeters*>> parts;  // owned; by worker
};

/// One worker's numbers. Written on the worker's thread only; read by any.
class WorkerMeters {
  public:
    static constexpr std::size_t max_request_series =
        1024;  // of one vendor; more are folded into method and code `_other`
    static constexpr std::size_t max_names =
        256;  // of one vendor's endpoints, of all policies together; likewise faults

    WorkerMeters(std::size_t worker, VendorSeries& other) : worker_(worker), other_(other) {}

    void began(const Vendor& vendor) { of(vendor.series.get()).inflight.add(1); }
    void ended(const Vendor& vendor) { of(vendor.series.get()).inflight.add(-1); }
    void attempted(const Vendor& vendor, std::string_view endpoint, std::string_view result,
                   std::optional<Duration> first_byte);
    void carried(const Vendor& vendor, const Traffic& traffic);
    void record(const ExchangeRecord& record);
    void waited(const Vendor& vendor, Duration time) { of(vendor.series.get()).wait.observe(time); }
    void moved(const Vendor& vendor, std::string_view endpoint, Breaker::State to);
    void used_tokens(const Vendor& vendor, std::uint64_t prompt, std::uint64_t completion);
    void injected(const Vendor& vendor, std::string_view fault);
    void connections_moved(VendorSeries* vendor, int active, int idle);
    void handshaken(const Vendor& vendor, bool resumed);

  private:
    /// nullptr: `_other`.
    VendorMeters& of(VendorSeries* vendor);
    VendorMeters::Requests& requests_of(VendorMeters& meters, std::size_t route, const ExchangeRecord& record);
    VendorMeters::Endpoint& endpoint_of(const Vendor& vendor, std::string_view endpoint);

    std::size_t worker_;
    VendorSeries& other_;
};

/// All workers' numbers.
class Metrics {
  public:
    /// `workers`: how many will be added at most.
    explicit Metrics(std::size_t workers);

    /// Gives every vendor and route of a policy the series of its name, and makes these vendors the ones that are told
    /// of. Before the first exchange under the policy begins. Any thread.
    void enrol(Config& config);
    /// A policy was loaded at `now`, or could not be. Any thread.
    void loaded(bool successful, WallTime now);

    /// A new worker's meters. They stay, and go on counting in every scrape, when the worker is gone: a counter never
    /// falls.
    WorkerMeters& add_worker();
    /// An operator moved a breaker. Any thread.
    void moved(const Vendor& vendor, std::string_view endpoint, Breaker::State to);
    /// The Prometheus text format, 0.0.4. Any thread.
    std::string scrape(std::uint64_t log_lines_dropped, TimePoint now) const;

  private:
    using Series = std::shared_ptr<VendorSeries>;
    struct Told {
        Series series;
        std::shared_ptr<const VendorState> live;  // null of one that departed
    };
    Series series_of(const std::string& name);

    const std::size_t most_workers_;
    const Series other_;
    mutable std::mutex mutex_;  // of everything below; never taken by a worker that counts
    WorkerMeters operator_;     // what is done by hand
    std::vector<std::unique_ptr<WorkerMeters>> workers_;
    std::shared_ptr<const VendorState> other_live_;
    std::vector<Told> vendors_;  // of the policy in force, in its order
    std::unordered_map<std::string, Series> by_name_;
    std::vector<std::weak_ptr<VendorSeries>> departed_;
    bool last_load_successful_ = true;
    WallTime loaded_at_{};
};

}  // namespace sluice
