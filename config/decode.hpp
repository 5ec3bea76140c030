// YAML files into a Config, or every fault of every file with its place. What is bounded: a file 16 MiB, all files 64
// MiB, 10,000 included files, 64 levels, four million nodes as written and as aliases expand them, 1,000 faults. Called
// by `run`, `check`, `explain` and reload, on whichever thread; nothing is shared between two calls.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"

namespace sluice {

struct Fault {
    std::string file;
    int line = 0, column = 0;  // from 1, in characters; 0 where the fault is the file's as a whole
    std::string message;       // "unknown key 'timeot' in vendors.pay (did you mean 'timeout'?)"
    std::string source;        // the line, or what of a long one stands around the fault; plain-text secrets masked
    int caret = 0;             // where in `source` the fault is, from 1
    bool warning = false;

    /// "policy.yaml:12:5: message\n  source\n      ^" ; "warning: " before the message of a warning.
    std::string text() const;
};

/// Where the decoder gets what it does not do itself, so that tests and the fuzzer need no file system.
struct PolicyInputs {
    /// Nothing: it cannot be read.
    std::function<std::optional<std::string>(const std::string& path)> read_file;
    /// The files that an include pattern names, in lexical order.
    std::function<std::vector<std::string>(const std::string& pattern)> list_files;
    std::function<std::optional<std::string>(const std::string& name)> environment;
    std::string default_state;  // $XDG_STATE_HOME/sluice, or ~/.local/state/sluice
    std::string directory;      // where the process is: what makes a relative path absolute

    /// The real file system and environment.
    static PolicyInputs system();
};

inline constexpr std::size_t max_policy_file = 16u << 20;   // bytes
inline constexpr std::size_t max_policy_bytes = 64u << 20;  // of all files together

struct Decoded {
    std::shared_ptr<const Config> config;  // null where any fault is not a warning
    std::vector<Fault> faults;             // by file, line, column
};

Decoded load_policy(const std::string& path, const PolicyInputs& inputs);
/// The same of a text at hand; `name` stands in the faults.
Decoded decode_policy(std::string_view text, const std::string& name, const PolicyInputs& inputs);

/// A JSON Schema (2020-12) made from the very tables that decode: what the one accepts, the other describes.
/// Pretty-printed, ends in a newline.
std::string policy_schema();

/// The effective policy as JSON, for `/config` and `sluice check -o json`: defaults filled in, secrets as their
/// references.
std::string describe_config(const Config& config);

}  // namespace sluice
