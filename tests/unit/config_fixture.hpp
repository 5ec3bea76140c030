// A policy's world in memory: its files and its environment, so that no test of the decoder touches the machine.
#pragma once

#include <fnmatch.h>

#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <vector>

#include "config/decode.hpp"

namespace sluice::test {

struct PolicyWorld {
    std::map<std::string, std::string> files;
    std::map<std::string, std::string> variables;

    PolicyInputs inputs() const {
        const auto find = [](const auto& map, const std::string& name) {
            const auto found = map.find(name);
            return found == map.end() ? std::nullopt : std::optional<std::string>(found->second);
        };
        PolicyInputs inputs;
        inputs.read_file = [this, find](const std::string& path) { return find(files, path); };
        inputs.environment = [this, find](const std::string& name) { return find(variables, name); };
        inputs.list_files = [this](const std::string& pattern) {
            std::vector<std::string> found;
            for (const auto& [path, text] : files)
                if (::fnmatch(pattern.c_str(), path.c_str(), FNM_PATHNAME) == 0) found.push_back(path);
            return found;
        };
        inputs.default_state = "/home/tester/.local/state/sluice";
        inputs.directory = "/home/tester/policies";
        return inputs;
    }

    Decoded decode(const std::string& text) const { return decode_policy(text, "policy.yaml", inputs()); }
    Decoded load(const std::string& path) const { return load_policy(path, inputs()); }
};

/// "line:column: message" of each fault; "file:line:column: ..." where it is not policy.yaml.
inline std::vector<std::string> told(const Decoded& decoded) {
    std::vector<std::string> lines;
    for (const Fault& fault : decoded.faults) {
        std::string line = fault.file == "policy.yaml" ? "" : fault.file + ":";
        if (fault.line > 0) line += std::to_string(fault.line) + ":" + std::to_string(fault.column) + ": ";
        lines.push_back(line + (fault.warning ? "warning: " : "") + fault.message);
    }
    return lines;
}

/// All that a person would read.
inline std::string printed(const Decoded& decoded) {
    std::string text;
    for (const Fault& fault : decoded.faults) text += fault.text() + "\n";
    return text;
}

inline const std::string not_implemented = "not implemented in this version of Sluice";
inline const std::string tunnel_advice =
    "its TLS passes unopened, so no request of it is seen or changed (write mode: intercept, or take this key away)";

/// A policy with faults, and all of them.
struct Row {
    const char* policy;  // after "version: 1\n", which is its line 1
    std::vector<std::string> faults;
};

inline void check(const std::vector<Row>& rows, const PolicyWorld& world = {}) {
    for (const Row& row : rows) {
        const Decoded decoded = world.decode(std::string("version: 1\n") + row.policy);
        INFO(row.policy);
        CHECK(told(decoded) == row.faults);
        CHECK_FALSE(decoded.config);
    }
}

}  // namespace sluice::test
