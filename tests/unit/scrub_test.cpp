#include "proxy/credentials/scrub.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <random>
#include <set>

using namespace sluice;

namespace {

std::vector<Secret> secrets(const std::vector<std::string>& texts) {
    std::vector<Secret> out;
    for (std::string text : texts) out.emplace_back(std::move(text));
    return out;
}

std::shared_ptr<const Needles> needles_of(const std::vector<std::string>& texts,
                                          Needles::Search search = Needles::best_search()) {
    return std::make_shared<const Needles>(secrets(texts), search);
}

std::vector<Needles::Search> all_searches() {
    std::vector<Needles::Search> out;
    for (const auto search :
         {Needles::Search::scalar, Needles::Search::vector16, Needles::Search::avx2, Needles::Search::avx512}) {
        if (Needles::can(search)) out.push_back(search);
    }
    return out;
}

std::string base64(const std::string& bytes, bool url) {
    std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", bits, out;
    if (url) alphabet.replace(62, 2, "-_");
    for (const char c : bytes)
        for (int bit = 7; bit >= 0; --bit) bits += (c >> bit & 1) ? '1' : '0';
    while (bits.size() % 6 != 0) bits += '0';
    for (std::size_t i = 0; i < bits.size(); i += 6) out += alphabet[std::stoul(bits.substr(i, 6), nullptr, 2)];
    return out;
}

/// What stays the same whatever stands before and after: found by trying.
std::string in_base64(const std::string& secret, std::size_t before, bool url) {
    std::string common;
    std::size_t first = std::string::npos, last = 0;
    const std::string one = base64(std::string(before, '\0') + secret + std::string(3, '\0'), url);
    std::vector<bool> same(one.size(), true);
    for (const char around : {'\xff', '\x55', '\xaa', '\x0f'}) {
        const std::string other = base64(std::string(before, around) + secret + std::string(3, around), url);
        for (std::size_t i = 0; i < one.size(); ++i) same[i] = same[i] && one[i] == other[i];
    }
    for (std::size_t i = 0; i < one.size(); ++i) {
        if (!same[i]) continue;
        first = std::min(first, i);
        last = i + 1;
    }
    return one.substr(first, last - first);
}

std::string formatted(const std::string& secret, const std::function<bool(char)>& escapes, const char* format) {
    std::string out;
    for (const char c : secret) {
        char escaped[16];
        std::snprintf(escaped, sizeof escaped, format, static_cast<unsigned>(static_cast<unsigned char>(c)));
        if (escapes(c))
            out += escaped;
        else
            out += c;
    }
    return out;
}
std::string replaced(std::string text, const std::string& what, const std::string& by) {
    for (std::size_t at = 0; (at = text.find(what, at)) != text.npos; at += by.size())
        text.replace(at, what.size(), by);
    return text;
}
bool is_unreserved(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || std::string("-._~").find(c) != std::string::npos;
}

/// The forms that are looked for, made in another way.
std::set<std::string> plain_forms(const std::string& secret) {
    const auto always = [](char) { return true; };
    const auto reserved = [](char c) { return !is_unreserved(c); };
    const auto but = [](const std::string& kept) {
        return [kept](char c) { return !is_unreserved(c) && kept.find(c) == kept.npos; };
    };
    std::set<std::string> out{secret, formatted(secret, always, "%02x"), formatted(secret, always, "%02X")};
    for (const bool url : {false, true})
        for (const std::size_t before : {0u, 1u, 2u}) out.insert(in_base64(secret, before, url));
    for (const char* format : {"%%%02x", "%%%02X"}) {
        out.insert(formatted(secret, always, format));
        out.insert(formatted(secret, reserved, format));
        out.insert(replaced(formatted(secret, but(" "), format), " ", "+"));
        out.insert(formatted(secret, but("/"), format));
        out.insert(formatted(secret, but("!'()*"), format));
        out.insert(formatted(secret, but("!'()*;,/?:@&=+$#"), format));
        out.insert(formatted(secret, but("$&+:=@"), format));
        for (const char* kept : {"!$&'()*+,;=:@", "!$&'()*+,%", "$&+,;=", "!#$&'()*+/:<>?@[]^`{|}", "!$&'()*,;=:@/?"})
            out.insert(formatted(secret, but(kept), format));
        out.insert(replaced(
            formatted(
                secret, [](char c) { return c == '~' || (!is_unreserved(c) && c != '*' && c != ' '); }, format),
            " ", "+"));
    }
    const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20; };
    const std::string json = formatted(replaced(replaced(secret, "\\", "\\\\"), "\"", "\\\""), control, "\\u%04x");
    out.insert(json);
    out.insert(replaced(json, "/", "\\/"));
    for (const char* format : {"\\u%04x", "\\u%04X"})
        out.insert(formatted(
            json, [](char c) { return c == '<' || c == '>' || c == '&'; }, format));
    out.insert(formatted(
        replaced(secret, "\\", "\\\\"), [](char c) { return std::string("\"&'+<>`").find(c) != std::string::npos; },
        "\\u%04X"));
    for (const std::string& escaped : {std::string("<>&'="), std::string("<>&'")})
        out.insert(formatted(
            json, [&](char c) { return escaped.find(c) != escaped.npos; }, "\\u%04x"));
    const auto one_of = [](std::string listed) { return [listed](char c) { return listed.find(c) != listed.npos; }; };
    out.insert(formatted(json, one_of("&<=>"), "\\u%04X"));
    out.insert(formatted(replaced(replaced(secret, "\\", "\\\\"), "/", "\\/"), one_of("\"&'+<>`"), "\\u%04x"));
    out.insert(formatted(secret, one_of("\"&'-;<=>\\`"), "\\u%04X"));
    out.insert(formatted(secret, [](char c) { return c == '=' || c < 0x20 || c > 0x7e; }, "=%02X"));
    using References = std::vector<std::pair<std::string, std::string>>;
    const auto page = [&](const References& more) {
        std::string text = secret;
        for (const auto& [character, reference] : References{{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}})
            text = replaced(text, character, reference);
        for (const auto& [character, reference] : more) {
            std::string next;
            for (std::size_t at = 0; at < text.size();) {   // not in what has become a reference already
                const bool made = text[at] == '&';
                const std::size_t end = made ? text.find(';', at) + 1 : at + 1;
                next += made ? text.substr(at, end - at) : replaced(text.substr(at, 1), character, reference);
                at = end;
            }
            text = next;
        }
        out.insert(text);
    };
    page({});
    page({{"\"", "&quot;"}});
    for (const char* apostrophe : {"&#39;", "&#039;", "&apos;", "&#x27;"}) page({{"\"", "&quot;"}, {"'", apostrophe}});
    page({{"\"", "&#34;"}, {"'", "&#39;"}});
    page({{"\"", "&#34;"}, {"'", "&#39;"}, {"+", "&#43;"}});
    page({{"\"", "&quot;"}, {"'", "&#x27;"}, {"+", "&#x2B;"}});
    page({{"\"", "&quot;"}, {"'", "&#39;"}, {"/", "&#47;"}});
    page({{"\"", "&quot;"}, {"'", "&#39;"}, {"/", "&#x2F;"}, {"=", "&#x3D;"}, {"`", "&#x60;"}});
    page({{"\"", "&quot;"}, {"'", "&#x27;"}, {"=", "&#x3D;"}, {"`", "&#x60;"}});
    page({{"\"", "&quot;"}, {"'", "&#x27;"}, {"/", "&#x2F;"}});
    const auto beyond = [](char c) { return static_cast<unsigned char>(c) >= 0x80; };
    if (std::none_of(secret.begin(), secret.end(), beyond)) return out;   // of those here that are not, none is UTF-8
    const std::set<std::string> so_far = out;
    for (const std::string& form : so_far)
        if (form.find('&') != form.npos || form == secret)
            for (const char* format : {"&#%u;", "&#x%X;"}) out.insert(formatted(form, beyond, format));
    for (const std::string& text : {json, replaced(json, "/", "\\/"), formatted(json, one_of("&'<>"), "\\u%04x")})
        out.insert(formatted(text, beyond, "\\u%04x"));
    for (const std::string& text :
         {formatted(replaced(replaced(secret, "\\", "\\\\"), "\"", "\\\""), control, "\\u%04X"),
          formatted(replaced(secret, "\\", "\\\\"), [&](char c) { return control(c) || one_of("\"&'+<>`")(c); }, "\\u%04X")})
        out.insert(formatted(text, beyond, "\\u%04X"));
    std::string again;
    for (const char c : secret) {
        if (!beyond(c)) again += c;
        else again.append(static_cast<unsigned char>(c) < 0xc0 ? "\xc2" : "\xc3") += static_cast<char>(c & 0xbf);
    }
    out.insert(again);
    return out;
}

