#include "config/decode.hpp"
#include "config/json_text.hpp"
#include "config/written.hpp"

namespace sluice {

std::string policy_schema() {
    Schema schema;
    const boost::json::object policy = describe_policy(schema);
    boost::json::object whole{
        {"$schema", "https://json-schema.org/draft/2020-12/schema"},
        {"title", "Sluice policy"},
        {"description", "Made by `sluice schema` from the tables that decode a policy: do not edit."}};
    whole["$ref"] = policy.at("$ref");
    whole["$defs"] = std::move(schema.defs);
    return pretty(whole);
}

}  // namespace sluice
