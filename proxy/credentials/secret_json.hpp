// JSON that holds secrets: what an issuer answers, a key file. All memory of the value is wiped when it goes. Pure.
#pragma once

#include <boost/json/memory_resource.hpp>
#include <boost/json/value.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/base/secret.hpp"

namespace sluice {

class SecretJson {
  public:
    /// Nothing: not one JSON text (RFC 8259), nested over 32 deep, or a name twice in one object, of which readers take different ones.
    static std::optional<SecretJson> parse(std::string_view text);
    /// Only the last of these is why it is not read: to say so.
    static bool has_twins(std::string_view text);

    SecretJson(SecretJson&&) noexcept;
    SecretJson& operator=(SecretJson&&) noexcept;
    ~SecretJson();

    const boost::json::value& value() const { return *value_; }
    /// A member, or one of a member: "auth.client_token". Null: there is none.
    const boost::json::value* find(std::string_view path) const;
    /// The same where it is a text; a number or boolean only as `text_of` gives it.
    std::optional<std::string_view> text(std::string_view path) const;
    /// Seconds, as a number or as digits in a text; fractions are cut. Nothing: missing, or no such number.
    std::optional<double> number(std::string_view path) const;

  private:
    class Memory;
    SecretJson();
    static std::optional<SecretJson> parse_leniently(std::string_view text);

    std::unique_ptr<Memory> memory_;
    std::unique_ptr<boost::json::value> value_;   // before its memory goes
};

}  // namespace sluice
