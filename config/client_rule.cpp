#include "config/client_rule.hpp"

#include "config/forms.hpp"
#include "config/secret_rule.hpp"

namespace sluice {
namespace {

/// `all`, or names.
struct ClientVendorsRule {
    using Value = WrittenClientVendors;
    std::optional<WrittenClientVendors> read(Reader& reader, const Place& at) const;
    boost::json::object describe(Schema& schema) const;
};

constexpr WordsRule<bool, 1> all_word{{{"all", true}}};
constexpr ListRule<line_rule> vendor_list{"a list of vendors, or all", 1};

std::optional<WrittenClientVendors> ClientVendorsRule::read(Reader& reader, const Place& at) const {
    if (at.node.kind == Node::Kind::scalar) {
        if (!all_word.read(reader, at)) return {};
        return WrittenClientVendors{true, {}};
    }
    auto names = vendor_list.read(reader, at);
    if (!names) return {};
    return WrittenClientVendors{false, std::move(*names)};
}
boost::json::object ClientVendorsRule::describe(Schema& schema) const {
    return {{"anyOf", boost::json::array{all_word.describe(schema), vendor_list.describe(schema)}}};
}

constexpr ClientVendorsRule client_vendors;
constexpr IntegerRule uid_rule{0, 4294967294, {}, "a uid is from 0 to 4294967294"};

constexpr Key<WrittenClient> client_keys[] = {
    key<&WrittenClient::uid, uid_rule>("uid", "Of its processes, by which it is known on the socket file `listen.unix`."),
    key<&WrittenClient::password, secret_rule>(
        "password",
        "What it sends with its name in Proxy-Authorization (http://NAME:PASSWORD@ in the proxy's URL): at least 8 bytes, "
        "{file: ...}, {env: ...} or {vault: path#key}; one that changes is taken without a restart."),
    key<&WrittenClient::vendors, client_vendors>(
        "vendors", "What it may ask for: names, or all: every vendor, and what `unmatched` lets through.",
        Presence::required),
};

void check_client(Reader& reader, const Place& at, WrittenClient&) {
    const auto has = [&](std::string_view name) { return at.node.find(name) != Node::npos; };
    if (!has("uid") && !has("password"))
        reader.key_fault(at, "'uid' or 'password' is missing" + at.in_path() + ": nothing would tell who it is");
}
void amend_client(boost::json::object& shape) {
    shape["anyOf"] = boost::json::array{boost::json::object{{"required", boost::json::array{"uid"}}},
                                        boost::json::object{{"required", boost::json::array{"password"}}}};
}

constexpr MapRule<WrittenClient> client_rule{.name = "client",
                                             .doc = "An application that may use this Sluice.",
                                             .keys = client_keys,
                                             .private_values = true,
                                             .check = check_client,
                                             .amend = amend_client};
constexpr NameForm client_names{"a client's name", "^[a-z0-9][a-z0-9_-]{0,62}$", judge_name};
constexpr NamedRule<client_rule, client_names> clients_map{"a map of clients by name"};

}  // namespace

std::optional<WrittenClients> read_clients(Reader& reader, const Place& at) {
    auto clients = clients_map.read(reader, at);
    if (clients && at.node.items.empty())
        reader.fault(at, "a map of clients without any",
                     "nobody could use this Sluice; name one, or leave the key out and serve everybody");
    return clients;
}
boost::json::object describe_clients(Schema& schema) {
    boost::json::object shape = clients_map.describe(schema);
    shape["minProperties"] = 1;
    return shape;
}

}  // namespace sluice
