// XML that holds secrets, as AWS STS answers: elements and text, no more. Every text is wiped when it goes. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/base/secret.hpp"

namespace sluice {

class SecretXml {
  public:
    /// Nothing: not one well-formed element (XML 1.0), over 128 KiB, nested over 16 deep, over 512 elements, or with
    /// what no such answer has and what parsers have been broken by: DOCTYPE, entities but the five and characters by
    /// number, comments, CDATA, processing instructions, prefixes, text beside elements. Attributes are passed over.
    static std::optional<SecretXml> parse(std::string_view text);

    /// The text of an element without elements in it: "Response.Result.Id". Nothing: there is none, or more than one.
    std::optional<std::string_view> text(std::string_view path) const;

  private:
    class Reader;
    std::vector<std::pair<std::string, Secret>> leaves_;
};

}  // namespace sluice
