#include "proxy/credentials/aws_error.hpp"

#include <algorithm>
#include <iterator>
#include <string>

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

/// Behind these it is somebody's own application that answers (API Gateway, function URLs, VPC Lattice), and x-amzn-requestid
/// stands there all the same. What they refuse themselves has its code in the header.
bool is_in_front_of_applications(std::string_view service) {
    return service == "execute-api" || service == "lambda" || service == "vpc-lattice-svcs";
}

bool is_of_format(std::string_view type, std::string_view format) {
    return type.ends_with(format) && type.size() > format.size() &&
           (type[type.size() - format.size() - 1] == '/' || type[type.size() - format.size() - 1] == '+');
}

/// XML is S3's, and that of everything that speaks as S3 does; JSON with a `code` may be anybody's.
bool may_be_aws(const ResponseHead& head) {
    const std::string_view value = head.fields.find(Known::content_type).value_or("");
    const std::string type = to_lower(trimmed(value.substr(0, value.find(';'))));
    if (type.starts_with("application/x-amz-json-") || is_of_format(type, "xml")) return true;
    return is_of_format(type, "json") && (head.fields.find("x-amzn-requestid") || head.fields.find("x-amz-request-id"));
}

bool is_coded(const ResponseHead& head) {
    const auto coding = head.fields.find("Content-Encoding");
    return coding && !trimmed(*coding).empty() && !same_text(trimmed(*coding), "identity");
}

/// Behind the next `end`; npos: there is none.
std::size_t behind(std::string_view text, std::string_view end, std::size_t at) {
    at = text.find(end, at);
    return at == text.npos ? at : at + end.size();
}

/// Behind the '>' of the tag that begins there: an attribute's value may have one too.
std::size_t end_of_tag(std::string_view xml, std::size_t at) {
    char quote = 0;
    for (; at < xml.size(); ++at) {
        const char c = xml[at];
        if (quote != 0)
            quote = c == quote ? 0 : quote;
        else if (c == '"' || c == '\'')
            quote = c;
        else if (c == '>')
            return at + 1;
    }
    return xml.npos;
}

/// The text of the element where errors of AWS have their code; "": none. Comments and the like are passed over.
std::string_view code_of_xml(std::string_view xml) {
    constexpr std::string_view places[] = {"/Error/Code", "/ErrorResponse/Error/Code", "/Response/Errors/Error/Code"};
    std::string path;
    for (std::size_t at = xml.find('<'); at < xml.size(); at = xml.find('<', at)) {
        const std::string_view rest = xml.substr(at);
        if (rest.starts_with("<!--")) {
            at = behind(xml, "-->", at + 4);
        } else if (rest.starts_with("<![CDATA[")) {
            at = behind(xml, "]]>", at);
        } else if (rest.starts_with("<?")) {
            at = behind(xml, "?>", at);
        } else if (rest.starts_with("<!")) {
            at = end_of_tag(xml, at);
        } else if (rest.starts_with("</")) {
            if (path.empty()) return {};
            path.resize(path.rfind('/'));
            at = end_of_tag(xml, at);
        } else {
            const std::size_t end = end_of_tag(xml, at);
            if (end == xml.npos) return {};
            const std::string_view tag = xml.substr(at + 1, end - at - 2);
            at = end;
            if (tag.ends_with('/')) continue;
            path.append("/").append(tag.substr(0, tag.find_first_of(" \t\r\n")));
            if (std::find(std::begin(places), std::end(places), path) == std::end(places)) continue;
            const std::size_t close = xml.find('<', at);
            return close != xml.npos && xml.substr(close).starts_with("</Code") ? xml.substr(at, close - at) : std::string_view{};
        }
    }
    return {};
}

}  // namespace

std::optional<bool> says_key_is_refused(const ResponseHead& head, std::string_view service) {
    if (head.status != 400 && head.status != 403) return false;
    const auto type = head.fields.find("X-Amzn-Errortype");
    if (type) return is_of_refused_key(*type);
    if (is_in_front_of_applications(service) || !may_be_aws(head) || is_coded(head)) return false;
    return {};
}

bool tells_of_refused_key(std::string_view body) {
    constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
    if (body.starts_with(byte_order_mark)) body.remove_prefix(byte_order_mark.size());
    body.remove_prefix(std::min(body.find_first_not_of(" \t\r\n"), body.size()));
    if (body.starts_with('<')) return is_of_refused_key(code_of_xml(body));
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
