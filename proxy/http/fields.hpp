// Header or trailer fields in their order (RFC 9110 5). One growing block of text and one of marks, both recycled from
// message to message, so that a warm exchange allocates nothing. Pure; one thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

/// The fields that the proxy itself looks at; everything else is `other`.
enum class Known : unsigned char {
    other,
    // hop-by-hop (RFC 9110 7.6.1), removed both ways
    connection, keep_alive, proxy_connection, te, trailer, transfer_encoding, upgrade, proxy_authorization, proxy_authenticate,
    proxy_authentication_info,
    // looked at
    host, content_length, content_type, expect, authorization, origin, sec_fetch_site, accept_encoding,
    // `Sluice-*`: ours, never a vendor's
    sluice,
};

/// The field that `name` names, whatever its case.
Known classify(std::string_view name);
/// Fields that are about one connection only, whatever `Connection` says.
bool is_hop_by_hop(Known known);
/// May this field stand after the content? Not what frames, routes, authenticates, modifies the request, or says how to
/// read the content or the answer (RFC 9110 6.5.1): whoever merges it into the head would be told something that was
/// never judged.
bool may_be_trailer(std::string_view name);
/// The same name to a vendor that reads fields as CGI variables (RFC 3875 4.1.18), where '_' and '-' become one.
bool same_variable(std::string_view a, std::string_view b);

struct Field {
    Known known;
    std::string_view name;
    std::string_view value;
};

class Fields {
  public:
    Fields() = default;
    Fields(const Fields&) = default;
    Fields(Fields&& other) noexcept;
    Fields& operator=(Fields other) noexcept;
    ~Fields() { wipe_and_clear(); }

    /// Empties, keeps the memory. Field values may hold secrets: `wipe_and_clear` for those.
    void clear() { text_.clear(); marks_.clear(); }
    void wipe_and_clear();

    // Names and values are copied; they may be views into these very Fields.

    void add(std::string_view name, std::string_view value) { add(classify(name), name, value); }
    void add(Known known, std::string_view name, std::string_view value);

    /// Copies a raw head once, so that its fields can be marked in it. The view is valid until the next change but `mark`.
    std::string_view hold(std::string_view raw);
    /// Adds a field of what `hold` returned.
    void mark(std::string_view name, std::string_view value);

    /// Replaces every field of that name by one, at the place of the first, or adds it.
    void set(std::string_view name, std::string_view value);
    /// How many were removed.
    std::size_t remove(std::string_view name);
    std::size_t remove(Known known);
    /// Also those that are `same_variable`, but not that very name.
    std::size_t remove_lookalikes(std::string_view name);
    /// Those that `Connection` may nominate and, with this value, does.
    void remove_nominated(std::string_view connection);
    /// Those whose name, or `same_variable`, is among `others`.
    void remove_all_in(const Fields& others);

    std::size_t size() const { return marks_.size(); }
    bool empty() const { return marks_.empty(); }
    /// The views are valid until the next change.
    Field operator[](std::size_t i) const;

    /// The first field of that name.
    std::optional<std::string_view> find(std::string_view name) const;
    std::optional<std::string_view> find(Known known) const;
    std::size_t count(Known known) const;

    /// Does a comma-separated list field (all its lines together, RFC 9110 5.6.1) hold `token`, whatever its case?
    bool list_holds(Known known, std::string_view token) const;

    /// Removes the hop-by-hop fields (`TE: trailers` too), what a vendor may take for one of those that frame a body
    /// (`Content_Length`, `Transfer_Encoding`), and those that `Connection` names (RFC 9110 7.6.1). `Connection`
    /// cannot take away what the proxy itself looks at (Host, Content-Length, Authorization ...) nor Cookie and Set-Cookie:
    /// that would be an attack.
    void remove_hop_by_hop();

    /// Bytes that "name: value\r\n" lines would take.
    std::size_t wire_size() const;
    /// Appends "name: value\r\n" for each that `passes` (null: all).
    void append_to(std::string& out, bool (*passes)(Known) = nullptr) const;

    class Iterator {
      public:
        Iterator(const Fields* fields, std::size_t at) : fields_(fields), at_(at) {}
        Field operator*() const { return (*fields_)[at_]; }
        Iterator& operator++() { ++at_; return *this; }
        bool operator!=(const Iterator& other) const { return at_ != other.at_; }

      private:
        const Fields* fields_;
        std::size_t at_;
    };
    Iterator begin() const { return {this, 0}; }
    Iterator end() const { return {this, marks_.size()}; }

  private:
    struct Mark {
        std::uint32_t name_at, name_size;  // in text_
        std::uint32_t value_at, value_size;
        Known known;
    };
    std::string_view name_of(const Mark& mark) const { return {text_.data() + mark.name_at, mark.name_size}; }
    std::string_view value_of(const Mark& mark) const { return {text_.data() + mark.value_at, mark.value_size}; }
    static Mark mark_at(std::size_t at, Known known, std::string_view name, std::string_view value);
    void append_text(std::string_view name, std::string_view value);
    bool is_named(const Mark& mark, Known known, std::string_view name) const;

    std::string text_;
    std::vector<Mark> marks_;
};

}  // namespace sluice
