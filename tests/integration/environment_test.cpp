// What `sluice env` prints, and what `sluice exec` gives to its command: no process needed.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdio>
#include <map>

#include "proxy/app/clients.hpp"
#include "proxy/app/cpus.hpp"
#include "proxy/app/doctor.hpp"
#include "proxy/app/environment.hpp"
#include "proxy/app/execute.hpp"

using namespace sluice;

namespace {

std::map<std::string, std::string> as_map(const Variables& variables) {
    return {variables.begin(), variables.end()};
}

std::map<std::string, std::string> variables_for(std::string_view address = "127.0.0.1",
                                                 std::vector<std::string> no_proxy = {},
                                                 const std::string& published = "/run/sluice/ca") {
    return as_map(environment_for({{parse_address(address).value(), 15001}, published, std::move(no_proxy)}));
}

std::string output_of(const std::string& script) {
    std::string out;
    FILE* pipe = ::popen(script.c_str(), "r");
    REQUIRE(pipe);
    char piece[4096];
    for (std::size_t got; (got = std::fread(piece, 1, sizeof piece, pipe)) > 0;) out.append(piece, got);
    ::pclose(pipe);
    return out;
}

const Variables awkward = {{"A", "it's \"$HOME\" `id` \\ and $(id)"}, {"B", "plain"}};

}  // namespace

