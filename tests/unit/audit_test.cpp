// The audit trail: its lines, its chain and who looks for what was done to it (without files), then the file and the
// thread that write it.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <mutex>
#include <sstream>
#include <thread>

#include "proxy/telemetry/audit_check.hpp"
#include "proxy/telemetry/audit_trail.hpp"

using namespace sluice;

namespace {

namespace fs = std::filesystem;

/// Removed with everything in it.
struct TempDir {
    TempDir() {
        path = (fs::temp_directory_path() / "sluice-audit-XXXXXX").string();
        REQUIRE(::mkdtemp(path.data()) != nullptr);
    }
    TempDir(const TempDir&) = delete;
    ~TempDir() {
        std::error_code ignored;
        fs::remove_all(path, ignored);
    }
    std::string path;
};

const WallTime at{std::chrono::milliseconds(1'795'454'401'007)};

AuditRecord minted(const std::string& scope = "a b") {
    return AuditRecord("credential_minted", at).add("credential", "pay").add("scope", scope);
}

/// So many records, one a line.
std::vector<std::string> lines_of(std::size_t count, AuditHead head = {}) {
    std::vector<std::string> lines;
    for (std::size_t i = 0; i < count; ++i) {
        lines.push_back(chained(minted("s" + std::to_string(i)), head));
        lines.back().pop_back();
    }
    return lines;
}

std::string text_of(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) text += line + '\n';
    return text;
}

AuditFindings check(const std::vector<std::string>& files, const std::string& expected = {}, std::size_t piece = 7) {
    AuditCheck checked(expected);
    for (std::size_t i = 0; i < files.size(); ++i) {
        checked.begin("f" + std::to_string(i));
        for (std::size_t from = 0; from < files[i].size(); from += piece)
            checked.feed(std::string_view(files[i]).substr(from, piece));
    }
    return checked.finish();
}

/// "f0:3 ..."
std::string told(const std::vector<AuditRemark>& remarks) {
    std::string out;
    for (const AuditRemark& remark : remarks)
        out += remark.file + ":" + std::to_string(remark.line) + " " + remark.what + "\n";
    return out;
}

bool holds(const std::string& text, std::string_view part) {
    return text.find(part) != text.npos;
}

std::string read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void write(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
}

AuditFindings check_trail(const std::string& directory, AuditBounds bounds = {}) {
    AuditCheck checked;
    for (const std::string& file : audit_files(directory, bounds)) {
        checked.begin(fs::path(file).filename());
        checked.feed(read(file));
    }
    return checked.finish();
}

/// The events of a trail, oldest first.
std::vector<std::string> events_of(const std::string& directory) {
    std::vector<std::string> events;
    for (const std::string& file : audit_files(directory)) {
        std::istringstream lines(read(file));
        for (std::string line; std::getline(lines, line);)
            if (const auto record = read_audit_line(line)) events.push_back(record->event);
    }
    return events;
}

bool eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 6000 && !condition(); ++i) std::this_thread::sleep_for(10ms);
    return condition();
}

}  // namespace

TEST_CASE("a record is one line of JSON, with its place in the chain") {
    AuditHead head;
    const std::string line = chained(AuditRecord("credential_minted", at)
                                         .add("credential", "pay")
                                         .add("audience", "")
                                         .add("lifetime_seconds", Duration(1500ms))
                                         .add("faults", std::uint64_t{3})
                                         .add("expires", at + 1h),
                                     head);
    CHECK(
        line ==
        R"({"seq":1,"time":"2026-11-23T17:20:01.007Z","event":"credential_minted","credential":"pay","lifetime_seconds":1.500,)"
        R"("faults":3,"expires":"2026-11-23T18:20:01.007Z","previous":")" +
            std::string(no_predecessor) + "\"}\n");
    CHECK(head.seq == 1);
    CHECK(head.hash == audit_hash(line.substr(0, line.size() - 1)));
    const auto next = read_audit_line(chained(minted(), head));
    CHECK(next.value().previous == audit_hash(line.substr(0, line.size() - 1)));
    CHECK(head.seq == 2);
}

