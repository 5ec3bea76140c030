#include "proxy/telemetry/audit_chain.hpp"

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include "proxy/base/codec.hpp"
#include "proxy/credentials/digest.hpp"

namespace sluice {

namespace {

namespace json = boost::json;

constexpr std::size_t most_word = 64;

std::string text_at(const json::object& object, std::string_view key) {
    const json::value* value = object.if_contains(key);
    return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

}  // namespace

std::string audit_hash(std::string_view line) {
    return to_hex(hash_of(HashAlgorithm::sha256, line).bytes());
}

bool is_audit_hash(std::string_view text) {
    return text.size() == no_predecessor.size() && std::all_of(text.begin(), text.end(), [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
           });
}

std::string chained(const AuditRecord& record, AuditHead& head) {
    std::string line = "{\"seq\":" + std::to_string(head.seq + 1) + ',';
    line.append(record.text()).append(",\"previous\":\"").append(head.hash).append("\"}");
    ++head.seq;
    head.hash = audit_hash(line);
    line += '\n';
    return line;
}

std::optional<AuditLine> read_audit_line(std::string_view line) {
    if (line.size() > most_audit_line) return {};
    boost::system::error_code error;
    const json::value value = json::parse(json::string_view(line.data(), line.size()), error);
    const json::object* object = error ? nullptr : value.if_object();
    const json::value* seq = object ? object->if_contains("seq") : nullptr;
    if (!seq || !seq->is_int64() || seq->get_int64() <= 0) return {};
    AuditLine read{static_cast<std::uint64_t>(seq->get_int64()), text_at(*object, "time"), text_at(*object, "event"),
                   text_at(*object, "previous"), text_at(*object, "skipped_sha256")};
    const auto is_word = [](const std::string& text) { return !text.empty() && text.size() <= most_word; };
    if (read.seq > most_audit_seq || !is_word(read.time) || !is_word(read.event) || !is_audit_hash(read.previous)) return {};
    return read;
}

AuditTail read_audit_tail(std::string_view bytes, bool whole) {
    AuditTail tail;
    if (bytes.empty()) return tail;
    tail.open_line = bytes.back() != '\n';
    const std::string_view all = tail.open_line ? bytes : bytes.substr(0, bytes.size() - 1);
    for (std::size_t end = all.size();;) {
        const std::size_t before = end == 0 ? all.npos : all.rfind('\n', end - 1);
        const std::size_t begin = before == all.npos ? 0 : before + 1;
        if (before == all.npos && !whole) return tail;  // the line begins somewhere before
        const std::string_view line = all.substr(begin, end - begin);
        if (const auto read = read_audit_line(line); read && read->seq <= most_followed_seq) {
            tail.head = AuditHead{read->seq, audit_hash(line)};
            tail.unreadable = end < all.size();
            if (!tail.unreadable) return tail;
            tail.skipped_bytes = all.size() - end - 1;
            tail.skipped_sha256 = audit_hash(all.substr(end + 1));
            return tail;
        }
        if (before == all.npos) return tail;
        end = before;
    }
}

}  // namespace sluice
