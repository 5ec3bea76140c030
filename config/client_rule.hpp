// `clients` as the language has it: who may use this Sluice, how each is known, and for which vendors. Pure.
#pragma once

#include "config/written.hpp"

namespace sluice {

using WrittenClients = std::vector<Named<WrittenClient>>;
std::optional<WrittenClients> read_clients(Reader& reader, const Place& at);
boost::json::object describe_clients(Schema& schema);
inline constexpr FarRule<WrittenClients> clients_rule{read_clients, describe_clients};

}  // namespace sluice
