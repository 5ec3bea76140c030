#include "proxy/http/fields.hpp"

#include <string.h>  // explicit_bzero

#include <algorithm>
#include <cstring>

#include "proxy/base/text.hpp"

namespace sluice {

// The length alone rules out nearly every name, so that a field costs one comparison or none.
Known classify(std::string_view name) {
    const auto is = [name](std::string_view known) { return same_text(name, known); };
    if (name.empty()) return Known::other;
    if (lower(name[0]) == 's') {
        if (same_text(name.substr(0, 7), "sluice-")) return Known::sluice;
        return is("sec-fetch-site") ? Known::sec_fetch_site : Known::other;
    }
    switch (name.size()) {
    case 2: return is("te") ? Known::te : Known::other;
    case 4: return is("host") ? Known::host : Known::other;
    case 6: return is("expect") ? Known::expect : is("origin") ? Known::origin : Known::other;
    case 7: return is("upgrade") ? Known::upgrade : is("trailer") ? Known::trailer : Known::other;
    case 10: return is("connection") ? Known::connection : is("keep-alive") ? Known::keep_alive : Known::other;
    case 12: return is("content-type") ? Known::content_type : Known::other;
    case 13: return is("authorization") ? Known::authorization : Known::other;
    case 14: return is("content-length") ? Known::content_length : Known::other;
    case 15: return is("accept-encoding") ? Known::accept_encoding : Known::other;
    case 16: return is("proxy-connection") ? Known::proxy_connection : Known::other;
    case 17: return is("transfer-encoding") ? Known::transfer_encoding : Known::other;
    case 18: return is("proxy-authenticate") ? Known::proxy_authenticate : Known::other;
    case 19: return is("proxy-authorization") ? Known::proxy_authorization : Known::other;
    case 25: return is("proxy-authentication-info") ? Known::proxy_authentication_info : Known::other;
    default: return Known::other;
    }
}

bool is_hop_by_hop(Known known) {
    switch (known) {
    case Known::connection:
    case Known::keep_alive:
    case Known::proxy_connection:
    case Known::te:
    case Known::trailer:
    case Known::transfer_encoding:
    case Known::upgrade:
    case Known::proxy_authorization:
    case Known::proxy_authenticate:
    case Known::proxy_authentication_info: return true;
    case Known::other:
    case Known::host:
    case Known::content_length:
    case Known::content_type:
    case Known::expect:
    case Known::authorization:
    case Known::origin:
    case Known::sec_fetch_site:
    case Known::accept_encoding:
    case Known::sluice: return false;
    }
    return false;
}

namespace {

/// To a vendor that reads fields as CGI variables; the name itself is `Known`.
bool may_be_taken_for_framing(std::string_view name) {
    constexpr std::string_view length = "content-length", coding = "transfer-encoding";
    if (name.size() == length.size()) return same_variable(name, length);
    return name.size() == coding.size() && same_variable(name, coding);
}

}  // namespace

bool may_be_trailer(std::string_view name) {
    if (classify(name) != Known::other || may_be_taken_for_framing(name)) return false;
    constexpr std::string_view never[] = {
        // routing, and who asks
        "forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-real-ip",
        "cookie", "set-cookie", "www-authenticate",
        // what modifies the request
        "cache-control", "max-forwards", "pragma", "range", "if-match", "if-none-match", "if-modified-since",
        "if-unmodified-since", "if-range",
        // what says how to take the answer, or to read the content
        "age", "date", "expires", "location", "retry-after", "vary", "warning", "content-encoding", "content-range"};
    return std::none_of(std::begin(never), std::end(never), [&](std::string_view one) { return same_text(name, one); });
}

bool same_variable(std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
        return lower(x == '_' ? '-' : x) == lower(y == '_' ? '-' : y);
    });
}

namespace {

/// Calls `visit` with each element of a comma-separated list (RFC 9110 5.6.1) until it returns false.
template <class Visit>
bool each_element(std::string_view list, Visit visit) {
    while (!list.empty()) {
        const std::size_t end = std::min(list.find(','), list.size());
        const std::string_view element = trimmed(list.substr(0, end));
        if (!element.empty() && !visit(element)) return false;
        list.remove_prefix(std::min(end + 1, list.size()));
    }
    return true;
}

/// Does `Known` alone say which name it is? `other` and `sluice` stand for many.
bool is_one_name(Known known) {
    return known != Known::other && known != Known::sluice;
}

/// May `Connection` take this field away? Not one that the proxy judges by: what was judged must be what is sent. Nor
/// the cookies, which say who is asking just as Authorization does.
bool may_be_nominated(std::string_view name) {
    return classify(name) == Known::other && !same_text(name, "cookie") && !same_text(name, "set-cookie");
}

char* put(char* at, std::string_view text) {
    std::memcpy(at, text.data(), text.size());
    return at + text.size();
}

}  // namespace

Fields::Fields(Fields&& other) noexcept {
    text_.swap(other.text_);
    marks_.swap(other.marks_);
}

Fields& Fields::operator=(Fields other) noexcept {  // what was here leaves with `other`, and is wiped
    text_.swap(other.text_);
    marks_.swap(other.marks_);
    return *this;
}

void Fields::wipe_and_clear() {
    // Replaced and removed fields still lie inside the text, so its size covers whatever was added since the last
    // clearing.
    explicit_bzero(text_.data(), text_.size());
    clear();
}

void Fields::append_text(std::string_view name, std::string_view value) {
    const std::size_t needed = text_.size() + name.size() + value.size();
    if (needed <= text_.capacity()) {
        text_.append(name).append(value);
        return;
    }
    // By hand: the arguments may be views into the old block, and the old block may hold secrets.
    std::string grown;
    grown.reserve(std::max<std::size_t>({needed, text_.capacity() * 2, 1024}));
    grown.append(text_).append(name).append(value);
    text_.swap(grown);
    explicit_bzero(grown.data(), grown.size());
}

