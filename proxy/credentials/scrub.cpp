#include "proxy/credentials/scrub.hpp"

#include <string.h>  // explicit_bzero

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "proxy/base/text.hpp"

namespace sluice {

// ---- the forms of a secret

namespace {

/// Room from the start, so that no reallocation leaves a copy behind: nothing grows a byte to more than six.
std::string roomy(std::string_view secret) {
    std::string out;
    out.reserve(secret.size() * 6 + 8);
    return out;
}

constexpr std::string_view lower_digits = "0123456789abcdef", upper_digits = "0123456789ABCDEF";

void append_hex(std::string& out, char c, std::string_view digits) {
    const auto byte = static_cast<unsigned char>(c);
    out += digits[byte >> 4];
    out += digits[byte & 15];
}

Secret hex_of(std::string_view secret, std::string_view digits) {
    std::string out = roomy(secret);
    for (const char c : secret) append_hex(out, c, digits);
    return Secret(std::move(out));
}

/// As it looks inside the base64 of something longer, after `before` bytes more than a multiple of three: only characters all of whose bits are the secret's.
Secret base64_of(std::string_view secret, unsigned before, std::string_view last_two) {
    constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    std::string out = roomy(secret);
    std::uint32_t bits = 0;
    unsigned count = before == 0 ? 0 : before == 1 ? 2 : 4;   // bits of the character that is shared with what comes before: how many there are of it already
    const std::size_t skip = count == 0 ? 0 : 1;
    for (const char c : secret) {
        bits = bits << 8 | static_cast<unsigned char>(c);
        for (count += 8; count >= 6; count -= 6) {
            const std::uint32_t value = bits >> (count - 6) & 63;
            out += value < 62 ? alphabet[value] : last_two[value - 62];
        }
    }
    out.erase(0, skip);
    return Secret(std::move(out));
}

constexpr bool is_alnum(char c) { return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z'); }

Secret percent_of(std::string_view secret, std::string_view kept, bool plus_for_space, std::string_view digits) {
    std::string out = roomy(secret);
    for (const char c : secret) {
        if (is_alnum(c) || kept.find(c) != kept.npos) {
            out += c;
        } else if (c == ' ' && plus_for_space) {
            out += '+';
        } else {
            out += '%';
            append_hex(out, c, digits);
        }
    }
    return Secret(std::move(out));
}

/// Needlessly, but every URL library reads it.
Secret percent_of_all(std::string_view secret, std::string_view digits) {
    std::string out = roomy(secret);
    for (const char c : secret) {
        out += '%';
        append_hex(out, c, digits);
    }
    return Secret(std::move(out));
}

/// How who escapes them reads bytes over 0x7f: as what they are, or each by itself, as many read the values of header fields (RFC 9110 5.5).
enum class Reading : unsigned char { as_bytes, utf8, latin1 };

struct Character {
    std::uint32_t value;
    std::size_t bytes;   // 0: this is no UTF-8
};
Character character_at(std::string_view text, std::size_t at, Reading reading) {
    const auto byte = [&](std::size_t i) -> std::uint32_t { return static_cast<unsigned char>(text[at + i]); };
    const std::uint32_t first = byte(0);
    if (first < 0x80 || reading != Reading::utf8) return {first, 1};
    const std::size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || text.size() - at < bytes) return {0, 0};
    std::uint32_t value = first & (0x7fu >> bytes);
    for (std::size_t i = 1; i < bytes; ++i) {
        if ((byte(i) & 0xc0) != 0x80) return {0, 0};
        value = value << 6 | (byte(i) & 0x3f);
    }
    const bool shortest = value >= (bytes == 2 ? 0x80u : bytes == 3 ? 0x800u : 0x10000u);
    return {value, shortest && value <= 0x10ffff && (value < 0xd800 || value > 0xdfff) ? bytes : 0};
}

bool is_utf8(std::string_view text) {
    for (std::size_t at = 0, bytes = 0; at < text.size(); at += bytes) {
        bytes = character_at(text, at, Reading::utf8).bytes;
        if (bytes == 0) return false;
    }
    return true;
}

void append_hex16(std::string& out, std::uint32_t unit, std::string_view digits) {
    append_hex(out, static_cast<char>(unit >> 8), digits);
    append_hex(out, static_cast<char>(unit), digits);
}

/// \uXXXX, in a pair where it is over 0xffff (RFC 8259 7).
void append_json_number(std::string& out, std::uint32_t value, std::string_view digits) {
    out += "\\u";
    if (value < 0x10000) return append_hex16(out, value, digits);
    append_hex16(out, 0xd800 + ((value - 0x10000) >> 10), digits);
    out += "\\u";
    append_hex16(out, 0xdc00 + ((value - 0x10000) & 0x3ff), digits);
}

/// Of text that was read as Latin-1 and written as UTF-8.
Secret utf8_of_latin1(std::string_view secret) {
    std::string out = roomy(secret);
    for (const char c : secret) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x80) out += static_cast<char>(0xc0 | byte >> 6);
        out += byte < 0x80 ? c : static_cast<char>(0x80 | (byte & 0x3f));
    }
    return Secret(std::move(out));
}

/// `beyond` writes a character beyond ASCII where such are read, `plain` any other byte.
template <class Beyond, class Plain>
Secret escaped(std::string_view secret, Reading reading, Beyond beyond, Plain plain) {
    std::string out = roomy(secret);
    for (std::size_t at = 0; at < secret.size();) {
        const Character character = character_at(secret, at, reading);
        if (character.value >= 0x80 && reading != Reading::as_bytes)
            beyond(out, character.value);
        else
            plain(out, secret[at]);
        at += character.bytes;
    }
    return Secret(std::move(out));
}

