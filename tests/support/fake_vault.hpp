// Vault, by a server of our own that is written from its API documents and takes nothing that is not as they say. Over TLS, by `vendor_ca`.
#pragma once

#include <boost/json.hpp>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "proxy/http/target.hpp"
#include "tests/support/proxy.hpp"
#include "tests/support/wire.hpp"

namespace sluice::testing {

inline constexpr const char* service_account_jwt = "eyJ.service-account.sig";
inline constexpr const char* app_secret = "7d9e-secret-id";

class FakeVault {
  public:
    FakeVault() : server_([this](Wire& wire) { serve(wire); }, vendor_ca()) {}

    std::string authority() const { return server_.authority(); }
    Url url() const {
        std::string fault;
        return *parse_base_url("https://" + authority(), fault);
    }

    /// As a login called `vault`, in `credentials` of a policy for TestProxy. Its token is taken from now on.
    std::string login_yaml(const std::string& token, const TemporaryDirectory& files) {
        accept_token(token);
        return "  vault: {type: vault, address: \"https://" + authority() + "\", auth: {token: {file: " + files.file("vault-token", token) +
               "}}, tls: {ca: {file: @dir/vendor-ca.crt}}, addresses: [127.0.0.0/8]}\n";
    }
    /// The value of a path of KV version 2, from now on.
    void put(const std::string& path, boost::json::object values) {
        const std::lock_guard lock(mutex_);
        kv2[path] = std::move(values);
    }
    /// The same of version 1, which says itself when to look again.
    void put_first(const std::string& path, boost::json::object values, int look_again_seconds) {
        const std::lock_guard lock(mutex_);
        kv1[path] = std::move(values);
        kv1_ttl = look_again_seconds;
    }
    /// It refuses everything, as after a restart, or goes on.
    void seal(bool sealed_now) {
        const std::lock_guard lock(mutex_);
        sealed = sealed_now;
    }

    // What the test says of it, before or between fetches; by the two above where something may be fetched meanwhile.
    std::string name_space;
    int token_ttl = 3600, lease_ttl = 3600, lease_max = 1 << 30, kv1_ttl = 2764800;
    bool token_renewable = true, sealed = false;
    std::map<std::string, boost::json::object> kv1, kv2;   // by path below the mount
    std::set<std::string> deleted;

    void revoke_tokens() {
        const std::lock_guard lock(mutex_);
        tokens_.clear();
    }
    void accept_token(const std::string& token) {
        const std::lock_guard lock(mutex_);
        tokens_.insert(token);
    }
    /// "GET /v1/kv/data/llm": how often.
    int count(const std::string& call) const {
        const std::lock_guard lock(mutex_);
        const auto found = calls_.find(call);
        return found == calls_.end() ? 0 : found->second;
    }
    /// Whatever was not as the documents have it.
    std::vector<std::string> complaints() const {
        const std::lock_guard lock(mutex_);
        return complaints_;
    }

  private:
    struct Answer {
        unsigned status = 200;
        boost::json::object body;
    };