TEST_CASE("both cases of the proxy variables name the listener") {
    const auto variables = variables_for();
    for (const char* name : {"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "grpc_proxy"}) {
        CHECK(variables.at(name) == "http://127.0.0.1:15001");
    }
    CHECK(variables.at("NO_PROXY") == "localhost,127.0.0.1,::1,.svc,.cluster.local");
    CHECK(variables.at("no_proxy") == variables.at("NO_PROXY"));
}

TEST_CASE("a listener on every address is dialled on loopback") {
    CHECK(variables_for("0.0.0.0").at("HTTP_PROXY") == "http://127.0.0.1:15001");
    CHECK(variables_for("::").at("HTTP_PROXY") == "http://[::1]:15001");
    CHECK(variables_for("10.1.2.3").at("HTTP_PROXY") == "http://10.1.2.3:15001");
}

TEST_CASE("what adds a CA reads ours alone, what replaces the roots reads the bundle") {
    const auto variables = variables_for();
    CHECK(variables.at("NODE_EXTRA_CA_CERTS") == "/run/sluice/ca/ca.crt");
    CHECK(variables.at("NODE_USE_ENV_PROXY") == "1");
    for (const char* name :
         {"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE", "GIT_SSL_CAINFO", "PIP_CERT",
          "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "CARGO_HTTP_CAINFO", "DENO_CERT", "NIX_SSL_CERT_FILE",
          "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", "HTTPLIB2_CA_CERTS", "npm_config_cafile", "PERL_LWP_SSL_CA_FILE"}) {
        INFO(name);
        CHECK(variables.at(name) == "/run/sluice/ca/bundle.pem");
    }
    CHECK(variables.count("SSL_CERT_DIR") == 0);
}

TEST_CASE("Java learns the proxy, the exceptions and the trust store from its options") {
    const auto options = variables_for("127.0.0.1", {"internal.example"}).at("JAVA_TOOL_OPTIONS");
    for (const char* option :
         {"-Dhttp.proxyHost=127.0.0.1", "-Dhttp.proxyPort=15001", "-Dhttps.proxyHost=127.0.0.1",
          "-Dhttps.proxyPort=15001",
          "-Dhttp.nonProxyHosts=localhost|127.0.0.1|[::1]|*.svc|*.cluster.local|internal.example|*.internal.example",
          "-Djavax.net.ssl.trustStore=/run/sluice/ca/truststore.p12", "-Djavax.net.ssl.trustStorePassword=changeit"}) {
        INFO(option);
        CHECK((' ' + options + ' ').find(' ' + std::string(option) + ' ') != std::string::npos);
    }
    CHECK(variables_for("127.0.0.1", {}, "/a b")
              .at("JAVA_TOOL_OPTIONS")
              .find("\"-Djavax.net.ssl.trustStore=/a b/truststore.p12\"") != std::string::npos);
}

TEST_CASE("a name of no_proxy counts with its subdomains, an address as it is") {
    struct Row {
        std::string entry;
        std::vector<std::string> listed;
    };
    const Row row = GENERATE(Row{"internal.example", {"internal.example", ".internal.example"}},  //
                             Row{".corp.example", {".corp.example"}},                             //
                             Row{"*.corp.example", {".corp.example"}},                            //
                             Row{"10.0.0.1", {"10.0.0.1"}},                                       //
                             Row{"10.0.0.0/8", {"10.0.0.0/8"}},                                   //
                             Row{"fd00::1", {"fd00::1"}},                                         //
                             Row{"localhost", {".localhost"}},                                    //
                             Row{".svc", {}});
    INFO(row.entry);
    const std::vector<std::string> all = no_proxy_list({row.entry});
    CHECK(std::vector<std::string>(all.begin() + 5, all.end()) == row.listed);
}

TEST_CASE("a shell that evaluates the variables gets them byte for byte") {
    for (const auto& [name, value] : awkward) {
        CHECK(output_of(render(awkward, EnvFormat::sh) + "printf %s \"$" + name + '"') == value);
    }
}

TEST_CASE("each format quotes what its reader would take apart") {
    CHECK(render({{"A", "it's \\"}}, EnvFormat::fish) == "set -gx A 'it\\'s \\\\'\n");
    CHECK(render({{"A", "x y|z"}}, EnvFormat::dotenv) == "A=x y|z\n");
    CHECK(render({{"A", "a#b\"c$d"}}, EnvFormat::dotenv) == "A=\"a#b\\\"c\\$d\"\n");
    CHECK(render({{"A", "1\"2"}, {"B", "3"}}, EnvFormat::json) == "{\n  \"A\": \"1\\\"2\",\n  \"B\": \"3\"\n}\n");
    CHECK(render({{"A", "a$(B)"}}, EnvFormat::k8s) == "- name: A\n  value: \"a$$(B)\"\n");
    CHECK(!env_format_named("powershell"));
}

TEST_CASE("a command behind `exec` never has the policy's secrets, nor what would hide our bundle") {
    Config config;
    CredentialSpec bearer;
    bearer.kind = BearerSpec{.value = {SecretSource::Kind::environment, "API_TOKEN"}};
    CredentialSpec basic;
    basic.kind = BasicSpec{.username_source = {SecretSource::Kind::environment, "API_USER"},
                           .password = {SecretSource::Kind::environment, "API_PASSWORD"}};
    CredentialSpec key;
    key.kind = ApiKeySpec{.value = {SecretSource::Kind::environment, "API_KEY"}};
    CredentialSpec from_file;
    from_file.kind = BearerSpec{.value = {SecretSource::Kind::file, "HOME"}};
    config.credentials = {bearer, basic, key, from_file};

    const char* inherited[] = {"HOME=/root",       "API_TOKEN=1",       "API_USER=2",     "API_PASSWORD=3", "API_KEY=4",
                               "API_TOKEN_2=mine", "SSL_CERT_DIR=/etc", "HTTP_PROXY=old", nullptr};
    auto environment = child_environment(inherited, config, {{"HTTP_PROXY", "new"}});
    std::sort(environment.begin(), environment.end());
    CHECK(environment == std::vector<std::string>{"API_TOKEN_2=mine", "HOME=/root", "HTTP_PROXY=new"});
}

TEST_CASE("a command behind `exec` keeps the Java options that it had") {
    const char* inherited[] = {"JAVA_TOOL_OPTIONS=-Xmx1g", nullptr};
    CHECK(child_environment(inherited, Config(), {{"JAVA_TOOL_OPTIONS", "-Da=b"}}) ==
          std::vector<std::string>{"JAVA_TOOL_OPTIONS=-Xmx1g -Da=b"});
}

TEST_CASE("`exec` takes free ports for the built-in ones and keeps those that the policy chose") {
    Config config;
    config.listen.proxy.port = 15001;
    config.listen.admin.port = 18000;
    const Config changed = with_free_ports(config);
    CHECK(changed.listen.proxy.port == 0);
    CHECK(changed.listen.admin.port == 18000);
}

TEST_CASE("as many workers as the cgroup's quota pays for, rounded up") {
    struct Row {
        const char* what;
        std::map<std::string, std::string> files;
        unsigned online, workers;
    };
    const std::string group = "/sys/fs/cgroup";
    const Row row = GENERATE_COPY(
        Row{"no cgroup", {}, 8, 8},                                                                                   //
        Row{"v2 without a quota", {{"/proc/self/cgroup", "0::/\n"}, {group + "/cpu.max", "max 100000\n"}}, 8, 8},     //
        Row{"v2, one and a half", {{"/proc/self/cgroup", "0::/\n"}, {group + "/cpu.max", "150000 100000\n"}}, 8, 2},  //
        Row{"v2, a tenth", {{"/proc/self/cgroup", "0::/\n"}, {group + "/cpu.max", "10000 100000\n"}}, 8, 1},          //
        Row{"v2, more than there is", {{"/proc/self/cgroup", "0::/\n"}, {group + "/cpu.max", "900000 100000\n"}}, 2, 2},
        Row{"v2, the parent is tighter",
            {{"/proc/self/cgroup", "0::/a/b\n"},
             {group + "/a/b/cpu.max", "400000 100000\n"},
             {group + "/a/cpu.max", "300000 100000\n"}},
            8,
            3},
        Row{"v1",
            {{"/proc/self/cgroup", "4:memory:/x\n3:cpu,cpuacct:/x\n"},
             {group + "/cpu/x/cpu.cfs_quota_us", "250000\n"},
             {group + "/cpu/x/cpu.cfs_period_us", "100000\n"}},
            8,
            3},
        Row{"v1 in a container that does not see its path",
            {{"/proc/self/cgroup", "3:cpu,cpuacct:/docker/abc\n"},
             {group + "/cpu/cpu.cfs_quota_us", "200000\n"},
             {group + "/cpu/cpu.cfs_period_us", "100000\n"}},
            8,
            2},
        Row{"v1 without a quota",
            {{"/proc/self/cgroup", "3:cpu:/\n"},
             {group + "/cpu/cpu.cfs_quota_us", "-1\n"},
             {group + "/cpu/cpu.cfs_period_us", "100000\n"}},
            8,
            8},
        Row{"nonsense", {{"/proc/self/cgroup", "::\n:\n\n0::/\n"}, {group + "/cpu.max", "0 0\n"}}, 8, 8});
    INFO(row.what);
    const auto read_file = [&row](const std::string& path) -> std::optional<std::string> {
        const auto file = row.files.find(path);
        return file == row.files.end() ? std::nullopt : std::optional(file->second);
    };
    CHECK(cpu_budget(read_file, row.online) == row.workers);
}

TEST_CASE("an environment is held against what `sluice env` prints, without telling what is in it") {
    const Variables expected = {{"HTTPS_PROXY", "http://127.0.0.1:15001"}, {"NO_PROXY", "localhost"},
                                {"JAVA_TOOL_OPTIONS", "-Dx=1"}};
    Config config;
    Vendor& vendor = config.vendors.emplace_back();
    vendor.name = "pay";
    vendor.hosts = {*parse_host_pattern("api.pay.example"), *parse_host_pattern("*.llm.example")};
    const auto examined = [&](const std::map<std::string, std::string>& actual) {
        std::string all;
        for (const Finding& finding : examine_variables(expected, config, [&](const std::string& name) {
                 const auto at = actual.find(name);
                 return at == actual.end() ? std::nullopt : std::optional(at->second);
             }))
            all += finding.what + "\n";
        return all;
    };
    const std::map<std::string, std::string> right = {
        {"HTTPS_PROXY", "http://127.0.0.1:15001"}, {"NO_PROXY", "localhost"}, {"JAVA_TOOL_OPTIONS", "-Dold=1 -Dx=1"}};
    const auto with = [&](const std::string& name, const std::string& value) {
        auto changed = right;
        changed[name] = value;
        return examined(changed);
    };
    CHECK(examined(right) == "are those of `sluice env`\n");
    CHECK(examined({}) == "none of Sluice's is set here\n");
    CHECK(with("HTTPS_PROXY", "") == "not set: HTTPS_PROXY\n");
    CHECK(with("HTTPS_PROXY", "http://me:hunter2@proxy:1") == "set to something else: HTTPS_PROXY\n");
    CHECK(with("SSL_CERT_DIR", "/x").starts_with("SSL_CERT_DIR is set"));
    for (const std::string entry : {"pay.example", ".pay.example", "API.pay.example", "a,.example", "x *", "*.pay.example",
                                    "llm.example"}) {
        INFO(entry);
        CHECK(with("NO_PROXY", entry).find("(vendor pay) without Sluice") != std::string::npos);
    }
    for (const std::string entry : {"ay.example", "b.pay.example", "127.0.0.1,.svc", ",, ."}) {
        INFO(entry);
        CHECK(with("NO_PROXY", entry) == "are those of `sluice env`\n");
    }
}

TEST_CASE("clients are looked for where each would be, and each is found once") {
    const std::vector<std::string> there = {"/usr/bin/curl", "/bin/curl", "/py/aiohttp", "/usr/bin/axios", "/js/@aws-sdk"};
    const auto found = find_clients("/usr/bin::/bin", {"/py"}, {"/js"}, [&](const std::string& path) {
        return std::find(there.begin(), there.end(), path) != there.end();
    });
    std::vector<std::string> paths;
    for (const FoundClient& client : found) paths.push_back(client.path);
    CHECK(paths == std::vector<std::string>{"/usr/bin/curl", "/py/aiohttp", "/js/@aws-sdk"});
    for (const Client& client : known_clients()) {
        const bool needs_help = client.proxy != Reads::yes || client.ca != Reads::yes;
        if (needs_help) CHECK_FALSE(client.advice.empty());
    }
}