/// Inside a JSON string (RFC 8259 7): `as_number` are written as \uXXXX, as is all beyond ASCII that is read as characters; the rest of what must be escaped in its short form.
Secret json_of(std::string_view secret, std::string_view as_number, bool slash, std::string_view digits, Reading reading = Reading::as_bytes) {
    constexpr std::string_view plain = "\"\\\b\f\n\r\t", letters = "\"\\bfnrt";
    const auto number = [&](std::string& out, std::uint32_t value) { append_json_number(out, value, digits); };
    return escaped(secret, reading, number, [&](std::string& out, char c) {
        const std::size_t special = plain.find(c);
        if (as_number.find(c) != as_number.npos || (special == plain.npos && static_cast<unsigned char>(c) < 0x20)) {
            out += "\\u00";
            append_hex(out, c, digits);
        } else if (special != plain.npos) {
            out += '\\';
            out += letters[special];
        } else {
            if (c == '/' && slash) out += '\\';
            out += c;
        }
    });
}

/// Of mail (RFC 2045 6.7), without what breaks its lines.
Secret quoted_printable_of(std::string_view secret) {
    std::string out = roomy(secret);
    for (const char c : secret) {
        if (c == '=' || c < 0x20 || c > 0x7e) {
            out += '=';
            append_hex(out, c, upper_digits);
        } else {
            out += c;
        }
    }
    return Secret(std::move(out));
}

struct Entity {
    char of;
    std::string_view as;
};
/// Of HTML and XML, as error pages have it: which characters become a reference, and which, is their library's own choice (HTML 13.1.4, XML 1.0 2.4).
constexpr Entity amp{'&', "&amp;"}, lt{'<', "&lt;"}, gt{'>', "&gt;"}, quot{'"', "&quot;"}, apos{'\'', "&#39;"}, apos_hex{'\'', "&#x27;"}, slash_hex{'/', "&#x2F;"}, equals_hex{'=', "&#x3D;"}, tick_hex{'`', "&#x60;"};
using Escaping = Entity[8];   // the rest of one is empty
constexpr Escaping escapings[] = {
    {amp, lt, gt},                                                             // what text must have: XML, Go's and Python's where no attribute is meant
    {amp, lt, gt, quot},                                                       // Apache, PHP before 8.1
    {amp, lt, gt, quot, apos},                                                 // Express, Rails, Spring, lodash, .NET
    {amp, lt, gt, quot, {'\'', "&#039;"}},                                     // PHP
    {amp, lt, gt, quot, {'\'', "&apos;"}},                                     // XML, Jetty
    {amp, lt, gt, quot, apos_hex},                                             // Python, Django, React
    {amp, lt, gt, {'"', "&#34;"}, apos},                                       // Go, Jinja
    {amp, lt, gt, {'"', "&#34;"}, apos, {'+', "&#43;"}},                       // Go's templates
    {amp, lt, gt, quot, apos_hex, {'+', "&#x2B;"}},                            // ASP.NET Core
    {amp, lt, gt, quot, apos, {'/', "&#47;"}},                                 // Tomcat
    {amp, lt, gt, quot, apos, slash_hex, tick_hex, equals_hex},                // Mustache
    {amp, lt, gt, quot, apos_hex, tick_hex, equals_hex},                       // Handlebars
    {amp, lt, gt, quot, apos_hex, slash_hex},                                  // OWASP's six
};

/// &#252; or, with `digits` of base 16, &#xFC;
void append_reference(std::string& out, std::uint32_t value, std::string_view digits) {
    const std::size_t base = digits.size();
    char reversed[8];
    std::size_t size = 0;
    for (; value > 0; value /= static_cast<std::uint32_t>(base)) reversed[size++] = digits[value % base];
    out += base == 16 ? "&#x" : "&#";
    while (size > 0) out += reversed[--size];
    out += ';';
    explicit_bzero(reversed, sizeof reversed);
}

/// As `reading` has them, characters beyond ASCII become references with `digits`.
Secret html_of(std::string_view secret, const Escaping& entities, Reading reading = Reading::as_bytes, std::string_view digits = {}) {
    const auto reference = [&](std::string& out, std::uint32_t value) { append_reference(out, value, digits); };
    return escaped(secret, reading, reference, [&](std::string& out, char c) {
        const auto* const entity = std::find_if(std::begin(entities), std::end(entities), [c](const Entity& one) { return one.of == c && !one.as.empty(); });
        if (entity == std::end(entities))
            out += c;
        else
            out += entity->as;
    });
}

/// Of a secret with bytes beyond ASCII: as those write it who keep to ASCII.
template <class Add>
void add_ascii_forms(std::string_view secret, Add add) {
    const Reading meant = is_utf8(secret) ? Reading::utf8 : Reading::latin1;
    for (const Reading reading : {meant, Reading::latin1}) {
        add(json_of(secret, "", false, lower_digits, reading));                // Python
        add(json_of(secret, "", true, lower_digits, reading));                 // PHP
        add(json_of(secret, "&'<>", false, lower_digits, reading));            // Flask
        add(json_of(secret, "", false, upper_digits, reading));                // Jackson, where it is told to
        add(json_of(secret, "\"&'+<>`", false, upper_digits, reading));        // System.Text.Json
    }
    for (const Escaping& entities : escapings) {
        add(html_of(secret, entities, meant, "0123456789"));                   // Python, .NET
        add(html_of(secret, entities, meant, upper_digits));                   // libxml2, ASP.NET Core
    }
    add(utf8_of_latin1(secret));
}

}  // namespace

