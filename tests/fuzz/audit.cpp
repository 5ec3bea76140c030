// Lines of an audit trail as whoever can write in `state` may leave them: read or refused, and judged the same in
// whatever pieces they come. What is read has bounds, and a chain goes on after the end of any file so that it is whole
// from there.
#include <algorithm>
#include <string>

#include "proxy/telemetry/audit_chain.hpp"
#include "proxy/telemetry/audit_check.hpp"
#include "tests/fuzz/require.hpp"

using namespace sluice;

namespace {

AuditFindings judged(std::string_view text, std::size_t piece, bool from_the_first) {
    AuditCheck check({}, from_the_first);
    check.begin("f");
    for (; !text.empty(); text.remove_prefix(std::min(piece, text.size()))) check.feed(text.substr(0, piece));
    return check.finish();
}

std::string told(const AuditFindings& findings) {
    std::string all = std::to_string(findings.records) + ' ' + findings.last_hash;
    for (const auto* remarks : {&findings.faults, &findings.notes})
        for (const AuditRemark& remark : *remarks) all += '\n' + std::to_string(remark.line) + ' ' + remark.what;
    return all;
}

void judge_line(std::string_view line) {
    const auto record = read_audit_line(line);
    if (!record) return;
    REQUIRE(line.size() <= most_audit_line && record->seq > 0 && record->seq <= most_audit_seq);
    REQUIRE(is_audit_hash(record->previous) && !record->time.empty() && !record->event.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view text = as_text(data + 1, size - 1);
    for (std::string_view rest = text; !rest.empty();) judge_line(take_line(rest));

    const AuditFindings findings = judged(text, text.size() + 1, false);
    REQUIRE(told(judged(text, 1 + data[0], false)) == told(findings));
    REQUIRE(findings.whole() == (findings.all_faults == 0) && findings.faults.size() <= AuditFindings::most_remarks);
    REQUIRE(findings.records == 0 ? !findings.whole()
                                  : findings.first && findings.last && is_audit_hash(findings.last_hash));
    if (judged(text, text.size() + 1, true).whole()) REQUIRE(findings.whole() && findings.first->seq == 1);

    const AuditTail tail = read_audit_tail(text, true);
    if (tail.head) REQUIRE(tail.head->seq <= most_followed_seq);
    if (findings.last && findings.last->seq > most_followed_seq) return 0;  // nobody has written so many
    REQUIRE(tail.head.has_value() == (findings.records > 0));
    if (!tail.head) return 0;
    REQUIRE(tail.head->seq == findings.last->seq && tail.head->hash == findings.last_hash);
    // What follows says of what is none of ours that it is, and the chain is no worse for it.
    AuditHead head = *tail.head;
    std::string more(text);
    if (tail.open_line) more += '\n';
    AuditRecord resumed(resumed_event, WallTime{});
    if (tail.unreadable) more += chained(resumed.add("skipped_sha256", tail.skipped_sha256), head);
    more += chained(AuditRecord("started", WallTime{}), head);
    const AuditFindings gone_on = judged(more, more.size(), false);
    REQUIRE(gone_on.last->seq == findings.last->seq + (tail.unreadable ? 2 : 1));
    REQUIRE(gone_on.all_faults <= findings.all_faults);
    return 0;
}
