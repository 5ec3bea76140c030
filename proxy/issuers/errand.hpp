// One fetch of one credential: what an issuer may use to get it. HTTP goes through the program's own client (`Transport`): verified TLS, the address guard, deadlines; never through a proxy, so never through
// ourselves. Files and variables are read when they are asked for: a projected token is another one each hour. On the issuers' thread.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/config.hpp"
#include "proxy/ports/ports.hpp"

namespace sluice {

/// What issuers call, and what a call is bounded by beside the credential's `timeout`.
struct IssuerRequest {
    std::string method = "GET";
    Url url;                // `prefix`: path and query as they are sent
    Fields fields;          // Host and framing are the client's
    Secret body;            // with its Content-Type among the fields
    bool has_body = false;  // even an empty one
    Duration patience{};    // its answer is waited for so long, whatever `timeout` says, and the errand's deadline; 0: it is not

    /// Shows the token (RFC 6750 2.1).
    void bear(const Secret& token);
};
struct IssuerReply {
    unsigned status = 0;
    Fields fields;
    Secret body;            // at most 1 MiB
};

/// What is kept of one credential from fetch to fetch: a session with its issuer, a lease, the latest refresh token. Wiped with the credential.
struct IssuerMemory {
    struct Kept {
        Secret value;
        TimePoint until = never;
    };
    std::map<std::string, Kept, std::less<>> kept;
    std::optional<Minted> minted;   // of a lease that may be renewed

    /// Null: there is none, or it is over.
    const Secret* find(std::string_view what, TimePoint now) const;
    void keep(std::string_view what, Secret value, TimePoint until = never) { kept.insert_or_assign(std::string(what), Kept{std::move(value), until}); }
    void forget(std::string_view what);
};

/// What one errand has read of Vault: two values of one path are of one reading, since of what is made to order (a database's user) each reading is another one.
struct VaultReadings {
    std::map<std::string, Secret, std::less<>> answers;   // by login and path
    std::optional<Duration> lifetime;                     // of what ends first, from now
    std::optional<Duration> renew_after;                  // of what should be read again first
    unsigned depth = 0;                                   // logins that need another login's secret
};

/// Threads for what may block: a program that is run. Its destructor waits until the last has ended.
class AsideThreads {
  public:
    AsideThreads() = default;
    AsideThreads(const AsideThreads&) = delete;
    ~AsideThreads();

    /// `work` is to look at `stopping` now and then, and to end soon once it is set.
    void run(std::function<void(const std::atomic<bool>& stopping)> work);
    /// For good: whatever runs is to end.
    void stop() { stopping_ = true; }

  private:
    std::atomic<bool> stopping_{false};
    std::mutex mutex_;
    std::condition_variable ended_;
    std::size_t running_ = 0;
};

class RefreshFlights;   // refresh_flight.hpp

/// What all errands of a thread use.
struct IssuerTools {
    Timer& timer;
    Transport& transport;
    RefreshFlights& flights;
    std::string state;   // the directory; "" for none
    AsideThreads aside = {};
};

inline constexpr Duration errand_time = 20s;   // for all calls of one fetch together; each has its own `timeout`

/// One call of an errand, for people who ask how it went.
struct IssuerCall {
    std::string method, where;      // "POST", "https://auth.example/token"
    unsigned status = 0;            // 0: no answer
    std::optional<Reason> reason;   // why there was none
    Phases phases;                  // of a connection that was there already only `first_byte`
    Duration took{};
};

/// A file that keys came from, as it was then.
struct WatchedFile {
    std::string path;
    std::string digest;   // of what was in it; "": it could not be read
    bool operator==(const WatchedFile&) const = default;
};
/// The same file as it is now; as it was, where it cannot be read: a file that is gone is no news, what came of it may be good still.
WatchedFile looked_at_again(const WatchedFile& before);

class Errand {
  public:
    Errand(IssuerTools& tools, std::shared_ptr<const Config> config, std::shared_ptr<const ClientContexts> contexts, const CredentialSpec& spec, std::shared_ptr<IssuerMemory> memory, TimePoint deadline);
    /// Another one for the same, which has read and called nothing yet, and may outlive it.
    explicit Errand(const Errand& other);
    Errand& operator=(const Errand&) = delete;

