#include "proxy/app/clients.hpp"

#include <algorithm>
#include <array>

namespace sluice {

namespace {

using Kind = Client::Kind;

constexpr std::array clients = {
    Client{Kind::program, "curl", "curl", Reads::yes, Reads::yes, ""},
    Client{Kind::program, "wget", "wget", Reads::yes, Reads::no,
           "ignores every CA variable: give it --ca-certificate=ca.crt, or put that line into $WGETRC"},
    Client{Kind::program, "git", "git", Reads::yes, Reads::yes, ""},
    Client{Kind::program, "Python", "python3", Reads::yes, Reads::yes, ""},
    Client{Kind::python_module, "aiohttp", "aiohttp", Reads::with_help, Reads::yes,
           "ignores the proxy variables unless ClientSession(trust_env=True)"},
    Client{Kind::python_module, "requests", "requests", Reads::yes, Reads::yes, ""},
    Client{Kind::python_module, "httpx", "httpx", Reads::yes, Reads::yes, ""},
    Client{Kind::python_module, "boto3", "boto3", Reads::yes, Reads::yes, ""},
    Client{Kind::python_module, "grpc", "grpc", Reads::yes, Reads::yes,
           "an https_proxy in upper case only is ignored; `sluice env` sets both"},
    Client{Kind::program, "Node", "node", Reads::with_help, Reads::yes,
           "before version 24 fetch and http ignore the proxy variables: use undici's EnvHttpProxyAgent, or base-URL "
           "mode"},
    Client{Kind::node_module, "axios", "axios", Reads::yes, Reads::yes, ""},
    Client{Kind::node_module, "openai (Node)", "openai", Reads::no, Reads::yes,
           "ignores the proxy variables before Node 24: set OPENAI_BASE_URL to base-URL mode"},
    Client{Kind::node_module, "AWS SDK (Node)", "@aws-sdk", Reads::no, Reads::yes,
           "ignores the proxy variables before Node 24: set AWS_ENDPOINT_URL to base-URL mode"},
    Client{Kind::node_module, "stripe (Node)", "stripe", Reads::no, Reads::yes,
           "ignores the proxy variables: give it an httpAgent (https-proxy-agent)"},
    Client{Kind::program, "Go programs", "go", Reads::yes, Reads::yes, "never proxy what is on loopback"},
    Client{Kind::program, "Java", "java", Reads::yes, Reads::yes,
           "reads JAVA_TOOL_OPTIONS only; what sets its own -D options or trust store ignores it"},
    Client{Kind::program, "Ruby", "ruby", Reads::yes, Reads::yes, "Net::HTTP reads http_proxy alone, for https too"},
    Client{Kind::program, "PHP", "php", Reads::yes, Reads::no,
           "its curl ignores the CA variables: set curl.cainfo in php.ini to bundle.pem"},
    Client{Kind::program, "Perl", "perl", Reads::with_help, Reads::yes,
           "LWP needs env_proxy => 1; HTTP::Tiny needs verify_SSL => 1 to verify at all"},
};

template <class Visit>
void each_folder(std::string_view search_path, Visit visit) {
    while (!search_path.empty()) {
        const std::size_t end = std::min(search_path.find(':'), search_path.size());
        if (end > 0) visit(std::string(search_path.substr(0, end)));
        search_path.remove_prefix(std::min(end + 1, search_path.size()));
    }
}

}  // namespace

std::span<const Client> known_clients() {
    return clients;
}

std::vector<FoundClient> find_clients(std::string_view search_path, const std::vector<std::string>& python_folders,
                                      const std::vector<std::string>& node_folders,
                                      const std::function<bool(const std::string&)>& exists) {
    std::vector<std::string> programs;
    each_folder(search_path, [&](std::string folder) { programs.push_back(std::move(folder)); });
    std::vector<FoundClient> found;
    for (const Client& client : clients) {
        const auto& folders = client.kind == Kind::program         ? programs
                              : client.kind == Kind::python_module ? python_folders
                                                                   : node_folders;
        for (const std::string& folder : folders) {
            std::string path = folder + '/' + std::string(client.file);
            if (!exists(path)) continue;
            found.push_back({&client, std::move(path)});
            break;
        }
    }
    return found;
}

}  // namespace sluice
