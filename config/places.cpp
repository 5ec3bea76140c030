#include "config/places.hpp"

#include "proxy/base/text.hpp"

namespace sluice {

PolicyPlaces::Found PolicyPlaces::look(const Path& path) const {
    for (const Node* root : roots_) {
        Found found{root, root};
        for (const std::string& step : path) {
            const Node& node = *found.value;
            found = {};
            if (node.kind == Node::Kind::map) {
                if (const std::size_t at = node.find(step); at != Node::npos)
                    found = {node.items[at], node.items[at + 1]};
            } else if (node.kind == Node::Kind::sequence) {
                const auto index = parse_decimal(step);
                if (index && *index < node.items.size()) found = {node.items[*index], node.items[*index]};
            }
            if (!found.value) break;
        }
        if (found.value) return found;
    }
    return {};
}

std::optional<PolicyPlace> PolicyPlaces::find(const Path& path) const {
    const Node* at = look(path).at;
    if (!at) return {};
    return PolicyPlace{at->file->path, static_cast<int>(at->at.line) + 1};
}

std::optional<std::size_t> PolicyPlaces::items(const Path& path) const {
    const Node* value = look(path).value;
    if (!value || value->kind != Node::Kind::sequence) return {};
    return value->items.size();
}

std::string PolicyPlaces::text(const Path& path) const {
    const Node* value = look(path).value;
    return value && value->kind == Node::Kind::scalar ? value->text : std::string();
}

}  // namespace sluice