    const CredentialSpec& spec() const { return spec_; }
    const Config& config() const { return *config_; }
    /// Of its own issuer; null: it has none.
    const Vendor* own_rules() const { return spec_.issuer ? &config_->issuers[*spec_.issuer] : nullptr; }
    IssuerMemory& memory() { return *memory_; }
    RefreshFlights& flights() { return tools_.flights; }
    Timer& timer() { return tools_.timer; }
    VaultReadings& vault_readings() { return vault_readings_; }
    const std::string& state_directory() const { return tools_.state; }
    TimePoint deadline() const { return deadline_; }
    static TimePoint now();
    static WallTime wall_now() { return std::chrono::system_clock::now(); }
    /// Of the system's generator.
    static std::array<std::uint8_t, 16> random();

    /// An issuer's answer, whatever its status; a redirect is an answer like another. Every failure's detail says what was called, without a query. `rules`: another issuer of the policy than the credential's
    /// own (Vault's, for `{vault: ...}`); null: its own. A credential without an issuer cannot call.
    Task<Result<IssuerReply>> call(IssuerRequest request, const Vendor* rules = nullptr);

    /// As it is now. Of Vault: what `read_vault_secret` (vault.hpp) gives.
    Task<Result<Secret>> secret(const SecretSource& source);
    /// A whole file, as `read_secret_file`; a path may come from a variable.
    Result<Secret> file(const std::string& path);
    /// Notes that what comes of this errand depends on the file, there or not: whoever keeps it looks at the file again. To be said before it is read.
    void depends_on(std::string path);
    const std::vector<WatchedFile>& depends_on() const { return files_; }
    /// A variable of Sluice's environment; nothing: not set, or empty.
    std::optional<std::string> variable(const char* name) const;

    /// Runs `work`, which may block, on a thread of its own, and waits for it. It must end by itself soon after `deadline()`, and once `stopping` is set.
    Task<void> aside(std::function<void(const std::atomic<bool>& stopping)> work);

    /// Wakes a call that is under way; it fails, and so does every later one.
    void abort();
    bool aborted() const { return aborted_; }
    /// When the last request with a `patience` was given to the client.
    std::optional<TimePoint> sent_since() const { return sent_since_; }
    /// The longest pause that an answer of 429 or 503 asked for; 0: none did.
    Duration asked_pause() const { return asked_pause_; }
    /// What another one for the same has read, called and learnt counts as its own.
    void learn_from(const Errand& other);
    /// A call of another errand that has not come back.
    void add_call(IssuerCall call) { calls_.push_back(std::move(call)); }

    /// A failure of this errand (credential_unavailable), its words masked: nothing that was read in it is shown, even where an issuer repeats it.
    Failure failure(std::string what) const;
    /// Something an operator should know though the errand succeeds; told with its outcome.
    void note(std::string what) { notes_.push_back(masked(std::move(what))); }
    const std::vector<std::string>& notes() const { return notes_; }
    const std::vector<IssuerCall>& calls() const { return calls_; }
    /// Marks what must not be shown.
    void hide(const Secret& secret);
    /// Masks what was marked, in every form that `Needles` knows, each byte by `*`.
    void mask(std::string& text) const;
    /// Masks it in what is told of a mint: an issuer may repeat a secret in a scope as well.
    void mask(Minted& minted) const;

  private:
    IssuerTools& tools_;
    const std::shared_ptr<const Config> config_;
    const std::shared_ptr<const ClientContexts> contexts_;
    const CredentialSpec spec_;   // a copy: the policy's may go
    const std::shared_ptr<IssuerMemory> memory_;
    const TimePoint deadline_;
    VaultReadings vault_readings_;
    std::vector<Secret> hidden_;
    std::vector<std::string> notes_;
    std::vector<IssuerCall> calls_;
    std::vector<WatchedFile> files_;
    std::string masked(std::string what) const;

    std::optional<OnConnection> shown_;   // to its own issuer, once it is known
    RoundTrip* trip_ = nullptr;   // under way
    bool aborted_ = false;
    std::optional<TimePoint> sent_since_;
    Duration asked_pause_{};
};

/// "https://auth.example/token", without a query.
std::string text_of(const Url& url);
/// All of it, for whom it was written: a query may be nobody else's business.
std::string whole_text_of(const Url& url);

/// name=value&... (application/x-www-form-urlencoded, WHATWG URL 5.2).
class Form {
  public:
    Form& add(std::string_view name, std::string_view value);
    /// Marks it in `errand` as it is sent, too: encoded again, that is another text than the secret.
    Form& add(std::string_view name, const Secret& secret, Errand& errand);
    /// Only where there is one.
    Form& add_if(std::string_view name, std::string_view value) { return value.empty() ? *this : add(name, value); }
    /// POST with the form in its body.
    IssuerRequest post_to(const Url& url) &&;

  private:
    std::string text_;
};
std::string form_encoded(std::string_view text);

}  // namespace sluice