struct Masked {
    std::string text;
    std::size_t finds = 0;
};
Masked naively(const std::string& text, const std::set<std::string>& forms) {
    Masked out{text, 0};
    for (const std::string& form : forms) {
        for (std::size_t at = 0; (at = text.find(form, at)) != text.npos; ++at) {
            ++out.finds;
            out.text.replace(at, form.size(), form.size(), '*');
        }
    }
    return out;
}

/// How much of the end has to wait: what could be part of a form by its characters, whatever they are.
std::size_t naive_hold(const std::string& text, const std::set<std::string>& forms, std::size_t reach) {
    const std::string ends_a_line = "\r\n", tokens = "-._~+/=%\\:@&;$*!?#^";
    const auto is_token = [&](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) != 0 || tokens.find(c) != tokens.npos;
    };
    bool any_line_end = false, all_tokens = true;
    for (const std::string& form : forms) {
        any_line_end |= form.find_first_of(ends_a_line) != form.npos;
        all_tokens &= std::all_of(form.begin(), form.end(), is_token);
    }
    std::size_t hold = 0;
    for (; hold < text.size() && hold < reach - 1; ++hold) {
        const char c = text[text.size() - 1 - hold];
        if (!any_line_end && (all_tokens ? !is_token(c) : ends_a_line.find(c) != ends_a_line.npos)) break;
    }
    return hold;
}

