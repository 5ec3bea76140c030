// Holds the source tree to its floors (proxy/README.md): which room may include which, where Asio begins, where virtual
// functions may be declared, and that what lies below the ports is pure.
#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

namespace {

namespace fs = std::filesystem;

struct Room {
    std::string folder;
    int floor;
};
const Room rooms[] = {
    {"proxy/base", 0},   {"proxy/http", 1},      {"proxy/policy", 2},   {"proxy/credentials", 2}, {"config", 3},
    {"certs", 3},        {"proxy/ports", 3},     {"proxy/exchange", 4}, {"proxy/net", 4},         {"proxy/issuers", 4},
    {"proxy/stores", 4}, {"proxy/telemetry", 4}, {"proxy/wire", 5},     {"proxy/serve", 6},       {"proxy/app", 7},
};

const Room* room_of(const std::string& path) {
    for (const Room& room : rooms) {
        if (path.starts_with(room.folder + "/")) return &room;
    }
    return nullptr;
}

struct Source {
    std::string path;  // from the root of the tree
    std::vector<std::string> lines;
};

bool is_source(const fs::path& path) {
    return path.extension() == ".hpp" || path.extension() == ".cpp";
}

std::vector<Source> sources() {
    const fs::path root = SLUICE_SOURCE_DIR;
    std::vector<Source> out;
    for (const char* top : {"proxy", "config", "certs"}) {
        for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
            if (!entry.is_regular_file() || !is_source(entry.path())) continue;
            Source source{fs::relative(entry.path(), root).generic_string(), {}};
            std::ifstream file(entry.path());
            for (std::string line; std::getline(file, line);) source.lines.push_back(line);
            out.push_back(std::move(source));
        }
    }
    return out;
}

/// Without comments to the line's end and without what stands in quotes: words in prose are no code.
std::string code_of(const std::string& line) {
    static const std::regex literal(R"("(\\.|[^"\\])*")");
    const std::string bare = std::regex_replace(line, literal, "\"\"");
    return bare.substr(0, bare.find("//"));
}

/// What an #include line names, quotes or angle brackets kept; "" for any other line.
std::string included(const std::string& line) {
    static const std::regex include(R"(^\s*#\s*include\s*([<"][^>"]+[>"]))");
    std::smatch match;
    return std::regex_search(line, match, include) ? match[1].str() : "";
}

/// Why a file may not include another, or "".
std::string judge_include(const std::string& from, const std::string& what) {
    const bool below_asio = room_of(from)->floor < 3 || from.starts_with("config/") || from.starts_with("certs/");
    if (what.starts_with("<boost/asio") || what.starts_with("<boost/beast")) {
        return below_asio ? "Asio and Beast are first seen in proxy/ports" : "";
    }
    if (what.starts_with("<")) return "";
    const std::string named = what.substr(1, what.size() - 2);
    const Room *here = room_of(from), *there = room_of(named);
    if (!there) return "names no room: includes are written from the root of the tree";
    if (!fs::exists(fs::path(SLUICE_SOURCE_DIR) / named)) return "does not exist";
    if (here == there || there->floor < here->floor) return "";
    return there->floor == here->floor ? "a neighbour on the same floor" : "a higher floor";
}

/// "path:line: what" for every line on which `judge` finds something.
template <class Judge>
std::string faults_of_tree(Judge judge) {
    std::ostringstream out;
    for (const Source& source : sources()) {
        for (std::size_t i = 0; i < source.lines.size(); ++i) {
            const std::string fault = judge(source, source.lines[i]);
            if (!fault.empty()) out << source.path << ":" << i + 1 << ": " << fault << "\n";
        }
    }
    return out.str();
}

}  // namespace

TEST_CASE("every source file lives in a room of the house") {
    const auto all = sources();
    CHECK(all.size() > 50);  // the tree is really there
    for (const Source& source : all) {
        CAPTURE(source.path);
        CHECK(room_of(source.path) != nullptr);
    }
}

TEST_CASE("a file includes only from its own room and from lower floors") {
    const std::string faults = faults_of_tree([](const Source& source, const std::string& line) -> std::string {
        const std::string what = included(line);
        if (what.empty() || !room_of(source.path)) return "";
        const std::string fault = judge_include(source.path, what);
        return fault.empty() ? "" : what + ": " + fault;
    });
    CHECK(faults == "");
}

TEST_CASE("every virtual function is declared in proxy/ports/ports.hpp") {
    static const std::regex word(R"(\bvirtual\b)");
    const std::string faults = faults_of_tree([](const Source& source, const std::string& line) -> std::string {
        const bool here = source.path != "proxy/ports/ports.hpp" && std::regex_search(code_of(line), word);
        return here ? "virtual" : "";
    });
    CHECK(faults == "");
}

TEST_CASE("below the ports nothing reads a clock, starts a thread, draws a number or opens a socket") {
    static const std::regex impure(
        R"(_clock::now\b|std::j?thread\b|std::mutex\b|std::random_device\b|<thread>|<mutex>|<random>|<sys/socket\.h>)");
    const std::string faults = faults_of_tree([](const Source& source, const std::string& line) -> std::string {
        const Room* room = room_of(source.path);
        const bool pure = room && (room->floor < 3 || room->folder == "config");
        return pure && std::regex_search(code_of(line), impure) ? line : "";
    });
    CHECK(faults == "");
}

TEST_CASE("the judge of includes itself tells right from wrong") {
    const std::string hpp = "proxy/base/text.hpp\"";
    CHECK(judge_include("proxy/http/head.cpp", "\"" + hpp) == "");
    CHECK(judge_include("proxy/base/text.cpp", "\"proxy/base/text.hpp\"") == "");
    CHECK(judge_include("proxy/base/text.cpp", "\"proxy/http/head.hpp\"") == "a higher floor");
    CHECK(judge_include("proxy/policy/vendor.cpp", "\"proxy/credentials/apply.hpp\"") ==
          "a neighbour on the same floor");
    CHECK(judge_include("config/config.hpp", "\"certs/leaf.hpp\"") == "a neighbour on the same floor");
    CHECK(judge_include("proxy/http/head.cpp", "\"proxy/base/absent.hpp\"") == "does not exist");
    CHECK(judge_include("proxy/http/head.cpp", "\"head.hpp\"") != "");
    CHECK(judge_include("proxy/http/head.cpp", "<boost/beast/http.hpp>") != "");
    CHECK(judge_include("config/config.hpp", "<boost/asio.hpp>") != "");
    CHECK(judge_include("proxy/ports/task.hpp", "<boost/asio.hpp>") == "");
    CHECK(judge_include("config/config.hpp", "<boost/json.hpp>") == "");
    CHECK(included("  #  include <boost/asio.hpp>  // why") == "<boost/asio.hpp>");
    CHECK(included("// #include \"x\"") == "");
    CHECK(code_of("int a; // virtual \"x\"") == "int a; ");
    CHECK(code_of("f(\"a \\\" virtual // b\"); virtual") == "f(\"\"); virtual");
}
