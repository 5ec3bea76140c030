#include "proxy/credentials/secret_json.hpp"

#include <string.h>

#include <boost/json/parser.hpp>
#include <cstdlib>
#include <new>
#include <set>
#include <vector>

namespace sluice {

namespace json = boost::json;

class SecretJson::Memory final : public json::memory_resource {
    void* do_allocate(std::size_t bytes, std::size_t) override {   // JSON asks for no more alignment than malloc has
        void* block = std::malloc(bytes);
        if (!block) throw std::bad_alloc();
        return block;
    }
    void do_deallocate(void* block, std::size_t bytes, std::size_t) override {
        explicit_bzero(block, bytes);
        std::free(block);
    }
    bool do_is_equal(const json::memory_resource& other) const noexcept override { return this == &other; }
};

namespace {

// Boost.JSON keeps the last of two members with one name, others the first.
class Duplicates {
  public:
    static bool in(std::string_view text) {
        Duplicates duplicates(text);
        return duplicates.found_;
    }

  private:
    // Texts are told from structure; whoever calls has parsed the whole already.
    explicit Duplicates(std::string_view text) {
        std::vector<std::set<std::string, std::less<>>> open;
        std::string last;
        last.reserve(text.size());   // grown, it would leave copies behind
        for (std::size_t i = 0; i < text.size(); ++i) {
            switch (text[i]) {
            case '{': case '[': open.emplace_back(); break;
            case '}': case ']': open.pop_back(); break;
            case ':': found_ |= !open.back().insert(last).second; break;
            case '"': {
                const std::size_t begin = ++i;
                while (text[i] != '"') i += text[i] == '\\' ? 2 : 1;
                last.assign(text.substr(begin, i - begin));   // of a value it may be a secret
                break;
            }
            default: break;
            }
        }
        wipe(last);
    }
    bool found_ = false;
};

}  // namespace

SecretJson::SecretJson() : memory_(std::make_unique<Memory>()) {}
SecretJson::~SecretJson() { value_.reset(); }
SecretJson::SecretJson(SecretJson&&) noexcept = default;
SecretJson& SecretJson::operator=(SecretJson&& other) noexcept {
    value_ = std::move(other.value_);   // before its memory goes
    memory_ = std::move(other.memory_);
    return *this;
}

std::optional<SecretJson> SecretJson::parse(std::string_view text) {
    auto parsed = parse_leniently(text);
    if (parsed && Duplicates::in(text)) return {};
    return parsed;
}

bool SecretJson::has_twins(std::string_view text) { return parse_leniently(text) && Duplicates::in(text); }

std::optional<SecretJson> SecretJson::parse_leniently(std::string_view text) {
    SecretJson parsed;
    json::error_code error;
    json::parser parser(json::storage_ptr(parsed.memory_.get()));
    parser.write(text, error);
    if (error) return {};
    parsed.value_ = std::make_unique<json::value>(parser.release());
    return parsed;
}

const json::value* SecretJson::find(std::string_view path) const {
    const json::value* at = value_.get();
    while (!path.empty()) {
        const std::size_t dot = path.find('.');
        const auto* object = at->if_object();
        at = object ? object->if_contains(json::string_view(path.data(), std::min(dot, path.size()))) : nullptr;
        if (!at) return nullptr;
        path.remove_prefix(dot == path.npos ? path.size() : dot + 1);
    }
    return at;
}

std::optional<std::string_view> SecretJson::text(std::string_view path) const {
    const json::value* found = find(path);
    if (!found || !found->is_string()) return {};
    return std::string_view(found->get_string());
}

std::optional<double> SecretJson::number(std::string_view path) const {
    const json::value* found = find(path);
    if (!found) return {};
    if (found->is_number()) return found->to_number<double>();
    if (!found->is_string()) return {};
    const std::string text(found->get_string());
    char* end = nullptr;
    const double number = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || text.find_first_not_of("0123456789.") != text.npos) return {};
    return number;
}

}  // namespace sluice