struct Streamed {
    std::string text;
    std::uint64_t finds = 0;
};
/// Feeds pieces of the sizes that `size` says; each in memory of its own, so that nothing relies on what is next to it.
Streamed stream(std::shared_ptr<const Needles> needles, const std::string& text,
                const std::function<std::size_t()>& size,
                const std::function<void(std::size_t fed, const Scrubber&)>& check = {}) {
    Scrubber scrubber;
    scrubber.begin(std::move(needles));
    Streamed out;
    for (std::size_t at = 0; at <= text.size();) {
        const std::string piece = text.substr(at, size());
        at += piece.size();
        const bool last = at == text.size();
        const auto passed = scrubber.feed(piece, last);
        out.text.append(passed.first).append(passed.second);
        if (check) check(at, scrubber);
        if (last) break;
    }
    out.finds = scrubber.finds();
    return out;
}

/// What an application sees of a body, and when: the sizes that go on for each piece that comes, and what waits then.
std::vector<std::size_t> shape_of(std::shared_ptr<const Needles> needles, const std::string& text, std::size_t size) {
    Scrubber scrubber;
    scrubber.begin(std::move(needles));
    std::vector<std::size_t> out;
    for (std::size_t at = 0;; at += size) {
        const std::string piece = at < text.size() ? text.substr(at, size) : std::string();   // the end comes by itself
        const auto passed = scrubber.feed(piece, at >= text.size());
        out.insert(out.end(), {passed.first.size(), passed.second.size(), scrubber.held()});
        if (at >= text.size()) return out;
    }
}

std::string mask_of(const Needles& needles, std::string text) {
    needles.mask(text);
    return text;
}

}  // namespace

TEST_CASE("a secret is masked in each of its forms by as many stars, and nothing else is") {
    const std::vector<std::string> all = {"sk-live-0123456789abcdef",
                                          "12345678",
                                          "p@ss \"w/ord\\+=~!*",
                                          "<&>'`+++++++",
                                          "tab\there\x01 and\x1f there",
                                          "\xf0\x9f\x92\xa9\xff\xfe\x80\x81\x82",
                                          "a/b+c=d//e++f",
                                          std::string("nul\0inside\0it", 13)};
    for (const std::string& secret : all) {
        for (const auto search : all_searches()) {
            const Needles needles(secrets({secret}), search);
            const auto forms = plain_forms(secret);
            CHECK(needles.size() >= forms.size());
            for (const std::string& form : forms) {
                CAPTURE(secret, form, static_cast<int>(search));
                CHECK(needles.occurs_in(form));
                CHECK(mask_of(needles, form) == std::string(form.size(), '*'));
                CHECK(mask_of(needles, "\x02~" + form + "\x02\x02") ==
                      "\x02~" + std::string(form.size(), '*') + "\x02\x02");
                CHECK(mask_of(needles, form.substr(1)).find('*') == form.substr(1).find('*'));
            }
        }
    }
}

TEST_CASE("a secret inside of anything that is base64 is masked wherever it stands there") {
    const std::string secret = "correct?horse>battery";
    const Needles needles(secrets({secret}));
    for (std::size_t before = 0; before < 7; ++before) {
        for (std::size_t after = 0; after < 4; ++after) {
            for (const bool url : {false, true}) {
                const std::string text = base64(std::string(before, 'u') + secret + std::string(after, ':'), url);
                const std::string masked = mask_of(needles, text);
                CAPTURE(text, masked);
                CHECK(masked.size() == text.size());
                // At most a character at either end belongs to the neighbours too.
                CHECK(std::count(masked.begin(), masked.end(), '*') >= static_cast<long>(secret.size() * 4 / 3 - 1));
            }
        }
    }
}