void Needles::add_forms(std::vector<Form>& forms, const Secret& of) {
    const std::string_view secret = of.reveal();
    const auto add = [&forms](Secret text, Folding folding = Folding::none) {
        const auto same = std::find_if(forms.begin(), forms.end(), [&](const Form& other) { return other.reveal() == text.reveal(); });
        if (same == forms.end())
            forms.push_back({std::move(text), folding});
        else if (same->folding == Folding::none)
            same->folding = folding;
    };
    add(of);
    for (const unsigned before : {0u, 1u, 2u}) add(base64_of(secret, before, "+/"), Folding::base64);
    for (const unsigned before : {0u, 1u, 2u}) add(base64_of(secret, before, "-_"));
    for (const std::string_view digits : {lower_digits, upper_digits}) {
        add(hex_of(secret, digits));
        add(percent_of_all(secret, digits));
        add(percent_of(secret, "-._~", false, digits));
        add(percent_of(secret, "-._~", true, digits));                         // PHP's urlencode but for '~', Go's QueryEscape
        add(percent_of(secret, "-._~/", false, digits));                       // Python's quote
        add(percent_of(secret, "-._~!'()*", false, digits));                   // encodeURIComponent
        add(percent_of(secret, "-._~!'()*;,/?:@&=+$#", false, digits));        // encodeURI
        add(percent_of(secret, "-._~$&+:=@", false, digits));                  // a path's segment: Go's PathEscape
        add(percent_of(secret, "-._~!$&'()*+,;=:@", false, digits));           // all that may stand there (RFC 3986 3.3)
        add(percent_of(secret, "-._~!$&'()*+,%", false, digits));              // WHATWG's userinfo
        add(percent_of(secret, "-._~$&+,;=", false, digits));                  // Go's
        add(percent_of(secret, "-._~!#$&'()*+/:<>?@[]^`{|}", false, digits));  // cookies, where no more than '=' needs it
        add(percent_of(secret, "-._~!$&'()*,;=:@/?", false, digits));          // of base64 just the '+', which would be a space in a query
        add(percent_of(secret, "*-._", true, digits));                         // application/x-www-form-urlencoded (WHATWG URL 5.2)
        add(json_of(secret, "<>&", false, digits));                            // Go
    }
    add(json_of(secret, "", false, lower_digits));
    add(json_of(secret, "\b\f\n\r\t", false, lower_digits));
    add(json_of(secret, "", true, lower_digits));                              // PHP
    add(json_of(secret, "\"&'+<>`", false, upper_digits));                     // System.Text.Json
    add(json_of(secret, "&'<=>", false, lower_digits));                        // Gson
    add(json_of(secret, "&'<>", false, lower_digits));                         // Flask, Django, where JSON stands in a page
    add(json_of(secret, "&<=>", false, upper_digits));                         // in a script: Go's JSEscapeString
    add(json_of(secret, "\"&'+<>`", true, lower_digits));                      // Go's templates
    add(json_of(secret, "\"&'-;<=>\\`", false, upper_digits));                 // Django's escapejs
    add(quoted_printable_of(secret), Folding::mail);
    for (const Escaping& entities : escapings) add(html_of(secret, entities));
    if (std::any_of(secret.begin(), secret.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; })) add_ascii_forms(secret, add);
}

std::vector<Secret> forms_of(const Secret& secret) {
    std::vector<Needles::Form> forms;
    Needles::add_forms(forms, secret);
    std::vector<Secret> out;
    for (Needles::Form& form : forms) out.push_back(std::move(form.text));
    return out;
}

// ---- lines

namespace {

/// Between two breaks inside of a secret: MIME has 76, PEM 64, some have 57 or 60. With shorter ones it is not found.
constexpr std::size_t shortest_line = 32;
/// A break as it is, and as JSON has it in a string.
constexpr std::string_view breaks[] = {"\r\n", "\n", "\\r\\n", "\\n"};

// How long a break is that begins, or ends, here; 0: none does.
std::size_t break_at(std::string_view rest, bool soft) {
    if (soft && !rest.starts_with('=')) return 0;
    rest.remove_prefix(soft);
    for (const std::string_view one : breaks)
        if (rest.starts_with(one)) return one.size() + soft;
    return 0;
}
std::size_t break_before(std::string_view before, bool soft) {
    for (const std::string_view one : breaks) {
        if (!before.ends_with(one)) continue;
        before.remove_suffix(one.size());
        return !soft ? one.size() : before.ends_with('=') ? one.size() + 1 : 0;
    }
    return 0;
}

}  // namespace

std::size_t Needles::Form::most() const { return folding == Folding::none ? size() : size() + 5 * (1 + (size() - 1) / shortest_line); }

// ---- where the filters look

/// Chooses where in each form its filter looks, so that it seldom stops for nothing: by how often bytes are seen in bodies.
class Needles::Layout {
  public:
    /// `by_six`: the search looks bytes up by their lower six bits, and not by nibbles.
    Layout(Filter& filter, bool by_six) : filter_(filter), by_six_(by_six) {
        for (unsigned bucket = 0; bucket < 8; ++bucket) weigh(bucket);
    }

