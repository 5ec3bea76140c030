#include "proxy/issuers/nearby.hpp"

#include "proxy/credentials/reply_words.hpp"

namespace sluice {

Task<Result<IssuerReply>> call_nearby(Errand& errand, IssuerRequest request, std::string_view at) {
    Vendor rules;
    if (const auto issuer = errand.spec().issuer) rules = errand.config().issuers[*issuer];
    const std::string& host = request.url.authority.host;
    const auto open = [&rules](std::string_view text) {
        if (const auto address = parse_address(text)) rules.addresses.push_back({*address, address->v6 ? 128U : 32U});
    };
    open(at.empty() ? std::string_view(host) : at);
    if (host == "localhost")
        for (const std::string_view loopback : {"127.0.0.1", "::1"}) open(loopback);
    Result<IssuerReply> reply = co_await errand.call(std::move(request), errand.spec().issuer ? &rules : nullptr);
    co_return reply;
}

Result<Url> nearby_url(const Errand& errand, std::string_view name, const std::string& text) {
    std::string fault;
    auto url = parse_base_url(text.find("://") == text.npos ? "http://" + text : text, fault);
    if (!url) return errand.failure(std::string(name) + " cannot be used: " + fault);
    if (is_loopback(url->authority) || is_link_local(url->authority) || url->authority.host == "fd00:ec2::254") return std::move(*url);
    return errand.failure(std::string(name) + " names " + url->authority.host + ", which is neither on this machine nor on this link");
}

}  // namespace sluice
