#include "proxy/wire/h1_head.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <cstring>

#include "proxy/base/text.hpp"
#include "proxy/wire/h1.hpp"

namespace sluice {

namespace http = boost::beast::http;

namespace {

std::string_view as_view(boost::beast::string_view text) {
    return {text.data(), text.size()};
}

// Beast's tokenizer over a head that is whole and has been judged; its bodies are never asked for.
template <bool is_request, class Head>
class HeadParser final : public http::basic_parser<is_request> {
  public:
    explicit HeadParser(Head& head) : head_(head) {
        this->header_limit(H1Channel::max_head + 2);
        this->body_limit(boost::none);
        this->skip(true);
    }
    bool too_many_fields() const { return too_many_; }

  private:
    using Error = boost::beast::error_code;
    using View = boost::beast::string_view;

    void on_request_impl(http::verb, View method, View target, int version, Error&) override {
        if constexpr (is_request) {
            head_.method.assign(method.data(), method.size());
            head_.target.assign(target.data(), target.size());
            head_.minor = static_cast<unsigned>(version % 10);
        }
    }
    void on_response_impl(int code, View phrase, int version, Error&) override {
        if constexpr (!is_request) {
            head_.status = static_cast<unsigned>(code);
            head_.phrase.assign(phrase.data(), phrase.size());
            head_.minor = static_cast<unsigned>(version % 10);
        }
    }
    void on_field_impl(http::field, View name, View value, Error& error) override {
        if (head_.fields.size() == H1Channel::max_fields) {
            too_many_ = true;
            error = http::error::header_limit;
            return;
        }
        head_.fields.add(as_view(name), as_view(value));
    }
    void on_header_impl(Error&) override {}
    void on_body_init_impl(const boost::optional<std::uint64_t>&, Error&) override {}
    std::size_t on_body_impl(View body, Error&) override { return body.size(); }
    void on_chunk_header_impl(std::uint64_t, View, Error&) override {}
    std::size_t on_chunk_body_impl(std::uint64_t, View body, Error&) override { return body.size(); }
    void on_finish_impl(Error&) override {}

    Head& head_;
    bool too_many_ = false;
};

/// Beast speaks of lengths and codings before all fields are read, and in words that leave open what is meant. What we have
/// to say of them; nothing: it is something else that it does not like.
template <class Head>
std::optional<std::string> framing_fault(std::string_view raw, Head& head) {
    head.fields.clear();
    raw.remove_prefix(raw.find('\n') + 1);
    while (!raw.starts_with("\r\n")) {  // judged: each line has its colon and its end
        const std::size_t colon = raw.find(':'), end = raw.find('\r');
        head.fields.add(raw.substr(0, colon), trimmed(raw.substr(colon + 1, end - colon - 1)));
        raw.remove_prefix(end + 2);
    }
    if constexpr (std::is_same_v<Head, RequestHead>) {
        if (auto framing = judge_request_framing(head); !framing) return std::move(framing.error().detail);
    } else {
        head.status = 200;  // no other status hides them
        if (auto framing = judge_response_framing(head, "GET"); !framing) return std::move(framing.error().detail);
    }
    return {};
}

template <bool is_request, class Head>
std::optional<HeadFault> parse(std::string_view raw, Head& head) {
    if (const std::string_view bad = judge_raw_head(raw); !bad.empty()) return HeadFault{std::string(bad), false};
    head.clear();
    HeadParser<is_request, Head> parser(head);
    boost::beast::error_code error;
    parser.put(boost::asio::const_buffer(raw.data(), raw.size()), error);
    if (parser.too_many_fields()) {
        return HeadFault{"more than " + std::to_string(H1Channel::max_fields) + " header fields", true};
    }
    if (error == http::error::bad_content_length || error == http::error::multiple_content_length ||
        error == http::error::bad_transfer_encoding) {
        if (auto fault = framing_fault(raw, head)) return HeadFault{std::move(*fault), false};
    }
    if (error || !parser.is_header_done()) {
        return HeadFault{"the head is not valid HTTP/1.1: " + error.message(), false};
    }
    return {};
}

}  // namespace

bool HeadScan::look(std::string_view in) {
    while (line < in.size()) {
        const auto* lf = static_cast<const char*>(std::memchr(in.data() + line, '\n', in.size() - line));
        if (!lf) return false;
        const auto at = static_cast<std::size_t>(lf - in.data());
        if (at == line || in[at - 1] != '\r') {
            fault = "a bare LF in the head";
            return false;
        }
        if (at == line + 1) {
            end = at + 1;
            return true;
        }
        line = at + 1;
    }
    return false;
}

const char* judge_first_byte(char first, bool request) {
    if (!request) return first == 'H' ? nullptr : "the response does not begin with HTTP/1";
    if (first == 0x16)
        return "TLS where plain HTTP was expected: the proxy's own URL is http://, for https targets too";
    return is_token({&first, 1}) ? nullptr : "the request does not begin with a method";
}

std::optional<HeadFault> parse_head(std::string_view raw, RequestHead& head) {
    return parse<true>(raw, head);
}

std::optional<HeadFault> parse_head(std::string_view raw, ResponseHead& head) {
    return parse<false>(raw, head);
}

}  // namespace sluice