TEST_CASE("times are told in UTC to the millisecond, before 1970 too") {
    CHECK(utc_text(WallTime{}) == "1970-01-01T00:00:00.000Z");
    CHECK(utc_text(WallTime{std::chrono::microseconds(1'999)}) == "1970-01-01T00:00:00.001Z");
    CHECK(utc_text(WallTime{std::chrono::milliseconds(-1)}) == "1969-12-31T23:59:59.999Z");
}

TEST_CASE("a hash is SHA-256 as other tools have it") {
    CHECK(audit_hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(is_audit_hash(audit_hash("abc")));
    CHECK(is_audit_hash(no_predecessor));
    CHECK_FALSE(is_audit_hash("BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"));
    CHECK_FALSE(is_audit_hash(audit_hash("abc").substr(1)));
}

TEST_CASE("hostile words can neither end a line, nor begin a field, nor reach a terminal, nor be long") {
    const std::string word = GENERATE(std::string("a\nb\r\n{\"seq\":9}"),
                                      std::string("\x1b[2J\x7f\xc2\x9b"
                                                  "31m"),
                                      std::string("x\",\"previous\":\"0"), std::string("\xff\xfe\x00z", 4),
                                      std::string("\u2028\u202e\\"), std::string(1'000'000, '\x01'));
    AuditHead head;
    const std::string line = chained(minted(word), head);
    CHECK(line.find('\n') == line.size() - 1);
    CHECK(line.size() < 6 * AuditRecord::most_value + 400);
    for (const char c : line.substr(0, line.size() - 1)) CHECK(static_cast<unsigned char>(c) >= 0x20);
    CHECK_FALSE(holds(line, "\x7f"));
    CHECK_FALSE(holds(line, "\xc2\x9b"));
    CHECK_FALSE(holds(line, "\u202e"));
    const auto parsed = boost::json::parse(line).as_object();
    CHECK(parsed.size() == 6);
    CHECK(parsed.at("previous").as_string() == no_predecessor.data());
    CHECK(read_audit_line(line.substr(0, line.size() - 1)));
}

TEST_CASE("what is no record is not taken for one") {
    const std::string good = lines_of(1).front();
    REQUIRE(read_audit_line(good));
    const auto with = [&good](const std::string& what, const std::string& by) {
        std::string line = good;
        line.replace(line.find(what), what.size(), by);
        return line;
    };
    const std::string bad[] = {"",
                               "{}",
                               "null",
                               "[1]",
                               good + "x",
                               good.substr(1),
                               std::string(1000, '\0'),
                               with("\"seq\":1", "\"seq\":0"),
                               with("\"seq\":1", "\"seq\":-1"),
                               with("\"seq\":1", "\"seq\":1.5"),
                               with("\"seq\":1", "\"seq\":9223372036854775807"),
                               with("\"seq\":1", "\"seq\":18446744073709551615"),
                               with("\"seq\":1", "\"seq\":\"1\""),
                               with("\"event\":\"credential_minted\"", "\"event\":\"\""),
                               with("\"event\":\"credential_minted\"", "\"event\":\"" + std::string(1000, 'x') + '"'),
                               with("\"previous\":\"0", "\"previous\":\""),
                               with("\"time\"", "\"tame\""),
                               std::string(10'000, '['),
                               "{\"a\":" + std::string(200'000, '1') + "}"};
    for (const std::string& line : bad) {
        CAPTURE(line.substr(0, 200));
        CHECK_FALSE(read_audit_line(line));
    }
}

TEST_CASE("a chain as it was written is whole, in whatever pieces it is read") {
    const auto lines = lines_of(20);
    const std::size_t piece = GENERATE(1u, 3u, 64u, 100'000u);
    const AuditFindings findings = check({text_of(lines)}, {}, piece);
    CHECK(findings.whole());
    CHECK(findings.notes.empty());
    CHECK(findings.records == 20);
    CHECK(findings.first->seq == 1);
    CHECK(findings.last->seq == 20);
    CHECK(findings.last_hash == audit_hash(lines.back()));
}

TEST_CASE("whatever is done to a chain is found, at its place") {
    struct Case {
        const char* what;
        std::function<void(std::vector<std::string>&)> tamper;
        std::vector<const char*> says;  // each fault, in order
    };
    const Case cases[] = {
        {"a changed byte",
         [](auto& lines) { lines[4].replace(lines[4].find("\"s4\""), 4, "\"s9\""); },
         {"f0:5 record 5 was changed: record 6 names another hash"}},
        {"a changed time",
         [](auto& lines) { lines[4].replace(lines[4].find("2026"), 4, "2025"); },
         {"f0:5 record 5 was changed"}},
        {"a byte more, which JSON does not mind", [](auto& lines) { lines[4] += ' '; }, {"f0:5 record 5 was changed"}},
        {"a changed link",
         [](auto& lines) { lines[4].replace(lines[4].rfind('"') - 64, 64, no_predecessor); },
         {"f0:4 record 4 was changed", "f0:5 record 5 was changed"}},
        {"a changed number",
         [](auto& lines) { lines[4].replace(lines[4].find(":5,"), 3, ":7,"); },
         {"f0:5 records 5 to 6 are missing here, after record 4 of 2026-11-23T17:20:01.007Z",
          "f0:6 record 6 stands after record 7"}},
        {"a removed line",
         [](auto& lines) { lines.erase(lines.begin() + 4); },
         {"f0:5 record 5 is missing here, after record 4 of 2026-11-23T17:20:01.007Z"}},
        {"three removed lines",
         [](auto& lines) { lines.erase(lines.begin() + 4, lines.begin() + 7); },
         {"f0:5 records 5 to 7 are missing here"}},
        {"swapped lines",
         [](auto& lines) { std::swap(lines[4], lines[5]); },
         {"f0:5 record 5 is missing here", "f0:6 record 5 stands after record 6", "f0:7 record 6 is missing here"}},
        {"a repeated line",
         [](auto& lines) { lines.insert(lines.begin() + 4, lines[3]); },
         {"f0:5 record 4 stands after record 4: lines were put in another order, or put in between"}},
        {"an inserted line",
         [](auto& lines) {
             AuditHead head{4, audit_hash(lines[3])};
             std::string forged = chained(minted("forged"), head);
             forged.pop_back();
             lines.insert(lines.begin() + 4, forged);
         },
         {"f0:6 record 5 stands after record 5"}},
        {"an inserted line that is none",
         [](auto& lines) { lines.insert(lines.begin() + 4, "# nothing happened"); },
         {"f0:5 1 line is no record, after record 4 of 2026-11-23T17:20:01.007Z, before record 5"}},
        {"an inserted empty line",
         [](auto& lines) { lines.insert(lines.begin() + 4, ""); },
         {"f0:5 1 line is no record"}},
        {"a line that was cut", [](auto& lines) { lines[4].resize(50); }, {"f0:5 1 line is no record, after record 4"}},
        {"two lines joined",
         [](auto& lines) {
             lines[4] += lines[5];
             lines.erase(lines.begin() + 5);
         },
         {"f0:5 1 line is no record"}},
        {"a line of a megabyte",
         [](auto& lines) { lines.insert(lines.begin() + 4, std::string(1'000'000, 'x')); },
         {"f0:5 1 line is no record"}},
        {"a tail that was cut inside a line",
         [](auto& lines) { lines.back().resize(30); },
         {"f0:10 the last line breaks off, after record 9"}},
        {"a changed first line",
         [](auto& lines) { lines[0].replace(lines[0].rfind('"') - 64, 1, "1"); },
         {"f0:1 the first record names one before it", "f0:1 record 1 was changed"}},
        {"a chain of another's put behind it",
         [](auto& lines) {
             const auto more = lines_of(2);
             lines.insert(lines.end(), more.begin(), more.end());
         },
         {"f0:11 record 1 stands after record 10", "f0:12"}},
        {"a chain that was begun anew",
         [](auto& lines) {
             AuditHead head;
             lines.push_back(chained(AuditRecord(begun_anew_event, at), head));
             lines.back().pop_back();
         },
         {"f0:11 the chain was begun anew"}},
        {"a line that vouches for another than was skipped",
         [](auto& lines) {
             AuditHead head{10, audit_hash(lines.back())};
             lines.push_back("torn");
             lines.push_back(chained(AuditRecord(resumed_event, at).add("skipped_sha256", audit_hash("tarn")), head));
             lines.back().pop_back();
         },
         {"f0:11 1 line is no record"}},
        {"everything", [](auto& lines) { lines = {"x"}; }, {"f0:1 1 line is no record", "there is no record"}},
        {"nothing left", [](auto& lines) { lines.clear(); }, {"f0:0 there is no record"}},
    };
    for (const Case& one : cases) {
        CAPTURE(one.what);
        auto lines = lines_of(10);
        one.tamper(lines);
        std::string text = text_of(lines);
        if (std::string(one.what) == "a tail that was cut inside a line") text.pop_back();
        const AuditFindings findings = check({text});
        const std::string faults = told(findings.faults);
        CAPTURE(faults);
        CHECK_FALSE(findings.whole());
        if (std::string(one.what) != "a chain of another's put behind it")
            CHECK(findings.all_faults <= one.says.size());
        std::size_t from = 0;
        for (const char* part : one.says) {
            const std::size_t found = faults.find(part, from);
            CAPTURE(part);
            if (std::string(part) == "f0:12") continue;
            REQUIRE(found != faults.npos);
            from = found + 1;
        }
    }
}

TEST_CASE("a chain that goes on over files is whole, and a file that is missing or out of order is found") {
    const auto lines = lines_of(30);
    const std::string a = text_of({lines.begin(), lines.begin() + 10}),
                      b = text_of({lines.begin() + 10, lines.begin() + 20}),
                      c = text_of({lines.begin() + 20, lines.end()});
    CHECK(check({a, b, c}).whole());
    CHECK(check({a, "", b + c}).whole());
    CHECK(check({a, b, c}).records == 30);
    const AuditFindings later = check({b, c});
    CHECK(later.whole());
    CHECK(holds(told(later.notes), "f0:1 begins with record 11: those before it are in no file"));
    CHECK(holds(told(check({a, c}).faults), "f1:1 records 11 to 20 are missing here"));
    CHECK(holds(told(check({b, a, c}).faults), "f1:1 record 1 stands after record 20"));
    const std::string changed = std::string(a).replace(a.find("\"s9\""), 4, "\"s0\"");
    CHECK(holds(told(check({changed, b, c}).faults), "f0:10 record 10 was changed"));
}

TEST_CASE("a trail from which nothing can have gone yet begins with the first record, or somebody took that away") {
    const auto lines = lines_of(6);
    const std::string rest = text_of({lines.begin() + 2, lines.end()});
    AuditCheck bare({}, true), whole({}, true);
    bare.begin("f0");
    bare.feed(rest);
    CHECK(holds(told(bare.finish().faults),
                "f0:1 begins with record 3, though no file has gone yet to make room: records 1 to 2 are missing"));
    whole.begin("f0");
    whole.feed(text_of(lines));
    CHECK(whole.finish().whole());
    const AuditBounds bounds{4000, 2};
    CHECK_FALSE(may_have_dropped({"s/audit.jsonl"}, bounds));
    CHECK_FALSE(may_have_dropped({"s/audit.jsonl.1", "s/audit.jsonl"}, bounds));
    CHECK_FALSE(may_have_dropped({"s/audit.jsonl.2"}, bounds));  // none is begun before the one before it is there
    CHECK(may_have_dropped({"s/audit.jsonl.2", "s/audit.jsonl.1"}, bounds));
    CHECK(may_have_dropped({"s/audit.jsonl.2", "s/audit.jsonl.1", "s/audit.jsonl"}, bounds));
}

TEST_CASE("a cut at a line's end, and a chain written anew, are found by a hash that was kept elsewhere") {
    const auto lines = lines_of(10);
    CHECK(check({text_of(lines)}, audit_hash(lines.back())).whole());
    CHECK(check({text_of(lines)}, audit_hash(lines.front())).whole());
    const std::vector<std::string> shorter(lines.begin(), lines.end() - 1);
    CHECK(check({text_of(shorter)}).whole());
    CHECK(holds(told(check({text_of(shorter)}, audit_hash(lines.back())).faults), "f0:0 no record has the hash"));
}

TEST_CASE("faults without end are counted, and a few are told") {
    auto lines = lines_of(300);
    for (std::size_t i = 0; i < lines.size(); i += 2) lines[i] += ' ';
    const AuditFindings findings = check({text_of(lines)}, {}, 1000);
    CHECK(findings.faults.size() == AuditFindings::most_remarks);
    CHECK(findings.all_faults == 150);
}

TEST_CASE("how a chain goes on is read from the end of a file, whatever that looks like") {
    const auto lines = lines_of(5);
    const std::string text = text_of(lines);
    SECTION("whole") {
        const AuditTail tail = read_audit_tail(text, true);
        CHECK(tail.head->seq == 5);
        CHECK(tail.head->hash == audit_hash(lines.back()));
        CHECK_FALSE(tail.open_line);
        CHECK_FALSE(tail.unreadable);
    }
    SECTION("without the last line's end") {
        const AuditTail tail = read_audit_tail(text.substr(0, text.size() - 1), true);
        CHECK(tail.head->seq == 5);
        CHECK(tail.open_line);
        CHECK_FALSE(tail.unreadable);
    }
    SECTION("torn") {
        const AuditTail tail = read_audit_tail(text.substr(0, text.size() - 20), true);
        CHECK(tail.head->seq == 4);
        CHECK(tail.open_line);
        CHECK(tail.unreadable);
        CHECK(tail.skipped_sha256 == audit_hash(lines.back().substr(0, lines.back().size() - 19)));
    }
    SECTION("with zeros behind it, as a power cut leaves them") {
        const std::string zeros(4096, '\0');
        const AuditTail tail = read_audit_tail(text + zeros, true);
        CHECK(tail.head->seq == 5);
        CHECK(tail.skipped_bytes == 4096);
        CHECK(tail.skipped_sha256 == audit_hash(zeros));
    }
    SECTION("with an empty line behind it") {
        const AuditTail tail = read_audit_tail(text + "\n", true);
        CHECK(tail.head->seq == 5);
        CHECK(tail.unreadable);
        CHECK(tail.skipped_bytes == 0);
    }
    SECTION("a part of it only: its first line may have begun before") {
        CHECK(read_audit_tail(text, false).head->seq == 5);
        CHECK_FALSE(read_audit_tail(text_of({lines.front()}), false).head);
    }
    SECTION("nothing that is a record") {
        CHECK_FALSE(read_audit_tail("", true).head);
        CHECK_FALSE(read_audit_tail("\n", true).head);
        CHECK_FALSE(read_audit_tail("x\ny\nz", true).head);
    }
}

TEST_CASE("the trail is its owner's, and goes on where it was left, also from another process's records") {
    const TempDir directory;
    const std::string state = directory.path + "/a/state";
    {
        AuditFile one(state), other(state);
        CHECK(one.append({minted(), minted()}) == "");
        CHECK(other.append({minted()}) == "");
        CHECK(one.append({minted()}) == "");
        CHECK(other.append({minted()}) == "");
        CHECK(one.path() == state + "/audit.jsonl");
    }
    CHECK(AuditFile(state).append({minted()}) == "");
    const AuditFindings findings = check_trail(state);
    CHECK(told(findings.faults) == "");
    CHECK(told(findings.notes) == "");
    CHECK(findings.records == 6);
    struct stat status {};
    REQUIRE(::stat((state + "/audit.jsonl").c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);
    REQUIRE(::stat(state.c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0700);
}

TEST_CASE("a line that a crash tore stays, is told of in the trail, and breaks nothing") {
    const TempDir directory;
    REQUIRE(AuditFile(directory.path).append({minted(), minted(), minted()}) == "");
    const std::string path = directory.path + "/audit.jsonl", text = read(path);
    const std::string end =
        GENERATE(std::string("torn"), std::string("torn\nmore\nthan one"), std::string(5000, '\0'),
                 std::string("torn\n"), std::string("\n"), std::string("\n\n"), std::string(200'000, 'x'));
    write(path, text + end);
    CHECK_FALSE(check_trail(directory.path).whole());
    AuditFile file(directory.path);
    CHECK(file.append({minted()}) == "");
    CHECK(file.append({minted()}) == "");
    const AuditFindings findings = check_trail(directory.path);
    CHECK(told(findings.faults) == "");
    CHECK(holds(told(findings.notes), "audit.jsonl:4 "));
    CHECK(holds(told(findings.notes), "as a crash or a full disk leaves them: record 4 vouches for them"));
    CHECK(events_of(directory.path) == std::vector<std::string>{"credential_minted", "credential_minted",
                                                                "credential_minted", "audit_resumed",
                                                                "credential_minted", "credential_minted"});
    CHECK(read(path).starts_with(text + end));
}

TEST_CASE("a last line without its end only gets that, and nothing is said of it") {
    const TempDir directory;
    REQUIRE(AuditFile(directory.path).append({minted(), minted()}) == "");
    const std::string path = directory.path + "/audit.jsonl", text = read(path);
    write(path, text.substr(0, text.size() - 1));
    CHECK(AuditFile(directory.path).append({minted()}) == "");
    CHECK(check_trail(directory.path).whole());
    CHECK(check_trail(directory.path).records == 3);
    CHECK(check_trail(directory.path).notes.empty());
}

TEST_CASE("where no record is left to go on from, the chain begins anew and says so; that is no whole chain") {
    const TempDir directory;
    const std::string rubbish = GENERATE(std::string("rubbish\n"), std::string("\n"), std::string(600'000, 'x'));
    write(directory.path + "/audit.jsonl", rubbish);
    CHECK(AuditFile(directory.path).append({minted()}) == "");
    CHECK(events_of(directory.path) == std::vector<std::string>{"audit_begun_anew", "credential_minted"});
    const AuditFindings findings = check_trail(directory.path);
    CHECK_FALSE(findings.whole());
    CHECK(findings.records == 2);
}

TEST_CASE("a file that is full becomes an older one, the oldest goes, and the chain goes on over them and restarts") {
    const TempDir directory;
    const AuditBounds bounds{4000, 2};
    const int at_once = GENERATE(1, 7);  // records between restarts
    for (int i = 0; i < 70; i += at_once) {
        AuditFile file(directory.path, bounds);
        for (int j = 0; j < at_once; ++j) REQUIRE(file.append({minted(std::to_string(i + j))}) == "");
    }
    const auto files = audit_files(directory.path, bounds);
    REQUIRE(files.size() == 3);
    for (const std::string& file : files) {
        CAPTURE(file);
        CHECK(fs::file_size(file) < 4000 + 400);
        CHECK(fs::file_size(file) > 0);
    }
    CHECK_FALSE(fs::exists(directory.path + "/audit.jsonl.3"));
    const AuditFindings findings = check_trail(directory.path, bounds);
    CHECK(told(findings.faults) == "");
    CHECK(holds(told(findings.notes), "audit.jsonl.2:1 begins with record "));
    CHECK(findings.last->seq == 70);
}

TEST_CASE("a record with a number that nobody can have counted to is found, and what comes after it stays a chain") {
    const TempDir dir;
    const std::string file = dir.path + "/audit.jsonl";
    const bool while_it_runs = GENERATE(true, false);
    constexpr std::uint64_t one = 1;
    const std::uint64_t number = GENERATE(one << 61, (one << 61) + 1, (one << 62) - 1, one << 62, (one << 62) + 1,
                                          (one << 63) - 1, one << 63, ~std::uint64_t{0});
    CAPTURE(while_it_runs, number);
    AuditFile first(dir.path);
    REQUIRE(first.append({minted(), minted()}).empty());
    AuditHead forged = read_audit_tail(read(file), true).head.value();
    forged.seq = number - 1;
    write(file, read(file) + chained(minted("forged"), forged));
    AuditFile second(dir.path);
    for (int i = 0; i < 3; ++i) REQUIRE((while_it_runs ? first : second).append({minted()}).empty());

    const AuditFindings findings = check_trail(dir.path);
    INFO(told(findings.faults) << told(findings.notes));
    const bool is_record = number <= most_audit_seq;  // else it is a line that is none, as a crash leaves them
    CHECK(findings.whole() != is_record);
    CHECK(holds(told(is_record ? findings.faults : findings.notes), "audit.jsonl:3 "));
    CHECK(findings.all_faults <= 2);  // there, and nowhere further on
    CHECK(findings.last->event == "credential_minted");
    CHECK(findings.last->seq == (number <= most_followed_seq ? number + 3 : 6));  // 3 vouches for what is not followed
}

TEST_CASE("two that write one trail and begin new files lose nothing and keep one chain", "[multi-worker]") {
    const TempDir directory;
    const AuditBounds bounds{3000, 50};
    const auto write_some = [&] {
        AuditFile file(directory.path, bounds);
        for (int i = 0; i < 100; ++i)
            if (const std::string fault = file.append({minted()}); !fault.empty()) return fault;
        return std::string();
    };
    std::string one, other;
    std::thread first([&] { one = write_some(); }), second([&] { other = write_some(); });
    first.join();
    second.join();
    CHECK(one == "");
    CHECK(other == "");
    const AuditFindings findings = check_trail(directory.path, bounds);
    CHECK(told(findings.faults) == "");
    CHECK(findings.records == 200);
}

TEST_CASE("a crash while a new file was begun loses nothing of the chain") {
    const TempDir directory;
    const std::string path = directory.path + "/audit.jsonl";
    REQUIRE(AuditFile(directory.path).append({minted(), minted()}) == "");
    fs::rename(path, path + ".1");
    const std::string new_file = GENERATE(std::string("-"), std::string(""), std::string("torn"));
    const std::string old_end = GENERATE(std::string(""), std::string("torn before"));
    if (new_file != "-") write(path, new_file);
    write(path + ".1", read(path + ".1") + old_end);
    CHECK(AuditFile(directory.path).append({minted()}) == "");
    const AuditFindings findings = check_trail(directory.path);
    CAPTURE(read(path));
    CHECK(told(findings.faults) == "");
    CHECK(findings.last->seq == (new_file == "torn" || !old_end.empty() ? 4u : 3u));
}

TEST_CASE("what is taken away while it is written shows: the next record follows what was written, not what is left") {
    const TempDir directory;
    AuditFile file(directory.path);
    REQUIRE(file.append({minted("a"), minted("b"), minted("c")}) == "");
    const std::string path = directory.path + "/audit.jsonl", text = read(path);
    SECTION("the last line") {
        write(path, text.substr(0, text.rfind('\n', text.size() - 2) + 1));
        CHECK(file.append({minted()}) == "");
        CHECK(
            holds(told(check_trail(directory.path).faults), "audit.jsonl:3 record 3 is missing here, after record 2"));
    }
    SECTION("the file") {
        fs::remove(path);
        CHECK(file.append({minted()}) == "");
        CHECK(holds(told(check_trail(directory.path).notes), "audit.jsonl:1 begins with record 4"));
    }
    SECTION("nothing, but the last line is another") {
        std::string other = text;
        other.replace(other.find("\"c\""), 3, "\"d\"");
        write(path, other);
        CHECK(file.append({minted()}) == "");
        CHECK(holds(told(check_trail(directory.path).faults), "audit.jsonl:3 record 3 was changed"));
    }
}

TEST_CASE(
    "a last record that is forged while it is written shows, also behind another one that follows it, and is told of "
    "once") {
    const TempDir directory;
    const AuditBounds bounds{4000, 4};
    AuditFile file(directory.path, bounds);
    REQUIRE(file.append({minted("a"), minted("b"), minted("c")}) == "");
    CHECK(file.take_alarm() == "");
    const std::string path = directory.path + "/audit.jsonl", text = read(path);
    std::string forged = text;
    forged.replace(forged.find("\"c\""), 3, GENERATE(std::string("\"d\""), std::string("\"longer\"")));
    write(path, forged);
    if (GENERATE(true, false)) {
        AuditFile other(directory.path, bounds);
        const int more = GENERATE(1, 30);  // over a new file too
        for (int i = 0; i < more; ++i) REQUIRE(other.append({minted("forged, too")}) == "");
        CHECK(other.take_alarm() == "");
    } else if (forged.size() == text.size()) {
        write(path, forged + "\n");
    }
    CHECK(file.append({minted()}) == "");
    CHECK_FALSE(check_trail(directory.path, bounds).whole());
    CHECK(holds(file.take_alarm(), "record 3, which was written last, was changed or taken away"));
    write(path, text);
    CHECK(file.append({minted()}) == "");
    CHECK(file.take_alarm() == "");
}

TEST_CASE("what others write behind the last record is followed, over as many new files as it takes, and is no alarm") {
    const TempDir directory;
    const AuditBounds bounds{2000, 3};
    AuditFile file(directory.path, bounds);
    REQUIRE(file.append({minted(), minted()}) == "");
    const int more = GENERATE(1, 20, 100);  // in the file, in a newer one, and so that ours has gone
    for (int i = 0; i < more; ++i) REQUIRE(AuditFile(directory.path, bounds).append({minted()}) == "");
    CHECK(file.append({minted()}) == "");
    CHECK(file.take_alarm() == "");
    const AuditFindings findings = check_trail(directory.path, bounds);
    CHECK(told(findings.faults) == "");
    CHECK(findings.last->seq == static_cast<std::uint64_t>(more + 3));
}

TEST_CASE("a trail says once that somebody has changed it") {
    const TempDir directory;
    std::mutex mutex;
    std::vector<std::string> notices;
    const auto notify = [&](const AuditNotice& notice) {
        const std::lock_guard lock(mutex);
        notices.push_back((notice.altered ? "altered " : "other ") + std::string(notice.detail));
    };
    {
        AuditTrail trail(directory.path, notify, {.flush = 60s});
        trail.add(minted("a"));
        CHECK(eventually([&trail] { return trail.counts().written == 1; }));
        const std::string path = directory.path + "/audit.jsonl";
        write(path, read(path).replace(read(path).find("\"a\""), 3, "\"forged\""));
        trail.add(minted("b"));
        CHECK(eventually([&trail] { return trail.counts().written == 2; }));
        trail.add(minted("c"));
    }
    REQUIRE(notices.size() == 1);
    CHECK(notices[0].starts_with("altered record 1, which was written last, was changed or taken away"));
    CHECK_FALSE(check_trail(directory.path).whole());
}

TEST_CASE("what stands in the file's place is not written to, and the fault says what to do") {
    const TempDir directory;
    const std::string path = directory.path + "/audit.jsonl";
    SECTION("a link") {
        write(directory.path + "/elsewhere", "");
        fs::create_symlink(directory.path + "/elsewhere", path);
        CHECK(holds(AuditFile(directory.path).append({minted()}), "cannot open " + path));
        CHECK(read(directory.path + "/elsewhere") == "");
    }
    SECTION("a pipe") {
        REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
        CHECK(holds(AuditFile(directory.path).append({minted()}), "is no regular file; move it away"));
    }
    SECTION("a directory") {
        fs::create_directory(path);
        CHECK(holds(AuditFile(directory.path).append({minted()}), "cannot open " + path));
    }
    SECTION("no state") {
        CHECK(holds(AuditFile("").append({minted()}), "there is no state directory"));
    }
    SECTION("a file where the directory should be") {
        write(directory.path + "/file", "");
        CHECK(holds(AuditFile(directory.path + "/file").append({minted()}), "cannot open"));
    }
}

TEST_CASE("a disk that fills up in the middle of a line leaves none, and the next attempt goes on") {
    const TempDir directory;
    AuditFile file(directory.path);
    REQUIRE(file.append({minted()}) == "");
    const std::string path = directory.path + "/audit.jsonl", before = read(path);
    rlimit limit{};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &limit) == 0);
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit tight{before.size() + 100, limit.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &tight) == 0);
    const std::string fault = file.append({minted(), minted()});
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
    std::signal(SIGXFSZ, handler);
    CHECK(holds(fault, "cannot write to " + path));
    CHECK(read(path) == before);
    CHECK(file.append({minted(), minted()}) == "");
    CHECK(check_trail(directory.path).whole());
    CHECK(check_trail(directory.path).records == 3);
}

TEST_CASE("a trail takes records from any thread and has all of them at its end", "[multi-worker]") {
    const TempDir directory;
    {
        AuditTrail trail(directory.path, [](const AuditNotice&) {}, {.flush = 60s});
        std::vector<std::thread> threads;
        for (int i = 0; i < 4; ++i)
            threads.emplace_back([&trail] {
                for (int j = 0; j < 250; ++j) trail.add(minted());
            });
        for (std::thread& thread : threads) thread.join();
        CHECK(eventually([&trail] { return trail.counts().written == 1000; }));
        trail.add(minted());
    }
    CHECK(check_trail(directory.path).whole());
    CHECK(check_trail(directory.path).records == 1001);
}

TEST_CASE(
    "a disk that refuses is told of once, and once when it takes again; what waited is written, what was over is "
    "counted") {
    const TempDir directory;
    const std::string state = directory.path + "/state";
    write(state, "a file where the directory should be");
    std::mutex mutex;
    std::vector<std::string> notices;
    const auto notify = [&](const AuditNotice& notice) {
        const std::lock_guard lock(mutex);
        notices.push_back((notice.failing ? "failing " : "working ") + std::to_string(notice.lost) + " " +
                          std::string(notice.detail));
    };
    const auto how_many = [&] {
        const std::lock_guard lock(mutex);
        return notices.size();
    };
    {
        AuditTrail trail(state, notify, {.again = 1ms, .flush = 60s, .most_waiting = 10 * minted().text().size()});
        for (int i = 0; i < 15; ++i) trail.add(minted());
        CHECK(eventually([&trail] { return trail.counts().failures >= 5; }));
        CHECK(how_many() == 1);
        CHECK(trail.counts().written == 0);
        CHECK(trail.counts().lost == 5);
        fs::remove(state);
        CHECK(eventually([&trail] { return trail.counts().written == 10; }));
        CHECK(eventually([&] { return how_many() == 2; }));
        trail.add(minted());
    }
    REQUIRE(notices.size() == 2);
    CHECK(holds(notices[0], "failing 0 cannot open " + state + "/audit.jsonl: Not a directory; let uid "));
    CHECK(notices[1] == "working 5 ");
    const auto events = events_of(state);
    REQUIRE(events.size() == 12);
    CHECK(events[10] == "audit_lost");
    CHECK(holds(read(state + "/audit.jsonl"), "\"records\":5"));
    CHECK(check_trail(state).whole());
}

TEST_CASE("a trail that cannot be written ends all the same, and says what is lost") {
    const TempDir directory;
    const bool no_state = GENERATE(false, true);
    write(directory.path + "/file", "");
    std::vector<std::string> notices;
    {
        AuditTrail trail(no_state ? "" : directory.path + "/file",
                         [&](const AuditNotice& notice) { notices.push_back(std::to_string(notice.lost)); },
                         {.flush = 60s});
        trail.add(minted());
        trail.add(minted());
    }
    REQUIRE(notices.size() == 2);
    CHECK(notices.back() == "2");
}

TEST_CASE("who holds the file's lock holds a trail up, and nobody else") {
    const TempDir directory;
    REQUIRE(AuditFile(directory.path).append({minted()}) == "");
    const int reader = ::open((directory.path + "/audit.jsonl").c_str(), O_RDONLY | O_CLOEXEC);
    REQUIRE(::flock(reader, LOCK_SH) == 0);
    AuditTrail trail(directory.path, [](const AuditNotice&) {}, {.flush = 60s});
    trail.add(minted());
    trail.add(minted());
    CHECK(trail.counts().written == 0);
    ::flock(reader, LOCK_UN);
    ::close(reader);
    CHECK(eventually([&trail] { return trail.counts().written == 2; }));
}