TEST_CASE("a secret of which every byte is percent-encoded is masked") {
    const Needles needles(secrets({"Sekret-9"}));
    CHECK(mask_of(needles, "/%53%65%6b%72%65%74%2d%39/") == "/" + std::string(24, '*') + "/");
    CHECK(mask_of(needles, "/%53%65%6B%72%65%74%2D%39/") == "/" + std::string(24, '*') + "/");
}

namespace {

void check_masked(const std::string& secret, const std::vector<std::pair<const char*, std::string>>& as_libraries_write_it) {
    const Needles needles(secrets({secret}));
    for (const auto& [library, text] : as_libraries_write_it) {
        CAPTURE(library, text);
        CHECK(mask_of(needles, "(" + text + ")") == "(" + std::string(text.size(), '*') + ")");
    }
}

}  // namespace

TEST_CASE("a secret is masked as each usual library escapes it for a page or for JSON") {
    const std::string secret = "a+b/c=d&e<f>g\"h'i`j";
    const std::vector<std::pair<const char*, std::string>> rows = {
        {"XML", "a+b/c=d&amp;e&lt;f&gt;g\"h'i`j"},
        {"Apache", "a+b/c=d&amp;e&lt;f&gt;g&quot;h'i`j"},
        {"Express, Rails, Spring", "a+b/c=d&amp;e&lt;f&gt;g&quot;h&#39;i`j"},
        {"PHP", "a+b/c=d&amp;e&lt;f&gt;g&quot;h&#039;i`j"},
        {"Jetty", "a+b/c=d&amp;e&lt;f&gt;g&quot;h&apos;i`j"},
        {"Python, Django", "a+b/c=d&amp;e&lt;f&gt;g&quot;h&#x27;i`j"},
        {"Go, Jinja", "a+b/c=d&amp;e&lt;f&gt;g&#34;h&#39;i`j"},
        {"Go's templates", "a&#43;b/c=d&amp;e&lt;f&gt;g&#34;h&#39;i`j"},
        {"ASP.NET Core", "a&#x2B;b/c=d&amp;e&lt;f&gt;g&quot;h&#x27;i`j"},
        {"Tomcat", "a+b&#47;c=d&amp;e&lt;f&gt;g&quot;h&#39;i`j"},
        {"Mustache", "a+b&#x2F;c&#x3D;d&amp;e&lt;f&gt;g&quot;h&#39;i&#x60;j"},
        {"Handlebars", "a+b/c&#x3D;d&amp;e&lt;f&gt;g&quot;h&#x27;i&#x60;j"},
        {"OWASP", "a+b&#x2F;c=d&amp;e&lt;f&gt;g&quot;h&#x27;i`j"},
        {"JSON", "a+b/c=d&e<f>g\\\"h'i`j"},
        {"PHP's JSON", "a+b\\/c=d&e<f>g\\\"h'i`j"},
        {"Go's JSON", "a+b/c=d\\u0026e\\u003cf\\u003eg\\\"h'i`j"},
        {"Gson", "a+b/c\\u003dd\\u0026e\\u003cf\\u003eg\\\"h\\u0027i`j"},
        {"Flask", "a+b/c=d\\u0026e\\u003cf\\u003eg\\\"h\\u0027i`j"},
        {"System.Text.Json", "a\\u002Bb/c=d\\u0026e\\u003Cf\\u003Eg\\u0022h\\u0027i\\u0060j"},
    };
    check_masked(secret, rows);
}

TEST_CASE("a key is masked as each usual library writes it into a path, or into a script") {
    const std::string secret = "S3cr+t/Va=lue-0123&x@y:z";
    const std::vector<std::pair<const char*, std::string>> rows = {
        {"Go's PathEscape", "S3cr+t%2FVa=lue-0123&x@y:z"},
        {"the same in lower case", "S3cr+t%2fVa=lue-0123&x@y:z"},
        {"Python's quote", "S3cr%2Bt/Va%3Dlue-0123%26x%40y%3Az"},
        {"Go's QueryEscape", "S3cr%2Bt%2FVa%3Dlue-0123%26x%40y%3Az"},
        {"encodeURI", "S3cr+t/Va=lue-0123&x@y:z"},
        {"Node's URL.password", "S3cr+t%2FVa%3Dlue-0123&x%40y%3Az"},
        {"Go's url.UserPassword", "S3cr+t%2FVa=lue-0123&x%40y%3Az"},
        {"a cookie", "S3cr+t/Va%3Dlue-0123&x@y:z"},
        {"only the plus", "S3cr%2Bt/Va=lue-0123&x@y:z"},
        {"Go's JSEscapeString", "S3cr+t/Va\\u003Dlue-0123\\u0026x@y:z"},
        {"Go's templates", "S3cr\\u002bt\\/Va=lue-0123\\u0026x@y:z"},
        {"Django's escapejs", "S3cr+t/Va\\u003Dlue\\u002D0123\\u0026x@y:z"},
    };
    check_masked(secret, rows);
    CHECK(mask_of(Needles(secrets({"it's;a/key!"})), "/it's;a%2Fkey!") == "/" + std::string(13, '*'));   // all that a segment may hold
}

