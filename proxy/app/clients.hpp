// What the clients of a machine make of the variables of `sluice env`: which each reads, which it ignores, and what
// helps then. As measured (the table of clients in README.md). Pure.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

/// How far a client finds the proxy and trusts our CA by the variables alone.
enum class Reads : unsigned char { yes, with_help, no };

struct Client {
    enum class Kind : unsigned char { program, python_module, node_module };
    Kind kind;
    std::string_view name;  // as people call it
    std::string_view file;  // of the program, the module's folder
    Reads proxy, ca;
    std::string_view advice;  // what it ignores, and what to do; "" where nothing
};

std::span<const Client> known_clients();

struct FoundClient {
    const Client* client;
    std::string path;
};

/// Those that are there: programs in the folders of `search_path` ("a:b"), modules in `module_folders`. `exists` is
/// asked of whole paths.
std::vector<FoundClient> find_clients(std::string_view search_path, const std::vector<std::string>& python_folders,
                                      const std::vector<std::string>& node_folders,
                                      const std::function<bool(const std::string&)>& exists);

}  // namespace sluice