    void serve(Wire& wire) {
        while (const auto request = wire.read_request()) {
            Answer answer;
            {
                const std::lock_guard lock(mutex_);
                answer = judge(*request);
            }
            const std::string body = boost::json::serialize(answer.body);
            wire.write("HTTP/1.1 " + std::to_string(answer.status) + " Whatever\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
        }
    }

    static Answer refuse(unsigned status, const char* why) { return {status, {{"errors", boost::json::array{why}}}}; }
    Answer malformed(const std::string& what) {
        complaints_.push_back(what);
        return refuse(400, "malformed");
    }
    static Answer with_auth(const std::string& token, int ttl, bool renewable) {
        return {200, {{"request_id", "r"}, {"lease_id", ""}, {"renewable", false}, {"lease_duration", 0}, {"data", nullptr},
                      {"auth", boost::json::object{{"client_token", token}, {"policies", boost::json::array{"default"}}, {"lease_duration", ttl}, {"renewable", renewable}}}}};
    }
    static Answer with_data(boost::json::object data, const std::string& lease = "", int duration = 0, bool renewable = false) {
        return {200, {{"request_id", "r"}, {"lease_id", lease}, {"renewable", renewable}, {"lease_duration", duration}, {"data", std::move(data)}, {"warnings", nullptr}, {"auth", nullptr}}};
    }

    Answer judge(const Message& request) {
        const auto space = request.start_line.find(' ');
        const std::string method = request.start_line.substr(0, space);
        const std::string path = request.start_line.substr(space + 1, request.start_line.find(' ', space + 1) - space - 1);
        ++calls_[method + ' ' + path];
        if (request.field("x-vault-request") != "true") return malformed("X-Vault-Request is missing");
        if (request.field("x-vault-namespace") != name_space) return malformed("the namespace is '" + request.field("x-vault-namespace") + "'");
        if (!request.body.empty() && request.field("content-type") != "application/json") return malformed("a body that is not application/json");
        if (sealed) return refuse(503, "Vault is sealed");
        if (method == "POST" && path.ends_with("/login")) return login(request, path);
        if (request.count("x-vault-token") != 1) return malformed("X-Vault-Token is missing: " + path);
        if (!tokens_.contains(request.field("x-vault-token"))) return refuse(403, "permission denied");
        if (method == "GET" && path == "/v1/auth/token/lookup-self") return with_data({{"ttl", token_ttl}, {"renewable", token_renewable}, {"id", request.field("x-vault-token")}});
        if (method == "POST" && path == "/v1/auth/token/renew-self") return with_auth(request.field("x-vault-token"), token_ttl, token_renewable);
        if (method == "PUT" && path == "/v1/sys/leases/renew") return renew(request);
        if (method == "GET") return read(path);
        return malformed(request.start_line);
    }

    Answer login(const Message& request, const std::string& path) {
        if (request.count("x-vault-token") != 0) return malformed("a login with a token");
        boost::json::error_code error;
        const boost::json::value body = boost::json::parse(request.body, error);
        if (error || !body.is_object() || body.get_object().size() != 2) return malformed("a login with " + request.body);
        const auto is = [&](const char* name, const char* value) { return body.get_object().contains(name) && body.get_object().at(name) == value; };
        if (path == "/v1/auth/kubernetes/login" || path == "/v1/auth/corp%2Djwt/login" || path == "/v1/auth/corp-jwt/login") {
            if (!is("jwt", service_account_jwt)) return refuse(403, "service account name not authorized");
            if (!is("role", "sluice")) return refuse(400, "invalid role name \"other\"");
        } else if (path == "/v1/auth/approle/login") {
            if (!is("role_id", "role-17") || !is("secret_id", app_secret)) return refuse(400, "invalid role or secret ID");
        } else {
            return malformed("a login at " + path);
        }
        const std::string token = "hvs.CAESI" + std::to_string(++issued_);
        tokens_.insert(token);
        return with_auth(token, token_ttl, token_renewable);
    }

    Answer renew(const Message& request) {
        boost::json::error_code error;
        const boost::json::value body = boost::json::parse(request.body, error);
        if (error || !body.is_object() || !body.get_object().contains("lease_id") || !body.get_object().contains("increment")) return malformed("a renewal with " + request.body);
        const std::string id(body.at("lease_id").as_string());
        if (!leases_.contains(id)) return refuse(400, "lease not found");
        const int increment = static_cast<int>(body.at("increment").as_int64());
        return {200, {{"lease_id", id}, {"renewable", true}, {"lease_duration", std::min(increment, lease_max)}}};
    }

    Answer read(const std::string& path) {
        if (path == "/v1/database/creds/reader") {
            const std::string number = std::to_string(++issued_);
            leases_.insert("database/creds/reader/lease" + number);
            return with_data({{"username", "v-reader-" + number}, {"password", "pw-of-" + number}}, "database/creds/reader/lease" + number, lease_ttl, true);
        }
        if (path.starts_with("/v1/kv/data/")) {
            const std::string name = path.substr(12);
            if (deleted.contains(name)) return {404, {{"data", boost::json::object{{"data", nullptr}, {"metadata", boost::json::object{{"deletion_time", "2026-01-02T03:04:05Z"}, {"version", 2}}}}}}};
            if (kv2.contains(name)) return with_data({{"data", kv2[name]}, {"metadata", boost::json::object{{"version", 1}, {"destroyed", false}}}});
        }
        if (path.starts_with("/v1/secret/") && kv1.contains(path.substr(11))) return with_data(kv1[path.substr(11)], "", kv1_ttl);
        return {404, {{"errors", boost::json::array{}}}};
    }

    mutable std::mutex mutex_;
    std::map<std::string, int> calls_;
    std::vector<std::string> complaints_;
    std::set<std::string> tokens_, leases_;
    int issued_ = 0;
    FakeVendor server_;   // last: it calls what is above
};

}  // namespace sluice::testing