    void place(std::uint32_t form, std::string_view bytes) {
        const std::size_t places = bytes.size() - 3;
        const std::size_t step = (places + most_places - 1) / most_places;
        double least = 1e9;
        std::size_t at = 0;
        unsigned bucket = 0;
        for (std::size_t i = 0; i < places; i += step) {
            for (unsigned b = 0; b < 8; ++b) {
                const double rate = rate_of(b, byte(bytes, i), byte(bytes, i + 1), byte(bytes, i + 2)) - now_[b];
                if (rate >= least) continue;
                least = rate;
                at = i;
                bucket = b;
            }
        }
        now_[bucket] += least;
        std::uint32_t word;
        std::memcpy(&word, bytes.data() + at, sizeof word);
        filter_.add({form, static_cast<std::uint32_t>(at), word}, bucket, bytes.substr(at, 3));
        weigh(bucket);
    }

  private:
    static constexpr std::size_t most_places = 256;

    static unsigned char byte(std::string_view bytes, std::size_t i) { return static_cast<unsigned char>(bytes[i]); }

    // Roughly, over JSON, HTML and base64.
    static double commonness(unsigned c) {
        constexpr std::string_view very = " \"etaoinsr0", quite = ",:{}<>/=.-_";
        const char ch = static_cast<char>(c);
        if (c >= 0x80 || c < 0x20) return 0.1;
        if (very.find(ch) != very.npos) return 4;
        if (ch >= 'a' && ch <= 'z') return 2;
        if (is_alnum(ch) || quite.find(ch) != quite.npos) return 1;
        return 0.2;
    }

    static const std::array<double, 256>& weights() {
        static const auto all = [] {
            std::array<double, 256> each{};
            double sum = 0;
            for (unsigned c = 0; c < 256; ++c) sum += each[c] = commonness(c);
            for (double& weight : each) weight /= sum;
            return each;
        }();
        return all;
    }

    // What share of all bytes would pass the bucket at each position if a byte joined it: those that pass already, and those that it is taken for.
    void weigh(unsigned bucket) {
        for (unsigned i = 0; i < 3; ++i) {
            if (by_six_)
                weigh_six(share_[i][bucket], filter_.six[i], 1u << bucket);
            else
                weigh_nibbles(share_[i][bucket], filter_.low[i], filter_.high[i], 1u << bucket);
        }
    }
    static void weigh_six(std::array<double, 256>& share, const std::array<unsigned char, 64>& six, unsigned bit) {
        const auto& weight = weights();
        std::array<double, 64> alike{};
        double passing = 0;
        for (unsigned c = 0; c < 256; ++c) {
            alike[c & 63] += weight[c];
            if (six[c & 63] & bit) passing += weight[c];
        }
        for (unsigned c = 0; c < 256; ++c) share[c] = passing + (six[c & 63] & bit ? 0 : alike[c & 63]);
    }
    // Of its row and of its column.
    static void weigh_nibbles(std::array<double, 256>& share, const std::array<unsigned char, 16>& lows, const std::array<unsigned char, 16>& highs, unsigned bit) {
        const auto& weight = weights();
        std::array<double, 16> row{}, column{};
        double passing = 0;
        for (unsigned c = 0; c < 256; ++c) {
            const bool low = lows[c & 15] & bit, high = highs[c >> 4] & bit;
            if (low) row[c >> 4] += weight[c];
            if (high) column[c & 15] += weight[c];
            if (low && high) passing += weight[c];
        }
        for (unsigned c = 0; c < 256; ++c) {
            const bool low = lows[c & 15] & bit, high = highs[c >> 4] & bit;
            share[c] = passing + (low ? 0 : column[c & 15]) + (high ? 0 : row[c >> 4]) + (low || high ? 0 : weight[c]);
        }
    }
    // The third position is looked at only where the first two agree.
    double rate_of(unsigned bucket, unsigned char a, unsigned char b, unsigned char c) const {
        return share_[0][bucket][a] * share_[1][bucket][b] * (0.05 + share_[2][bucket][c]);
    }

    Filter& filter_;
    const bool by_six_;
    std::array<double, 8> now_{};
    std::array<std::array<std::array<double, 256>, 8>, 3> share_{};
};

void Needles::Filter::add(const Place& place, unsigned bucket, std::string_view bytes) {
    const auto bit = static_cast<unsigned char>(1u << bucket);
    for (std::size_t i = 0; i < 3; ++i) {
        const auto c = static_cast<unsigned char>(bytes[i]);
        low[i][c & 15] |= bit;
        high[i][c >> 4] |= bit;
        six[i][c & 63] |= bit;
        if (c >= 0x80) ascii = false;
    }
    buckets[bucket].push_back(place);
}

namespace {

// Of bytes, from narrow to wide. What ends a JSON text, a line or a word is no token: streams that end their messages so pass as they come.
using Class = std::array<bool, 256>;
constexpr Class class_with(std::string_view symbols) {
    Class tokens{};
    for (unsigned c = 0; c < 256; ++c) tokens[c] = is_alnum(static_cast<char>(c)) || symbols.find(static_cast<char>(c)) != symbols.npos;
    return tokens;
}
constexpr Class all_but(std::string_view few) {
    Class bytes{};
    for (unsigned c = 0; c < 256; ++c) bytes[c] = few.find(static_cast<char>(c)) == few.npos;
    return bytes;
}
constexpr Class of_tokens = class_with("-._~+/=%\\:@&;$*!?#^"), of_a_line = all_but("\r\n"), of_anything = all_but("");

template <class Forms>
const Class* class_of(const Forms& forms) {
    const auto holds = [](const Class& bytes, const auto& form) {
        const std::string_view text = form.reveal();
        return std::all_of(text.begin(), text.end(), [&](char c) { return bytes[static_cast<unsigned char>(c)]; });
    };
    for (const Class* bytes : {&of_tokens, &of_a_line})
        if (std::all_of(forms.begin(), forms.end(), [&](const auto& form) { return holds(*bytes, form); })) return bytes;
    return &of_anything;
}

}  // namespace