TEST_CASE("a password in another language is masked as libraries write it that keep to ASCII") {
    check_masked("Gr\xc3\xbc\xc3\x9f\x65 & \xe2\x82\xac/\xf0\x9f\x92\xa9", {
        {"Python's JSON", "Gr\\u00fc\\u00dfe & \\u20ac/\\ud83d\\udca9"},
        {"PHP's JSON", "Gr\\u00fc\\u00dfe & \\u20ac\\/\\ud83d\\udca9"},
        {"System.Text.Json", "Gr\\u00FC\\u00DFe \\u0026 \\u20AC/\\uD83D\\uDCA9"},
        {"Python's xmlcharrefreplace", "Gr&#252;&#223;e &amp; &#8364;/&#128169;"},
        {"libxml2", "Gr&#xFC;&#xDF;e &amp; &#x20AC;/&#x1F4A9;"},
        {"a field's value, which Python reads as Latin-1", "Gr\\u00c3\\u00bc\\u00c3\\u009fe & \\u00e2\\u0082\\u00ac/\\u00f0\\u009f\\u0092\\u00a9"},
        {"the same from Node", "Gr\xc3\x83\xc2\xbc\xc3\x83\xc2\x9f\x65 & \xc3\xa2\xc2\x82\xc2\xac/\xc3\xb0\xc2\x9f\xc2\x92\xc2\xa9"},
    });
    check_masked("p\xfc\xdfword-1", {{"JSON of Latin-1", "p\\u00fc\\u00dfword-1"}, {"a page of it", "p&#252;&#223;word-1"}});
}

TEST_CASE("forms that are the same are looked for once, and a beginning of a secret stays") {
    // As it is, base64 thrice ('+' and '/' do not occur), hex, bare and after '%': twice where it has letters.
    CHECK(Needles(secrets({"jklmnopq"})).size() == 8);
    CHECK(Needles(secrets({"12345678"})).size() == 6);
    CHECK(Needles(secrets({"12345678", "12345678"})).size() == 6);
    const Needles needles(secrets({"abcdefgh"}));
    CHECK(mask_of(needles, "abcdefg abcdefgX bcdefgh") == "abcdefg abcdefgX bcdefgh");
    CHECK(mask_of(needles, "ABCDEFGH") == "ABCDEFGH");
}

TEST_CASE("secrets under 8 bytes are not searched but counted, and so are those beyond every bound") {
    const Needles needles(secrets({"1234567", "", std::string(Needles::longest + 1, 'x'), "good-secret"}));
    CHECK(needles.too_short() == 2);
    CHECK(needles.too_much() == 1);
    CHECK(mask_of(needles, "1234567 good-secret") == "1234567 ***********");
    CHECK(Needles(secrets({"short"})).empty());
    CHECK(mask_of(Needles(secrets({})), "anything") == "anything");

    std::vector<std::string> many;
    for (std::size_t i = 0; i <= Needles::most_secrets; ++i) many.push_back("secret-number-" + std::to_string(100 + i));
    const Needles first(secrets(many));
    CHECK(first.too_much() == 1);
    CHECK(first.occurs_in(many[Needles::most_secrets - 1]));
    CHECK_FALSE(first.occurs_in(many[Needles::most_secrets]));

    const std::string longest(Needles::longest, 'z');
    CHECK(Needles(secrets({longest})).occurs_in("a" + longest));
}