Fields::Mark Fields::mark_at(std::size_t at, Known known, std::string_view name, std::string_view value) {
    const auto narrow = [](std::size_t size) { return static_cast<std::uint32_t>(size); };
    return {narrow(at), narrow(name.size()), narrow(at + name.size()), narrow(value.size()), known};
}

void Fields::add(Known known, std::string_view name, std::string_view value) {
    const Mark mark = mark_at(text_.size(), known, name, value);
    append_text(name, value);
    marks_.push_back(mark);
}

std::string_view Fields::hold(std::string_view raw) {
    const std::size_t at = text_.size();
    append_text(raw, {});
    return std::string_view(text_).substr(at);
}

void Fields::mark(std::string_view name, std::string_view value) {
    const auto offset = [this](std::string_view part) { return static_cast<std::uint32_t>(part.data() - text_.data()); };
    marks_.push_back({offset(name), static_cast<std::uint32_t>(name.size()), offset(value), static_cast<std::uint32_t>(value.size()), classify(name)});
}

Field Fields::operator[](std::size_t i) const {
    const Mark& mark = marks_[i];
    return {mark.known, name_of(mark), value_of(mark)};
}

bool Fields::is_named(const Mark& mark, Known known, std::string_view name) const {
    if (mark.known != known) return false;
    if (is_one_name(known)) return true;
    return same_text(name_of(mark), name);
}

void Fields::set(std::string_view name, std::string_view value) {
    const Known known = classify(name);
    const auto same = [&](const Mark& mark) { return is_named(mark, known, name); };
    const auto first = std::find_if(marks_.begin(), marks_.end(), same);
    if (first == marks_.end()) return add(known, name, value);
    // The later ones go before the text moves: `name` may be a view into it.
    marks_.erase(std::remove_if(first + 1, marks_.end(), same), marks_.end());
    *first = mark_at(text_.size(), known, name, value);
    append_text(name, value);
}

std::size_t Fields::remove(std::string_view name) {
    const Known known = classify(name);
    return std::erase_if(marks_, [&](const Mark& mark) { return is_named(mark, known, name); });
}

std::size_t Fields::remove(Known known) {
    return std::erase_if(marks_, [&](const Mark& mark) { return mark.known == known; });
}

std::size_t Fields::remove_lookalikes(std::string_view name) {
    return std::erase_if(marks_, [&](const Mark& mark) {
        const std::string_view own = name_of(mark);
        return own.size() == name.size() && same_variable(own, name) && !same_text(own, name);
    });
}

void Fields::remove_nominated(std::string_view connection) {
    each_element(connection, [this](std::string_view name) {
        if (may_be_nominated(name)) remove(name);
        return true;
    });
}

void Fields::remove_all_in(const Fields& others) {
    std::erase_if(marks_, [&](const Mark& mark) {
        const std::string_view own = name_of(mark);
        for (const Field other : others) {
            if (same_variable(own, other.name)) return true;
        }
        return false;
    });
}

std::optional<std::string_view> Fields::find(std::string_view name) const {
    const Known known = classify(name);
    for (std::size_t i = 0; i < marks_.size(); ++i) {
        if (is_named(marks_[i], known, name)) return (*this)[i].value;
    }
    return {};
}

std::optional<std::string_view> Fields::find(Known known) const {
    for (std::size_t i = 0; i < marks_.size(); ++i) {
        if (marks_[i].known == known) return (*this)[i].value;
    }
    return {};
}

std::size_t Fields::count(Known known) const {
    return static_cast<std::size_t>(
        std::count_if(marks_.begin(), marks_.end(), [&](const Mark& mark) { return mark.known == known; }));
}

bool Fields::list_holds(Known known, std::string_view token) const {
    for (std::size_t i = 0; i < marks_.size(); ++i) {
        if (marks_[i].known != known) continue;
        const auto differs = [&](std::string_view element) { return !same_text(element, token); };
        if (!each_element((*this)[i].value, differs)) return true;
    }
    return false;
}

void Fields::remove_hop_by_hop() {
    // A nominated field counts, from here on, as one of those that are about this connection only.
    const auto nominate = [this](std::string_view name) {
        for (Mark& mark : marks_) {
            if (is_named(mark, Known::other, name) && may_be_nominated(name)) mark.known = Known::keep_alive;
        }
        return true;
    };
    for (const Field field : *this) {
        if (field.known == Known::connection) each_element(field.value, nominate);
    }
    std::erase_if(marks_, [this](const Mark& mark) {
        return is_hop_by_hop(mark.known) || (mark.known == Known::other && may_be_taken_for_framing(name_of(mark)));
    });
}

std::size_t Fields::wire_size() const {
    std::size_t size = 0;
    for (const Mark& mark : marks_) size += std::size_t{mark.name_size} + mark.value_size + 4;
    return size;
}

void Fields::append_to(std::string& out, bool (*passes)(Known)) const {
    std::size_t size = 0;
    for (const Mark& mark : marks_) {
        if (!passes || passes(mark.known)) size += std::size_t{mark.name_size} + mark.value_size + 4;
    }
    const std::size_t at = out.size();
    out.resize(at + size);
    char* to = out.data() + at;
    for (const Mark& mark : marks_) {
        if (passes && !passes(mark.known)) continue;
        to = put(to, name_of(mark));
        *to++ = ':';
        *to++ = ' ';
        to = put(to, value_of(mark));
        *to++ = '\r';
        *to++ = '\n';
    }
}

}  // namespace sluice