Needles::Needles(std::span<const Secret> secrets, Search search) : kernel_(kernel_of(search)) {
    std::size_t taken = 0;
    for (const Secret& secret : secrets) {
        if (secret.size() < shortest) {
            ++too_short_;
        } else if (secret.size() > longest || taken == most_secrets) {
            ++too_much_;
        } else {
            ++taken;
            add_forms(forms_, secret);
        }
    }
    // Those with the least choice first.
    std::sort(forms_.begin(), forms_.end(), [](const Form& a, const Form& b) { return a.size() < b.size(); });
    Layout layout(filter_, kernel_.width == 64);
    for (std::uint32_t i = 0; i < forms_.size(); ++i) {
        layout.place(i, forms_[i].reveal());
        reach_ = std::max(reach_, forms_[i].most());
    }
    if (!forms_.empty()) reach_ = std::max(reach_, 3 * shortest_line);   // room to see that a line is one of many: `open_end`
    class_ = class_of(forms_);
}

Needles::~Needles() {
    explicit_bzero(&filter_.low, sizeof filter_.low);
    explicit_bzero(&filter_.high, sizeof filter_.high);
    explicit_bzero(&filter_.six, sizeof filter_.six);
    for (std::vector<Place>& bucket : filter_.buckets)
        if (!bucket.empty()) explicit_bzero(bucket.data(), bucket.size() * sizeof(Place));
}

// ---- the filters

// A kernel looks at blocks of `width` positions from `from` on, as many as there are before `end` (of positions, each with two more bytes after it). The
// first that some bucket passes: its buckets to `hits`, a byte for each position, and where it begins; if there is none, where the next block would have.

namespace {

using Sets = std::array<std::array<unsigned char, 16>, 3>;

template <class Filter>
std::size_t skip_scalar(const Filter& filter, const char* text, std::size_t from, std::size_t end, unsigned char* hits) {
    const auto passes = [&](std::size_t i, char c) -> unsigned { return filter.low[i][c & 15] & filter.high[i][static_cast<unsigned char>(c) >> 4]; };
    for (; from + 16 <= end; from += 16) {
        unsigned any = 0;
        for (std::size_t i = 0; i < 16; ++i) {
            const char* at = text + from + i;
            unsigned hit = passes(0, at[0]);
            if (hit) hit &= passes(1, at[1]);
            if (hit) hit &= passes(2, at[2]);
            hits[i] = static_cast<unsigned char>(hit);
            any |= hit;
        }
        if (any) break;
    }
    return from;
}

// In the vectors a first look at two positions of three; the third is for where they agree. Where all bytes that are looked for are ASCII, a
// byte needs no masking to be looked up by its low nibble: bit 7 makes it zero.

#if defined(__x86_64__) || defined(__aarch64__)

typedef unsigned char Bytes16 __attribute__((vector_size(16)));

#if defined(__x86_64__)
#define SLUICE_VECTOR16 [[gnu::target("ssse3")]]
SLUICE_VECTOR16 inline Bytes16 look_up(Bytes16 table, Bytes16 index) {
    return reinterpret_cast<Bytes16>(_mm_shuffle_epi8(reinterpret_cast<__m128i>(table), reinterpret_cast<__m128i>(index)));
}
SLUICE_VECTOR16 inline bool is_zero(Bytes16 bytes) {
    return _mm_movemask_epi8(_mm_cmpeq_epi8(reinterpret_cast<__m128i>(bytes), _mm_setzero_si128())) == 0xffff;
}
#else
#define SLUICE_VECTOR16
inline Bytes16 look_up(Bytes16 table, Bytes16 index) { return reinterpret_cast<Bytes16>(vqtbl1q_u8(reinterpret_cast<uint8x16_t>(table), reinterpret_cast<uint8x16_t>(index))); }
inline bool is_zero(Bytes16 bytes) { return vmaxvq_u8(reinterpret_cast<uint8x16_t>(bytes)) == 0; }
#endif

template <class Filter>
SLUICE_VECTOR16 std::size_t skip_vector16(const Filter& filter, const char* text, std::size_t from, std::size_t end, unsigned char* hits) {
    Bytes16 low[3], high[3];
    std::memcpy(low, filter.low.data(), sizeof low);
    std::memcpy(high, filter.high.data(), sizeof high);
    for (; from + 16 <= end; from += 16) {
        Bytes16 a, b, c;
        std::memcpy(&a, text + from, 16);
        std::memcpy(&b, text + from + 1, 16);
        Bytes16 hit = look_up(low[0], a & 15) & look_up(high[0], a >> 4) & look_up(low[1], b & 15) & look_up(high[1], b >> 4);
        if (is_zero(hit)) continue;
        std::memcpy(&c, text + from + 2, 16);
        hit &= look_up(low[2], c & 15) & look_up(high[2], c >> 4);
        if (is_zero(hit)) continue;
        std::memcpy(hits, &hit, 16);
        break;
    }
    return from;
}
#endif

#if defined(__x86_64__)

[[gnu::target("avx2")]] inline __m256i load(const char* at) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)); }
[[gnu::target("avx2")]] inline __m256i twice(const std::array<unsigned char, 16>& set) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(set.data())));
}
template <bool ascii>
[[gnu::target("avx2")]] inline __m256i passes(__m256i low, __m256i high, const char* at) {
    const __m256i nibble = _mm256_set1_epi8(15), bytes = load(at);
    const __m256i by_low = _mm256_shuffle_epi8(low, ascii ? bytes : _mm256_and_si256(bytes, nibble));
    return _mm256_and_si256(by_low, _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble)));
}

