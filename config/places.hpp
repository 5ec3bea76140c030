// Where each key of a policy is written, for `sluice explain`. It keeps the files and the nodes of the load that filled
// it, which nobody who runs has a use for: so this is no part of a Config. Pure; one thread.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/yaml.hpp"

namespace sluice {

struct PolicyPlace {
    std::string file;
    int line = 0;  // from 1

    bool operator==(const PolicyPlace&) const = default;
};

class PolicyPlaces {
  public:
    /// Keys and indexes of lists, from the top: {"vendors", "pay", "limit", "0", "rate"}.
    using Path = std::vector<std::string>;

    PolicyPlaces() = default;
    PolicyPlaces(std::deque<SourceFile> files, std::deque<Node> nodes, std::vector<const Node*> roots)
        : files_(std::move(files)), nodes_(std::move(nodes)), roots_(std::move(roots)) {}
    PolicyPlaces(PolicyPlaces&&) = default;
    PolicyPlaces& operator=(PolicyPlaces&&) = default;

    /// The line of the key, or of the item. Nothing: no file has it.
    std::optional<PolicyPlace> find(const Path& path) const;
    /// How many items the list there has; nothing: there is no list.
    std::optional<std::size_t> items(const Path& path) const;
    /// The scalar there as it is written; "" where there is none.
    std::string text(const Path& path) const;

  private:
    struct Found {
        const Node* at = nullptr;     // the key, or the item
        const Node* value = nullptr;  // what is there
    };
    Found look(const Path& path) const;

    std::deque<SourceFile> files_;  // the nodes point at them, and to each other: neither may move
    std::deque<Node> nodes_;
    std::vector<const Node*> roots_;  // one a file, in the order of reading
};

struct PolicyInputs;
struct Decoded;
/// As config/decode.hpp has it; `places` is of that policy, if it is sound.
Decoded load_policy(const std::string& path, const PolicyInputs& inputs, PolicyPlaces& places);

}  // namespace sluice
