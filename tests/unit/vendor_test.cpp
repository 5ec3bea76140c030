#include "proxy/policy/vendor.hpp"

#include <catch2/catch.hpp>

using namespace sluice;

namespace {

Vendor make(const std::vector<std::string>& hosts, const std::vector<std::string>& endpoints) {
    Vendor vendor;
    vendor.name = "pay";
    for (const std::string& host : hosts) vendor.hosts.push_back(parse_host_pattern(host).value());
    for (const std::string& endpoint : endpoints) {
        std::string fault;
        vendor.endpoints.push_back(parse_base_url(endpoint, fault).value());
    }
    return vendor;
}

void add_route(Vendor& vendor, std::string name, std::string_view match) {
    std::string fault;
    Route route;
    route.name = std::move(name);
    route.match = parse_request_pattern(match, fault).value();
    route.index = vendor.routes.size();
    vendor.routes.push_back(std::move(route));
}

Authority authority(std::string_view text) {
    return parse_authority(text, 0).value();
}

}  // namespace

TEST_CASE("the first route that matches is taken, in the order of the policy") {
    Vendor vendor = make({"api.pay.example"}, {});
    add_route(vendor, "rates", "GET /v1/rates");
    add_route(vendor, "reads", "GET /v1/**");
    add_route(vendor, "never", "GET /v1/rates");
    const auto name = [&](std::string_view method, std::string_view path) {
        const Route* route = vendor.route_for(method, path);
        return route ? route->name : std::string("none");
    };
    CHECK(name("GET", "/v1/rates") == "rates");
    CHECK(name("GET", "/v1/other") == "reads");
    CHECK(name("POST", "/v1/rates") == "none");
    CHECK(name("GET", "/v2") == "none");
    // Nobody gets round a route, and the narrower credential or limit that it names, by another spelling of its path.
    CHECK(name("GET", "/v1/%72ates") == "rates");
    CHECK(name("GET", "/v1//rates") == "rates");
    CHECK(name("GET", "//v1/rate%73") == "rates");
    CHECK(name("GET", "/%761/other") == "reads");
    CHECK(name("GET", "/v1/rates%2F") == "reads");
    CHECK(make({"h"}, {}).route_for("GET", "/") == nullptr);
}

TEST_CASE("base-URL mode goes to the endpoint, else to the first host without a wildcard") {
    struct Case {
        std::vector<std::string> hosts, endpoints;
        std::string url;  // "": nowhere
    };
    const Case cases[] = {
        {{"api.pay.example"}, {"http://eu.pay.example:8080/v1"}, "http://eu.pay.example:8080/v1"},
        {{"*.pay.example"}, {"https://eu.pay.example"}, "https://eu.pay.example:443"},
        {{"api.pay.example"}, {}, "https://api.pay.example:443"},
        {{"*.pay.example", "api.pay.example:8443", "b.example"}, {}, "https://api.pay.example:8443"},
        {{"[::1]"}, {}, "https://[::1]:443"},
        {{"*.pay.example"}, {}, ""},
        {{}, {}, ""},
    };
    for (const Case& one : cases) {
        CAPTURE(one.hosts, one.endpoints);
        const auto url = make(one.hosts, one.endpoints).base_url();
        const std::string text =
            url ? std::string(name_of(url->scheme)) + "://" + url->authority.text() + url->prefix : "";
        CHECK(text == one.url);
    }
    CHECK(make({"[::1]"}, {}).base_url()->authority.is_address);
}

TEST_CASE("an exchange is dialled at the endpoint, else at what the application named") {
    struct Case {
        std::vector<std::string> endpoints;
        Scheme scheme;
        std::string named, destination;
    };
    const Case cases[] = {
        {{}, Scheme::http, "api.pay.example:80", "http://api.pay.example:80"},
        {{}, Scheme::https, "api.pay.example:8443", "https://api.pay.example:8443"},
        {{"https://eu.pay.example/v1"}, Scheme::https, "api.pay.example:443", "https://eu.pay.example:443/v1"},
        // plain text from the application goes over TLS where the endpoint says so
        {{"https://api.pay.example"}, Scheme::http, "api.pay.example:80", "https://api.pay.example:443"},
        // and an endpoint written as http:// is the operator's word
        {{"http://api.pay.example"}, Scheme::https, "api.pay.example:443", "http://api.pay.example:80"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.endpoints, one.named);
        const Destination to =
            destination_of(make({"api.pay.example"}, one.endpoints), one.scheme, authority(one.named));
        CHECK(std::string(name_of(to.scheme)) + "://" + to.authority.text() + to.prefix == one.destination);
    }
}