template <bool ascii, class Filter>
[[gnu::target("avx2")]] std::size_t skip_avx2_as(const Filter& filter, const char* text, std::size_t from, std::size_t end, unsigned char* hits) {
    const __m256i low0 = twice(filter.low[0]), low1 = twice(filter.low[1]), high0 = twice(filter.high[0]), high1 = twice(filter.high[1]);
    for (; from + 32 <= end; from += 32) {
        const char* at = text + from;
        __m256i hit = _mm256_and_si256(passes<ascii>(low0, high0, at), passes<ascii>(low1, high1, at + 1));
        if (from + 64 <= end) {   // two at once, as long as they are empty
            const __m256i next = _mm256_and_si256(passes<ascii>(low0, high0, at + 32), passes<ascii>(low1, high1, at + 33));
            const __m256i both = _mm256_or_si256(hit, next);
            if (_mm256_testz_si256(both, both)) {
                from += 32;
                continue;
            }
        }
        hit = _mm256_and_si256(hit, passes<ascii>(twice(filter.low[2]), twice(filter.high[2]), at + 2));
        if (_mm256_testz_si256(hit, hit)) continue;
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(hits), hit);
        break;
    }
    return from;
}
template <class Filter>
std::size_t skip_avx2(const Filter& filter, const char* text, std::size_t from, std::size_t end, unsigned char* hits) {
    return filter.ascii ? skip_avx2_as<true>(filter, text, from, end, hits) : skip_avx2_as<false>(filter, text, from, end, hits);
}

#define SLUICE_AVX512 [[gnu::target("avx512f,avx512bw,avx512vbmi")]]
// One look-up for a byte, by its lower six bits: all three positions cost less than two by nibbles.
SLUICE_AVX512 inline __m512i passes(__m512i six, const char* at) { return _mm512_maskz_permutexvar_epi8(~__mmask64{0}, _mm512_loadu_si512(at), six); }

template <class Filter>
SLUICE_AVX512 std::size_t skip_avx512(const Filter& filter, const char* text, std::size_t from, std::size_t end, unsigned char* hits) {
    const __m512i six0 = _mm512_loadu_si512(filter.six[0].data()), six1 = _mm512_loadu_si512(filter.six[1].data()), six2 = _mm512_loadu_si512(filter.six[2].data());
    for (; from + 64 <= end; from += 64) {
        const char* at = text + from;
        const __m512i hit = _mm512_and_si512(_mm512_and_si512(passes(six0, at), passes(six1, at + 1)), passes(six2, at + 2));
        if (_mm512_test_epi8_mask(hit, hit) == 0) continue;
        _mm512_storeu_si512(hits, hit);
        break;
    }
    return from;
}
#endif

}  // namespace

bool Needles::can(Search search) {
    switch (search) {
    case Search::scalar: return true;
#if defined(__x86_64__)
    case Search::vector16: return __builtin_cpu_supports("ssse3");
    case Search::avx2: return __builtin_cpu_supports("avx2");
    case Search::avx512: return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi");
#elif defined(__aarch64__)
    case Search::vector16: return true;
    case Search::avx2:
    case Search::avx512: return false;
#else
    case Search::vector16:
    case Search::avx2:
    case Search::avx512: return false;
#endif
    }
    return false;
}

Needles::Search Needles::best_search() {
    for (const Search search : {Search::avx512, Search::avx2, Search::vector16})
        if (can(search)) return search;
    return Search::scalar;
}

Needles::Kernel Needles::kernel_of(Search search) {
    switch (can(search) ? search : Search::scalar) {
    case Search::scalar: break;
#if defined(__x86_64__)
    case Search::vector16: return {skip_vector16<Filter>, 16};
    case Search::avx2: return {skip_avx2<Filter>, 32};
    case Search::avx512: return {skip_avx512<Filter>, 64};
#else
#if defined(__aarch64__)
    case Search::vector16: return {skip_vector16<Filter>, 16};
#else
    case Search::vector16:
#endif
    case Search::avx2:
    case Search::avx512: break;
#endif
    }
    return {skip_scalar<Filter>, 16};
}

// ---- finding

// Calls `visit(position, buckets)` in order.
template <class Visit>
void Needles::each_candidate(std::string_view text, Visit visit) const {
    if (text.size() < 3) return;
    unsigned char hits[64];
    const std::size_t positions = text.size() - 2, width = kernel_.width;
    const auto visit_hits = [&](std::size_t at, std::size_t first, std::size_t last) {
        for (std::size_t word = 0; word < last; word += 8) {   // nearly all are empty
            std::uint64_t eight;
            std::memcpy(&eight, hits + word, 8);
            if (eight == 0) continue;
            for (std::size_t i = std::max(first, word); i < std::min(last, word + 8); ++i)
                if (hits[i]) visit(at + i, unsigned{hits[i]});
        }
    };
    if (positions < width) {
        char padded[64 + 2] = {};
        std::memcpy(padded, text.data(), text.size());
        if (kernel_.skip(filter_, padded, 0, width, hits) == 0) visit_hits(0, 0, positions);
        return;
    }
    std::size_t from = 0;
    for (;; from += width) {
        from = kernel_.skip(filter_, text.data(), from, positions, hits);
        if (from + width > positions) break;
        visit_hits(from, 0, width);
    }
    const std::size_t end = positions - width;   // of the last block, which overlaps the one before
    if (from < positions && kernel_.skip(filter_, text.data(), end, positions, hits) == end) visit_hits(end, from - end, width);
}

