#include "proxy/http/path_to_tell.hpp"

#include <algorithm>

namespace sluice {

std::string_view path_to_tell(std::string_view target) {
    target = target.substr(0, std::min(target.find('?'), target.find('#')));
    if (target == "*") return target;
    const bool origin_form = target.starts_with('/');
    // "//host" would be an authority to many, and keys of object stores begin like that: only what looks like userinfo counts.
    const bool double_slash = target.starts_with("//");
    if (origin_form && !(double_slash && target.substr(0, target.find('/', 2)).find('@') != target.npos)) return target;
    if (const auto scheme = target.find("://"); scheme != target.npos && scheme < target.find('@')) target.remove_prefix(scheme + 3);
    if (double_slash) target.remove_prefix(2);
    if (const auto at = target.rfind('@'); at != target.npos) target.remove_prefix(at + 1);
    return target.substr(std::min(target.find('/'), target.size()));
}

}  // namespace sluice