TEST_CASE("whatever the pieces, a body comes out as if it had been searched as a whole") {
    std::mt19937 random(20261126);
    const auto draw = [&](std::size_t below) { return static_cast<std::size_t>(random() % below); };
    const auto text_of = [&](std::size_t size, const std::string& alphabet) {
        std::string out;
        while (out.size() < size) out += alphabet[draw(alphabet.size())];
        return out;
    };
    const std::string alphabets[] = {"ab", "aab", "a\xe1", "aA!", "61a", "ab/+% \"\\", "\xf0\x01 "};
    for (int round = 0; round < 600; ++round) {
        const std::string& alphabet = alphabets[draw(std::size(alphabets))];
        std::vector<std::string> texts;
        std::set<std::string> forms;
        for (std::size_t count = 1 + draw(3); count > 0; --count) {
            texts.push_back(text_of(8 + draw(round % 10 == 0 ? 200 : 6), alphabet));
            forms.merge(plain_forms(texts.back()));
        }
        const std::vector<std::string> list(forms.begin(), forms.end());
        std::string body;
        while (body.size() < 400) {  // whole forms, parts of them, and what looks like them
            const std::string& form = list[draw(list.size())];
            switch (draw(4)) {
            case 0: body += form; break;
            case 1: body += form.substr(0, draw(form.size())); break;
            case 2: body += form.substr(draw(form.size())); break;
            case 3: body += text_of(draw(40), alphabet); break;
            }
        }
        const Masked expected = naively(body, forms);
        for (const auto search : all_searches()) {
            const auto needles = needles_of(texts, search);
            CAPTURE(round, static_cast<int>(search), texts, body);
            CHECK(mask_of(*needles, body) == expected.text);
            const std::size_t most = 1 + draw(80);
            const Streamed got = stream(
                needles, body, [&] { return draw(most + 1); },
                [&](std::size_t fed, const Scrubber& scrubber) {
                    const std::size_t hold = fed == body.size() ? 0 : naive_hold(body.substr(0, fed), forms, needles->reach());
                    if (scrubber.held() != hold) CHECK(scrubber.held() == hold);
                });
            CHECK(got.text == expected.text);
            CHECK(got.finds == expected.finds);
        }
    }
}

TEST_CASE("a secret is found at every place of a piece and across every edge") {
    const std::string secret = "Zq7-secret";
    for (const auto search : all_searches()) {
        const auto needles = needles_of({secret}, search);
        for (std::size_t at = 0; at < 150; ++at) {
            std::string body(at + secret.size() + at % 70, '.');
            body.replace(at, secret.size(), secret);
            std::string expected = body;
            expected.replace(at, secret.size(), secret.size(), '*');
            for (std::size_t edge = 0; edge <= body.size(); edge += 1 + edge % 3) {
                std::size_t piece = 0;
                const Streamed got = stream(needles, body, [&] { return piece++ == 0 ? edge : body.size(); });
                if (got.text != expected) CHECK(got.text == expected);
            }
            CHECK(mask_of(*needles, body) == expected);
        }
    }
}

namespace {

std::string wrapped(const std::string& text, std::size_t width, std::size_t offset, const std::string& with) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (i > 0 && (i + offset) % width == 0) out += with;
        out += text[i];
    }
    return out;
}

}  // namespace

TEST_CASE("a secret is masked where mail, PEM or JSON breaks its base64 into lines, but in the bytes that are looked for") {
    const std::string jwt = "eyJhbGciOiJSUzI1NiJ9.QWxhZGRpbjpvcGVuIHNlc2FtZQQWxhZGRpbjpvcGVuIHNlc2FtZQ.sigsigSIG_-123sigsigSIG_-123";
    for (const std::string& secret : {jwt, std::string("S3cr=t/Va+ue-0123"), std::string("Sekret-9")}) {
        const auto forms = plain_forms(secret);
        const auto needles = needles_of({secret});
        for (const std::size_t before : {0u, 1u, 2u}) {
            const std::string form = in_base64(secret, before, false);
            for (const std::size_t width : {57u, 60u, 64u, 76u}) {
                for (const char* with : {"\n", "\r\n", "\\n", "\\r\\n"}) {
                    std::size_t unseen = 0;   // where the break is in the four bytes that the filter looks for
                    for (std::size_t offset = 0; offset < width; ++offset) {
                        const std::string text = std::string(80, 'x') + "A\n" + wrapped(form, width, offset, with) + with;
                        const std::string masked = mask_of(*needles, text);
                        const bool all = masked.substr(82) == std::string(text.size() - 82 - std::string(with).size(), '*') + with;
                        if (!all) CHECK(masked == text);
                        unseen += !all;
                    }
                    CAPTURE(secret, before, width, with);
                    CHECK(unseen <= 3);
                }
            }
        }
    }
}

TEST_CASE("a secret is masked where quoted-printable breaks its line softly") {
    for (const auto& [secret, form] : {std::pair<std::string, std::string>{"eyJhbGciOiJSUzI1NiJ9.QWxhZGRpbjpvcGVuIHNlc2FtZQ", "eyJhbGciOiJSUzI1NiJ9.QWxhZGRpbjpvcGVuIHNlc2FtZQ"},
                                       {"S3cr=t/Va+ue-0123", "S3cr=3Dt/Va+ue-0123"}}) {
        const auto needles = needles_of({secret});
        for (const char* with : {"=\n", "=\r\n"}) {
            std::size_t unseen = 0;
            for (std::size_t offset = 0; offset < 75; ++offset) {
                const std::string text = "token: " + wrapped(form, 75, offset, with);
                unseen += mask_of(*needles, text) != "token: " + std::string(text.size() - 7, '*');
            }
            CHECK(unseen <= 3);
        }
        if (form.find('=') == form.npos) CHECK_FALSE(needles->occurs_in(wrapped(form, 40, 20, "\n")));   // that is no soft break
    }
}

