#include "proxy/wire/pool.hpp"

namespace sluice {

void SslSessionStore::keep(const PoolKey& key, SslSessionPtr session) {
    if (sessions_.size() >= capacity && !sessions_.contains(key)) sessions_.erase(sessions_.begin());
    sessions_[key] = std::move(session);
}

SslSessionPtr SslSessionStore::copy_of(const PoolKey& key) const {
    const auto found = sessions_.find(key);
    return SslSessionPtr(found == sessions_.end() ? nullptr : SSL_SESSION_dup(found->second.get()));
}

std::unique_ptr<UpstreamConnection> Pool::take(const PoolKey& key, bool replayable, TimePoint now) {
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) return nullptr;
    auto& idle = found->second;
    while (!idle.empty()) {
        auto connection = std::move(idle.back());
        idle.pop_back();
        --idle_;
        const Duration rested = now - connection->idle_since;
        // The vendor's own word counts less a second: it may be closing while our request is on its way.
        const Duration promised = connection->keep_alive_for > 1s ? connection->keep_alive_for - 1s : Duration{};
        const bool fresh = replayable || rested < std::max(trusted_idle_time, promised);
        if (fresh && rested < max_idle_time && connection->channel.stream().quiet()) {
            journal_.connections_moved(connection->series.get(), +1, -1);
            connection->reused = true;
            connection->channel.stream().keep_buffers();
            return connection;
        }
        drop(std::move(connection));
    }
    return nullptr;
}

void Pool::give(std::unique_ptr<UpstreamConnection> connection, TimePoint now) {
    journal_.connections_moved(connection->series.get(), -1, +1);
    ++idle_;
    auto& idle = by_key_[connection->key];
    if (idle.size() >= max_idle_per_key || idle_ > max_idle) {
        --idle_;
        drop(std::move(connection));
        return;
    }
    connection->idle_since = now;
    connection->channel.rest();
    connection->channel.stream().socket().watch();
    idle.push_back(std::move(connection));
}

void Pool::sweep(TimePoint now) {
    for (auto at = by_key_.begin(); at != by_key_.end();) {
        auto& idle = at->second;
        for (std::size_t i = 0; i < idle.size();) {
            const Duration limit = idle[i]->keep_alive_for > Duration{} ? std::min(idle[i]->keep_alive_for, max_idle_time) : max_idle_time;
            if (now - idle[i]->idle_since < limit && idle[i]->channel.stream().quiet()) {
                if (now - idle[i]->idle_since > rest_after) idle[i]->channel.stream().release_buffers();
                ++i;
                continue;
            }
            std::swap(idle[i], idle.back());
            --idle_;
            drop(std::move(idle.back()));
            idle.pop_back();
        }
        at = idle.empty() ? by_key_.erase(at) : std::next(at);
    }
}

void Pool::keep_only(const ClientContexts& contexts) {
    for (auto at = by_key_.begin(); at != by_key_.end();) {
        if (contexts.reach_over(at->first.identity)) {
            ++at;
            continue;
        }
        for (auto& connection : at->second) drop(std::move(connection));
        idle_ -= at->second.size();
        at = by_key_.erase(at);
    }
}

void Pool::clear() {
    for (auto& [key, idle] : by_key_)
        for (auto& connection : idle) drop(std::move(connection));
    by_key_.clear();
    idle_ = 0;
}

void Pool::drop(std::unique_ptr<UpstreamConnection> connection) {
    journal_.connections_moved(connection->series.get(), 0, -1);
    connection->channel.close();
}

}  // namespace sluice
