#include "proxy/app/demo_issuer.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <random>
#include <utility>
#include <vector>

#include "proxy/app/demo_server.hpp"
#include "proxy/base/codec.hpp"

namespace sluice {

namespace {

constexpr Duration leeway = 2s;  // as vendors have it, for clocks that differ; here for a machine that is busy

/// "t3-9f86d081884c7d65..."
std::string token_number(std::size_t number) {
    std::random_device random;
    std::string bytes;
    for (int i = 0; i < 16; ++i) bytes += static_cast<char>(random());
    return "t" + std::to_string(number) + "-" + to_hex(bytes);
}

/// RFC 6749 2.3.1
std::string proof_of(const std::string& secret) {
    std::string proof = "Basic ";
    append_base64(proof, std::string(DemoIssuer::client_id) + ':' + secret);
    return proof;
}

}  // namespace

struct DemoIssuer::Impl {
    Impl(const CertAuthority& authority, const std::string& secret)
        : proof(proof_of(secret)),
          server(authority, [this](const DemoServer::Request& request) { return answer(request); }) {}

    std::optional<std::string> answer(const DemoServer::Request& request) {
        if (out) return std::string();
        const std::lock_guard lock(mutex);
        if (request.method != "POST" || request.path != path)
            return demo_response(404, "{\"error\":\"not_found\"}\n", request.keep_alive);
        if (request.authorization != proof)
            return demo_response(401, "{\"error\":\"invalid_client\"}\n", request.keep_alive);
        tokens.push_back({token_number(tokens.size() + 1), std::chrono::steady_clock::now() + lifetime});
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(lifetime).count();
        return demo_response(200,
                             "{\"access_token\":\"" + tokens.back().text +
                                 "\",\"token_type\":\"Bearer\",\"expires_in\":" + std::to_string(seconds) +
                                 ",\"scope\":\"demo.read\"}\n",
                             request.keep_alive, {{"Cache-Control", "no-store"}});
    }

    struct Token {
        std::string text;
        TimePoint end;
    };
    std::atomic<bool> out{false};
    const std::string proof;
    mutable std::mutex mutex;
    std::vector<Token> tokens;
    DemoServer server;  // last: its threads use the rest
};

DemoIssuer::DemoIssuer(const CertAuthority& authority, std::string client_secret)
    : impl_(std::make_unique<Impl>(authority, client_secret)) {}
DemoIssuer::~DemoIssuer() = default;

std::uint16_t DemoIssuer::port() const {
    return impl_->server.port();
}

void DemoIssuer::set_out(bool out) {
    impl_->out = out;
}

std::size_t DemoIssuer::given() const {
    const std::lock_guard lock(impl_->mutex);
    return impl_->tokens.size();
}

bool DemoIssuer::accepts(const std::string& authorization) const {
    const std::lock_guard lock(impl_->mutex);
    const TimePoint now = std::chrono::steady_clock::now();
    return std::any_of(impl_->tokens.begin(), impl_->tokens.end(), [&](const Impl::Token& token) {
        return now < token.end + leeway && authorization == "Bearer " + token.text;
    });
}

bool DemoIssuer::is_any_in(const std::string& text) const {
    const std::lock_guard lock(impl_->mutex);
    return std::any_of(impl_->tokens.begin(), impl_->tokens.end(),
                       [&](const Impl::Token& token) { return text.find(token.text) != std::string::npos; });
}

}  // namespace sluice