TEST_CASE("a secret in lines of base64 or of mail is masked across every edge, and counted once") {
    const std::string secret = "S3cr=t/Va+ue-0123-and-more-of-the-same-as-tokens-are";
    for (const auto search : all_searches()) {
        const auto needles = needles_of({secret}, search);
        const std::string form = in_base64(secret, 0, false);
        for (const auto& [lines, size] : {std::pair{std::string(57, 'x') + "\r\n" + wrapped(form, 60, 20, "\r\n") + "\r\n", std::size_t{57}},
                                          {"x: y=\n" + wrapped("S3cr=3Dt/Va+ue-0123-and-more-of-the-same-as-tokens-are", 76, 50, "=\n") + "\n", std::size_t{6}}}) {
            const std::string expected = mask_of(*needles, lines);
            REQUIRE(std::count(expected.begin(), expected.end(), '*') > 50);
            for (std::size_t edge = 0; edge <= lines.size(); ++edge) {
                for (const std::size_t next : {std::size_t{1}, std::size_t{5}, lines.size()}) {
                    std::size_t piece = 0;
                    const Streamed got = stream(needles, lines, [&] { return piece++ == 0 ? edge : next; });
                    CAPTURE(edge, next, size);
                    if (got.text != expected || got.finds != 1) {
                        CHECK(got.text == expected);
                        CHECK(got.finds == 1);
                    }
                }
            }
        }
    }
}

TEST_CASE("lines of base64 wait for the next one; others, events and JSON go on at once") {
    const auto needles = needles_of({"sk-live-0123456789abcdef"});
    const std::string line(76, 'A');
    CHECK(needles->open_end(line + "\n") == 77);
    CHECK(needles->open_end(line + "\r\n") == 78);
    CHECK(needles->open_end(line + "\r") == 77);
    CHECK(needles->open_end("token: abc=\r\n") == 6);
    for (const char* line_end : {"{\"a\":1}\n", "data: completed\n\n", "done\n", "https://api.example.com/v1/charges/1234\n"}) CHECK(needles->open_end(line_end) == 0);
    CHECK(needles->open_end("data: " + line + "\n\n") == 0);
}

TEST_CASE("a piece in which nothing is found goes on as it is, without a copy") {
    Scrubber scrubber;
    scrubber.begin(needles_of({"secret-secret"}));
    const std::string piece = "data: an event that ends in nothing of interest\n\n";
    const auto passed = scrubber.feed(piece, false);
    CHECK(passed.first.empty());
    CHECK(passed.second.data() == piece.data());
    CHECK(passed.second.size() == piece.size());

    const std::string tail = "so far: secret-s";
    const auto most = scrubber.feed(tail, false);
    CHECK(most.second.data() == tail.data());
    CHECK(most.second == "so far: ");
    CHECK(scrubber.held() == 8);

    const std::string rest = "ea and land";
    const auto released = scrubber.feed(rest, false);
    CHECK(released.first == "secret-s");
    CHECK(released.second.data() == rest.data());
    CHECK(released.second == "ea and ");
    CHECK(scrubber.held() == 4);
}

TEST_CASE("a guess at a secret looks the same whether it is right or wrong: what goes on when, in which parts, and what waits") {
    const std::string before = "no such item: |";
    for (const std::string& secret : {std::string("sk-live-0123456789abcdef"), std::string("zz9+/=&zz9"),
                                      std::string("pass word {\"of\"} \xc3\xbcs"), std::string("two\r\nlines ")}) {
        const std::vector<Secret> forms = forms_of(Secret(std::string(secret)));
        for (const auto search : all_searches()) {
            const auto needles = needles_of({secret}, search);
            for (const Secret& form : forms) {
                for (std::size_t size = 1; size < form.size(); ++size) {
                    const std::string right(form.reveal().substr(0, size));
                    std::string wrong_first = right, wrong_last = right;
                    for (char* c : {&wrong_first.front(), &wrong_last.back()}) *c = *c == 'x' ? 'y' : 'x';
                    for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, before.size(), before.size() + size}) {
                        const auto shape = shape_of(needles, before + right, piece);
                        for (const std::string& wrong : {wrong_first, wrong_last}) {
                            CAPTURE(static_cast<int>(search), right, wrong, piece);
                            if (shape_of(needles, before + wrong, piece) != shape)
                                CHECK(shape_of(needles, before + wrong, piece) == shape);
                        }
                    }
                }
            }
        }
    }
}

