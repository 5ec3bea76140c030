#include "certs/constraints.hpp"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "certs/pem.hpp"
#include "proxy/base/text.hpp"
#include "proxy/policy/address_guard.hpp"

namespace sluice {
namespace {

using Constraints = Owned<NAME_CONSTRAINTS, NAME_CONSTRAINTS_free>;
using Subtrees = STACK_OF(GENERAL_SUBTREE);

bool push(Subtrees*& list, int type, std::string_view bytes) {
    if (!list) list = sk_GENERAL_SUBTREE_new_null();
    Owned<GENERAL_SUBTREE, GENERAL_SUBTREE_free> subtree(GENERAL_SUBTREE_new());
    Owned<ASN1_STRING, ASN1_STRING_free> value(
        ASN1_STRING_type_new(type == GEN_DNS ? V_ASN1_IA5STRING : V_ASN1_OCTET_STRING));
    if (!list || !subtree || !value || ASN1_STRING_set(value.get(), bytes.data(), static_cast<int>(bytes.size())) != 1)
        return false;
    GENERAL_NAME_set0_value(subtree->base, type, value.release());
    if (sk_GENERAL_SUBTREE_push(list, subtree.get()) <= 0) return false;
    (void)subtree.release();  // the list's now
    return true;
}

std::string_view bytes_of(const IpAddress& address) {
    return {reinterpret_cast<const char*>(address.bytes.data()), address.v6 ? std::size_t{16} : std::size_t{4}};
}

/// Every address of a family.
std::string whole_family(bool v6) {
    return std::string(v6 ? 32 : 8, '\0');
}

/// One of the two lists of a certificate's constraints, as far as hosts are concerned.
class List {
  public:
    explicit List(const Subtrees* subtrees) {
        for (int i = 0; i < sk_GENERAL_SUBTREE_num(subtrees); ++i) {
            int type = 0;
            const void* value = GENERAL_NAME_get0_value(sk_GENERAL_SUBTREE_value(subtrees, i)->base, &type);
            const auto* text = static_cast<const ASN1_STRING*>(value);
            if (type != GEN_DNS && type != GEN_IPADD) continue;
            (type == GEN_DNS ? names_ : addresses_)
                .emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)), ASN1_STRING_length(text));
        }
    }

    bool no_names() const { return names_.empty(); }
    bool no_addresses() const { return addresses_.empty(); }
    bool holds_name(std::string_view name) const {
        return std::any_of(names_.begin(), names_.end(), [&](std::string_view tree) { return below(name, tree); });
    }
    /// Is any of them at or below `suffix`?
    bool reaches_into(std::string_view suffix) const {
        return std::any_of(names_.begin(), names_.end(), [&](std::string_view tree) { return below(tree, suffix); });
    }
    bool holds_address(std::string_view address) const {
        return std::any_of(addresses_.begin(), addresses_.end(), [&](std::string_view range) {
            if (range.size() != 2 * address.size()) return false;
            for (std::size_t i = 0; i < address.size(); ++i)
                if ((address[i] ^ range[i]) & range[address.size() + i]) return false;
            return true;
        });
    }

  private:
    /// Some CAs write a leading dot, which RFC 5280 does not know for names.
    static bool below(std::string_view name, std::string_view tree) {
        if (tree.starts_with('.')) tree.remove_prefix(1);
        if (tree.empty()) return true;
        if (name.size() < tree.size() || !same_text(name.substr(name.size() - tree.size()), tree)) return false;
        return name.size() == tree.size() || name[name.size() - tree.size() - 1] == '.';
    }

    std::vector<std::string> names_, addresses_;
};

bool covers(const List& permitted, const List& excluded, const HostPattern& host) {
    if (const auto address = parse_address(host.host); address && !host.wildcard) {
        const std::string_view bytes = bytes_of(*address);
        return (permitted.no_addresses() || permitted.holds_address(bytes)) && !excluded.holds_address(bytes);
    }
    if (!permitted.no_names() && !permitted.holds_name(host.host)) return false;
    return !excluded.holds_name(host.host) && !(host.wildcard && excluded.reaches_into(host.host));
}

Constraints constraints_of(const X509* ca) {
    Constraints found(static_cast<NAME_CONSTRAINTS*>(X509_get_ext_d2i(ca, NID_name_constraints, nullptr, nullptr)));
    ERR_clear_error();
    return found;
}

}  // namespace

bool add_name_constraints(X509* ca, const std::vector<HostPattern>& hosts) {
    const Constraints constraints(NAME_CONSTRAINTS_new());
    if (!constraints) return false;
    std::vector<std::string> names, addresses;
    bool has_v4 = false, has_v6 = false;
    for (const HostPattern& host : hosts) {
        const auto address = host.wildcard ? std::nullopt : parse_address(host.host);
        if (!address) {
            names.push_back(host.host);
            continue;
        }
        (address->v6 ? has_v6 : has_v4) = true;
        const std::string_view bytes = bytes_of(*address);
        addresses.push_back(std::string(bytes) + std::string(bytes.size(), '\xff'));
    }
    for (auto* list : {&names, &addresses}) {  // the same host on two ports
        std::sort(list->begin(), list->end());
        list->erase(std::unique(list->begin(), list->end()), list->end());
    }
    // A kind of name that is not mentioned is not constrained. The empty tree, excluded, would say "none", but not to
    // Java; a name that never exists (RFC 6761 6.4) does to everybody.
    if (names.empty()) names.emplace_back("invalid");
    for (const std::string& name : names)
        if (!push(constraints->permittedSubtrees, GEN_DNS, name)) return false;
    for (const std::string& address : addresses)
        if (!push(constraints->permittedSubtrees, GEN_IPADD, address)) return false;
    if (!has_v4 && !push(constraints->excludedSubtrees, GEN_IPADD, whole_family(false))) return false;
    if (!has_v6 && !push(constraints->excludedSubtrees, GEN_IPADD, whole_family(true))) return false;
    return X509_add1_ext_i2d(ca, NID_name_constraints, constraints.get(), 1, X509V3_ADD_APPEND) == 1;
}

bool has_name_constraints(const X509* ca) {
    return X509_get_ext_by_NID(ca, NID_name_constraints, -1) >= 0;
}

CertResult<void> constraints_cover(const X509* ca, const std::vector<HostPattern>& hosts) {
    if (!has_name_constraints(ca)) return {};
    const Constraints constraints = constraints_of(ca);
    if (!constraints) return CertFault{"its name constraints cannot be read"};
    const List permitted(constraints->permittedSubtrees), excluded(constraints->excludedSubtrees);
    for (const HostPattern& host : hosts)
        if (!covers(permitted, excluded, host)) return CertFault{"its name constraints do not permit " + host.text()};
    return {};
}

}  // namespace sluice