// Does `text` begin with all of `form`? Each search has an allowance of work, which only forms that repeat themselves, in a text that is made for them, use
// up. From then on what agrees for 64 bytes is taken for a find: too much is masked rather than too little, and the time stays linear.
bool Needles::agrees(std::string_view text, std::string_view form, std::size_t& work) {
    constexpr std::size_t step = 64;
    for (std::size_t i = 0; i < form.size(); i += step) {
        const std::size_t size = std::min(step, form.size() - i);
        if (i > 0) {
            if (work < size) return true;
            work -= size;
        }
        if (std::memcmp(text.data() + i, form.data() + i, size) != 0) return false;
    }
    return true;
}

// The form around its place, which is `at`, with line breaks in it. Nothing: it is not there, or has none.
std::optional<Needles::Span> Needles::folded(std::string_view text, std::size_t at, const Form& form, std::size_t place, std::size_t& work) {
    const std::string_view bytes = form.reveal();
    const bool soft = form.folding == Folding::mail;
    // A form that is whole but for its end comes by often in a body that is made of such; without a break near by it is none.
    const std::size_t from = at - std::min(at, form.most()), room = std::min(text.size() - from, 2 * form.most());
    const std::string_view around = text.substr(from, room);
    if (std::memchr(around.data(), '\n', around.size()) == nullptr && std::memchr(around.data(), '\\', around.size()) == nullptr) return {};
    const auto may_end_break = [&](std::size_t end) { return end > 0 && (text[end - 1] == '\n' || (text[end - 1] == 'n' && end > 1 && text[end - 2] == '\\')); };
    const auto may_begin_break = [&](std::size_t begin) {
        if (begin >= text.size()) return false;
        const char c = text[begin];
        return soft ? c == '=' : c == '\n' || c == '\r' || c == '\\';
    };
    bool any = false, tired = false;   // as `agrees` is
    auto step = [&, steps = std::size_t{0}]() mutable {
        if (++steps > 64) tired = tired || work == 0 || --work == 0;
        return !tired;
    };
    std::size_t begin = at, nearest = 0, last = 0;   // breaks: in front of which byte the one next to the place is, and the one that was seen last
    const auto is_far = [&](std::size_t i) { return !std::exchange(any, true) || (i > last ? i - last : last - i) >= shortest_line; };
    for (std::size_t i = place; i > 0 && step(); --i, --begin) {
        if (const std::size_t size = may_end_break(begin) ? break_before(text.substr(0, begin), soft) : 0) {
            if (!is_far(i)) return {};
            if (nearest == 0) nearest = i;
            last = i;
            begin -= size;
        }
        if (begin == 0 || text[begin - 1] != bytes[i - 1]) return {};
    }
    last = nearest;
    std::size_t end = at;
    for (std::size_t i = place; i < bytes.size() && step(); ++i, ++end) {
        if (const std::size_t size = i > place && may_begin_break(end) ? break_at(text.substr(end), soft) : 0) {
            if (!is_far(i)) return {};
            last = i;
            end += size;
        }
        if (end >= text.size() || text[end] != bytes[i]) return {};
    }
    if (!any && !tired) return {};
    return Span{begin, end};
}

namespace {

constexpr std::size_t allowance(std::size_t size) { return 4096 + 4 * size; }

}  // namespace

// All that lie across `edge`, which 0 does not ask for; their places are told plus `shift`.
unsigned Needles::find(std::string_view text, std::size_t edge, std::size_t shift, std::vector<Span>& finds) const {
    if (forms_.empty() || text.size() < forms_.front().size()) return 0;
    unsigned found = 0;
    std::size_t work = allowance(text.size());
    each_candidate(text, [&](std::size_t at, unsigned buckets) {
        for (; buckets != 0; buckets &= buckets - 1) {
            for (const Place& place : filter_.buckets[static_cast<unsigned>(std::countr_zero(buckets))]) {
                if (text.size() - at < 4 || std::memcmp(text.data() + at, &place.word, 4) != 0) continue;
                const Form& form = forms_[place.form];
                std::optional<Span> there;
                if (at >= place.at && form.size() <= text.size() - (at - place.at) && agrees(text.substr(at - place.at), form.reveal(), work))
                    there = Span{at - place.at, at - place.at + form.size()};
                else if (form.folding != Folding::none)
                    there = folded(text, at, form, place.at, work);
                if (!there || (edge > 0 && (there->begin >= edge || there->end <= edge))) continue;
                ++found;
                const Span span{shift + there->begin, shift + there->end};
                if (!finds.empty() && finds.back().begin <= span.begin && span.begin <= finds.back().end)
                    finds.back().end = std::max(finds.back().end, span.end);
                else
                    finds.push_back(span);
            }
        }
    });
    return found;
}

namespace {

/// How long the break is that `text` ends in, where a line may go on behind it: one of mail that says so, or of base64. Nobody's events or JSON end in either.
std::size_t folds(std::string_view text, bool may_be_half) {
    std::size_t size = text.ends_with("\r\n") ? 2 : text.ends_with('\n') || (may_be_half && text.ends_with('\r')) ? 1 : 0;
    if (size == 0) return 0;
    text.remove_suffix(size);
    if (text.ends_with('=')) return size;
    if (text.size() < shortest_line) return 0;
    text.remove_prefix(text.size() - shortest_line);
    return std::all_of(text.begin(), text.end(), [](char c) { return is_alnum(c) || c == '+' || c == '/'; }) ? size : 0;
}

}  // namespace