TEST_CASE("what waits is an end of such characters as the secret's forms have, shorter than the longest of them") {
    struct Row {
        std::string secret, piece;
        std::size_t held;
    };
    const std::string token = "sk-live-0123456789", password = "pass word 1", lines = "two\nlines";
    const std::vector<Row> rows = {
        {token, "data: {\"done\": true}\n\n", 0},
        {token, "{\"id\":1}", 0},
        {token, "[1,2]", 0},
        {token, "\"text\"", 0},
        {token, "a line\r\n", 0},
        {token, "a word ", 0},
        {token, "1,2,", 0},
        {token, "<p>", 0},
        {token, "a word", 4},
        {token, "a=%2F:b@c.d~e_f;$*&\\+/!?#^", 26},
        {token, "caf\xc3\xa9", 0},
        {token, std::string(1000, 'a'), Needles(secrets({token})).reach() - 1},
        {password, "{\"id\":1} caf\xc3\xa9", 14},
        {password, "event: a\n\n", 0},
        {password, "event: a\r", 0},
        {password, "b\ntwo words", 9},
        {password, std::string(1000, ' '), Needles(secrets({password})).reach() - 1},
        {lines, "data: 1\n\n", 9},
        {lines, std::string(1000, '\r'), Needles(secrets({lines})).reach() - 1},
    };
    for (const Row& row : rows) {
        CAPTURE(row.secret, row.piece);
        Scrubber scrubber;
        scrubber.begin(needles_of({row.secret}));
        const auto passed = scrubber.feed(row.piece, false);
        CHECK(scrubber.held() == row.held);
        CHECK(passed.second == row.piece.substr(0, row.piece.size() - row.held));
    }
    CHECK(Needles(secrets({})).open_end("anything") == 0);
}

TEST_CASE("what is held back goes out at the end") {
    Scrubber scrubber;
    scrubber.begin(needles_of({"secret-secret"}));
    CHECK(scrubber.feed("secret-secre", false).second.empty());
    const auto passed = scrubber.feed("", true);
    CHECK(passed.first == "secret-secre");
    CHECK(scrubber.held() == 0);
    CHECK(scrubber.finds() == 0);
}

TEST_CASE("a search is no slower for a secret that repeats itself in a body made for it, and no find is left") {
    // Everywhere but at its end the body agrees with the secret for thousands of bytes.
    const std::string half(Needles::longest / 2 - 1, 'a');
    const std::string secret = half + "bb" + half;
    for (const auto search : all_searches()) {
        const auto needles = needles_of({secret}, search);
        std::string body;
        for (int i = 0; i < 20; ++i) body += half + "aaabb" + half.substr(0, half.size() - 1) + "c";
        body += secret + std::string(100'000, 'a');
        const Streamed got = stream(needles, body, [] { return std::size_t{16} * 1024; });
        CHECK(got.text.size() == body.size());
        CHECK(got.text.find(secret) == got.text.npos);
        for (std::size_t i = 0; i < body.size(); ++i)
            if (got.text[i] != body[i] && got.text[i] != '*') CHECK(i == 0);
    }
}

TEST_CASE("of a head the phrase, names and values are searched") {
    ResponseHead head;
    head.status = 401;
    head.phrase = "No tok-12345678 here";
    head.fields.add("Content-Type", "text/plain");
    head.fields.add("X-Echo", "Bearer tok-12345678, tok-12345678");
    head.fields.add("X-tok-12345678", "1");
    head.fields.add("Set-Cookie", "a=" + base64("u:tok-12345678", false));
    head.fields.add("Set-Cookie", "b=1");
    const Needles needles(secrets({"tok-12345678"}));
    CHECK(scrub_head(needles, head) == 5);
    CHECK(head.phrase == "No ************ here");
    REQUIRE(head.fields.size() == 5);
    CHECK(head.fields[0].known == Known::content_type);
    CHECK(head.fields[1].value == "Bearer ************, ************");
    CHECK(head.fields[2].name == "X-************");
    CHECK(std::string(head.fields[3].value).find(std::string(15, '*')) != std::string::npos);
    CHECK(head.fields[4].value == "b=1");
    CHECK(scrub_head(needles, head) == 0);

    Fields trailers;
    trailers.add("X-Sum", "746f6b2d3132333435363738");
    CHECK(scrub_fields(needles, trailers) == 1);
    CHECK(trailers[0].value == std::string(24, '*'));
}
