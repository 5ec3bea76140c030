#include "proxy/credentials/aws_error.hpp"

#include <algorithm>

#include "proxy/base/json_scan.hpp"
#include "proxy/base/text.hpp"

namespace sluice {

namespace {

/// "com.amazonaws.dynamodb.v20120810#ExpiredTokenException", "ExpiredTokenException:http://internal.amazon.com/": the
/// name alone. A wrong secret key (SignatureDoesNotMatch) is not among them: an application can bring that about.
bool is_of_refused_key(std::string_view code) {
    constexpr std::string_view codes[] = {"ExpiredToken",          "ExpiredTokenException", "InvalidAccessKeyId",
                                          "InvalidClientTokenId",  "InvalidToken",          "TokenRefreshRequired",
                                          "UnrecognizedClientException"};
    code = code.substr(0, code.find(':'));
    code.remove_prefix(code.rfind('#') + 1);
    code = trimmed(code);
    return std::find(std::begin(codes), std::end(codes), code) != std::end(codes);
}

}  // namespace

std::optional<bool> says_key_is_refused(const ResponseHead& head) {
    if (head.status != 400 && head.status != 403) return false;
    const auto type = head.fields.find("X-Amzn-Errortype");
    if (type) return is_of_refused_key(*type);
    return {};
}

bool tells_of_refused_key(std::string_view body) {
    constexpr std::string_view open = "<Code>", close = "</Code>";
    body.remove_prefix(std::min(body.find_first_not_of(" \t\r\n"), body.size()));
    if (body.starts_with('<')) {
        const std::size_t at = body.find(open), end = body.find(close, std::min(at, body.size()));
        return end != body.npos && is_of_refused_key(body.substr(at + open.size(), end - at - open.size()));
    }
    JsonScan scan;
    scan.start();
    while (const JsonScan::Value* value = scan.next(body)) {
        if (value->kind != JsonScan::Value::Kind::string) continue;
        if (!scan.at({"__type"}) && !scan.at({"code"}) && !scan.at({"Code"})) continue;
        if (is_of_refused_key(value->text)) return true;
    }
    return false;
}

}  // namespace sluice