std::size_t Needles::open_end(std::string_view text) const {
    const std::size_t most = std::min(text.size(), std::max<std::size_t>(reach_, 1) - 1);
    const auto* const end = reinterpret_cast<const unsigned char*>(text.data()) + text.size();
    const auto& in = *class_;
    std::size_t size = 0;
    for (;;) {
        for (; size + 4 <= most; size += 4) {   // one branch for four: base64 is of that class for as long as it goes
            const unsigned char* const at = end - size;
            if (!(in[at[-1]] & in[at[-2]] & in[at[-3]] & in[at[-4]])) break;
        }
        while (size < most && in[end[-1 - static_cast<std::ptrdiff_t>(size)]]) ++size;
        const std::size_t more = size < most ? folds(text.substr(text.size() - most, most - size), size == 0) : 0;
        if (more == 0) return size;
        size += more;
    }
}

unsigned Needles::mask(std::string& text) const {
    std::vector<Span> finds;
    const unsigned found = find(text, 0, 0, finds);
    for (const Span& span : finds) std::fill(text.begin() + static_cast<std::ptrdiff_t>(span.begin), text.begin() + static_cast<std::ptrdiff_t>(span.end), '*');
    return found;
}

bool Needles::occurs_in(std::string_view text) const {
    std::vector<Span> finds;
    return find(text, 0, 0, finds) > 0;
}

// ---- a body

namespace {

// Where `to` has to grow, nothing of what it was is left behind.
void replace_wiping(std::string& to, std::string_view by) {
    if (to.capacity() < by.size()) wipe(to);
    to.assign(by);
}

}  // namespace

void Scrubber::begin(std::shared_ptr<const Needles> needles) {
    end();
    needles_ = std::move(needles);
}

void Scrubber::end() {
    if (!needles_) return;
    needles_.reset();
    finds_ = 0;
    spans_.clear();
    if (!std::exchange(used_, false)) return;
    for (std::string* buffer : {&held_, &shown_, &joined_, &released_, &copy_}) {   // some are masked, but what an application logs in with may be in there
        wipe(*buffer);
        *buffer = std::string();
    }
    spans_ = {};
}

Scrubber::Passed Scrubber::feed(std::string_view piece, bool last) {
    if (!needles_ || needles_->empty()) return {{}, piece};
    const std::size_t held = held_.size();
    const std::size_t reach = needles_->reach() - 1;   // no find that begins in what is held goes further into the piece
    spans_.clear();
    if (held > 0) {
        joined_.clear();
        append_wiping(joined_, held_);
        append_wiping(joined_, piece.substr(0, reach));
        finds_ += needles_->find(joined_, held, 0, spans_);
    }
    finds_ += needles_->find(piece, 0, held, spans_);
    const bool joined = held > 0 && piece.size() <= reach;   // what is held may go on in it: all of it is joined then
    const std::size_t kept = last ? 0 : needles_->open_end(joined ? std::string_view(joined_) : piece);
    const std::string_view shown = masked(piece);
    used_ = used_ || kept > 0 || shown.data() != piece.data();

    const std::size_t gone = held + piece.size() - kept;
    if (gone < held) {
        replace_wiping(released_, std::string_view(shown_).substr(0, gone));
        append_wiping(held_.erase(0, gone), piece);
        append_wiping(shown_.erase(0, gone), shown);
        return {released_, {}};
    }
    released_.swap(shown_);
    replace_wiping(held_, piece.substr(gone - held));
    replace_wiping(shown_, shown.substr(gone - held));
    return {released_, shown.substr(0, gone - held)};
}

// The finds in what is held and in the piece: the piece itself where there are none in it.
std::string_view Scrubber::masked(std::string_view piece) {
    std::string_view shown = piece;
    const std::size_t held = held_.size();
    std::sort(spans_.begin(), spans_.end(), [](const Needles::Span& a, const Needles::Span& b) { return a.begin < b.begin; });
    std::size_t done = 0;   // up to here: however many overlap, a byte is written once
    for (const Needles::Span& span : spans_) {
        const std::size_t begin = std::max(span.begin, done);
        if (begin >= span.end) continue;
        done = span.end;
        if (begin < held) std::memset(shown_.data() + begin, '*', std::min(span.end, held) - begin);
        if (span.end <= held) continue;
        if (shown.data() == piece.data()) {
            replace_wiping(copy_, piece);
            shown = copy_;
        }
        const std::size_t from = std::max(begin, held);
        std::memset(copy_.data() + (from - held), '*', span.end - from);
    }
    return shown;
}

// ---- heads

unsigned scrub_fields(const Needles& needles, Fields& fields) {
    bool any = false;
    for (const Field field : fields) any = any || needles.occurs_in(field.value) || needles.occurs_in(field.name);
    if (!any) return 0;
    Fields masked;
    unsigned found = 0;
    for (const Field field : fields) {
        std::string name(field.name), value(field.value);
        found += needles.mask(name) + needles.mask(value);   // `*` may stand in a name too (RFC 9110 5.6.2)
        masked.add(name, value);
        wipe(name);
        wipe(value);
    }
    fields.wipe_and_clear();
    fields = std::move(masked);
    return found;
}

unsigned scrub_head(const Needles& needles, ResponseHead& head) { return needles.mask(head.phrase) + scrub_fields(needles, head.fields); }

}  // namespace sluice
