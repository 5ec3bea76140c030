// Finds the secrets that a request was given in what comes back, and masks them: each byte of a find becomes `*`, so that lengths hold. A vendor that
// echoes its request, or an error page that shows it, then tells the application nothing. Pure: `Needles` is immutable and shared by all workers, a
// `Scrubber` belongs to one body on one thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/secret.hpp"
#include "proxy/http/head.hpp"

namespace sluice {

/// What is looked for, compiled: each secret as it is, in base64 (RFC 4648 4 and 5, in all three alignments, without the characters that depend on what
/// stands beside it), in hex, percent-encoded (RFC 3986, as forms, paths and JavaScript do it, and byte for byte) and escaped as libraries do it for JSON, HTML, XML and mail (quoted-printable), where that differs.
/// Lines of base64 and of mail may be broken inside of it, as they are and as JSON has them, but not in the four bytes that the filter looks for: a second
/// place for each would cost a search for one key in base64 a third, for sixteen two thirds.
/// Not found: parts of a secret, as where a vendor cuts what it repeats or answers a range of it; lines of less than 32 characters, encodings of encodings,
/// hex in mixed case, escapes that nobody needs in some places only (`%41` or `&#65;` for A), and those of scripts that escape every symbol (`\x2D`, `\u002D`): three forms more of most tokens cost a search
/// for sixteen of them in base64 half as much again and more, and for two in JSON a tenth.
class Needles {
  public:
    /// Bytes of a secret that is searched: a shorter one would be found by chance, a longer one fits into no head.
    static constexpr std::size_t shortest = 8, longest = 16 * 1024;
    static constexpr std::size_t most_secrets = 16;

    /// With which instructions; all find the same.
    enum class Search : unsigned char { scalar, vector16, avx2, avx512 };
    static Search best_search();
    static bool can(Search search);

    /// Bare secrets: what a header has before them ("Bearer ") is no part of them. Costs some 400 us for a token of 1 KiB.
    explicit Needles(std::span<const Secret> secrets, Search search = best_search());
    Needles(const Needles&) = delete;
    Needles& operator=(const Needles&) = delete;
    ~Needles();

    /// Nothing to look for.
    bool empty() const { return forms_.empty(); }
    std::size_t size() const { return forms_.size(); }
    /// Secrets that are not searched, because they are shorter than `shortest`; because they are longer than `longest` or more than `most_secrets`.
    unsigned too_short() const { return too_short_; }
    unsigned too_much() const { return too_much_; }
    /// Bytes of the longest form, with line breaks, and some at least: fewer are ever held back.
    std::size_t reach() const { return reach_; }
    /// How many bytes at the end of `text` are such as forms are made of, without a gap but line breaks of mail and base64, at most `reach() - 1`: what a form that goes on behind it may
    /// have begun in. Whether they agree with any is not asked: what is done with them may be seen by who must not learn that.
    std::size_t open_end(std::string_view text) const;

    /// Masks a text that is there as a whole. How many were found.
    unsigned mask(std::string& text) const;
    bool occurs_in(std::string_view text) const;

  private:
    friend class Scrubber;

    /// How lines are broken inside of a form: base64's anywhere, mail's by a '=' before the break (RFC 2045 6.7, 6.8).
    enum class Folding : unsigned char { none, base64, mail };
    struct Form {
        Secret text;
        Folding folding = Folding::none;
        std::string_view reveal() const { return text.reveal(); }
        std::size_t size() const { return text.size(); }
        std::size_t most() const;   // bytes with its line breaks
    };
    struct Span {
        std::size_t begin, end;
    };
    /// Where in a form the bytes are that a filter looks for.
    struct Place {
        std::uint32_t form, at;
        std::uint32_t word;   // the four bytes there
    };
    /// Tells nearly all positions where no form can be from those where one may: three bytes in a row, each by a set of up to 8 buckets.
    struct Filter {
        // Not aligned to more than malloc gives: a coroutine's frame would not hold to it.
        std::array<std::array<unsigned char, 16>, 3> low{}, high{};   // by nibble
        std::array<std::array<unsigned char, 64>, 3> six{};           // by the lower six bits
        std::array<std::vector<Place>, 8> buckets;
        bool ascii = true;

        void add(const Place& place, unsigned bucket, std::string_view bytes);
    };
    class Layout;
    using Skip = std::size_t (*)(const Filter&, const char* text, std::size_t from, std::size_t end, unsigned char* hits);
    struct Kernel {
        Skip skip;
        std::size_t width;
    };
    static Kernel kernel_of(Search search);

    template <class Visit>
    void each_candidate(std::string_view text, Visit visit) const;
    static bool agrees(std::string_view text, std::string_view form, std::size_t& work);
    static std::optional<Span> folded(std::string_view text, std::size_t at, const Form& form, std::size_t place, std::size_t& work);
    static void add_forms(std::vector<Form>& forms, const Secret& of);
    friend std::vector<Secret> forms_of(const Secret& secret);
    unsigned find(std::string_view text, std::size_t edge, std::size_t shift, std::vector<Span>& finds) const;

    std::vector<Form> forms_;
    Filter filter_;
    const std::array<bool, 256>* class_;   // of bytes, which all forms are made of
    Kernel kernel_;
    std::size_t reach_ = 0;
    unsigned too_short_ = 0, too_much_ = 0;
};

/// What a secret may look like where somebody repeats it: itself first, then the encodings that `Needles` names.
std::vector<Secret> forms_of(const Secret& secret);

/// One body, piece by piece. What goes on is what came, with every byte of every find masked, whatever the pieces. Held back until more has come is the open
/// end, whether it agrees with a form or not: how much goes on when, and in what parts, depends on how long the pieces are and on what classes their bytes
/// are of, but never on the secret: or whoever chooses what is echoed would learn it byte by byte. No copy where nothing is found or held.
class Scrubber {
  public:
    /// `first`, then `second`: they point into the scrubber or into the piece, and are valid until the next `feed` and as long as the piece.
    struct Passed {
        std::string_view first, second;
    };

    Scrubber() = default;
    Scrubber(const Scrubber&) = delete;
    Scrubber& operator=(const Scrubber&) = delete;
    ~Scrubber() { end(); }

    void begin(std::shared_ptr<const Needles> needles);
    /// `last`: nothing comes after `piece`, so nothing is held back.
    Passed feed(std::string_view piece, bool last);
    /// Forgets everything, and wipes.
    void end();

    std::uint64_t finds() const { return finds_; }
    std::size_t held() const { return held_.size(); }

  private:
    std::string_view masked(std::string_view piece);

    std::shared_ptr<const Needles> needles_;
    std::string held_, shown_;   // the same bytes: as they came, and masked
    std::string joined_, released_, copy_;
    bool used_ = false;   // any of them: most bodies need none
    std::vector<Needles::Span> spans_;
    std::uint64_t finds_ = 0;
};

/// Names, values; of an answer its phrase too. How many finds were masked.
unsigned scrub_fields(const Needles& needles, Fields& fields);
unsigned scrub_head(const Needles& needles, ResponseHead& head);

}  // namespace sluice
