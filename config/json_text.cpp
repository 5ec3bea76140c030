#include "config/json_text.hpp"

#include <boost/json/serialize.hpp>

namespace sluice {
namespace {

bool is_small(const boost::json::array& list) {
    std::size_t size = 0;
    for (const auto& item : list) {
        if (item.is_structured()) return false;
        size += item.is_string() ? item.get_string().size() + 4 : 8;
    }
    return size <= 100;
}

void write(std::string& out, const boost::json::value& value, std::size_t depth);

void write_line(std::string& out, std::size_t depth) {
    out += "\n" + std::string(2 * depth, ' ');
}

void write_array(std::string& out, const boost::json::array& list, std::size_t depth) {
    const bool small = is_small(list);
    out += '[';
    for (std::size_t i = 0; i < list.size(); ++i) {
        if (i > 0) out += small ? ", " : ",";
        if (!small) write_line(out, depth + 1);
        write(out, list[i], depth + 1);
    }
    if (!small) write_line(out, depth);
    out += ']';
}

void write_object(std::string& out, const boost::json::object& object, std::size_t depth) {
    out += '{';
    bool first = true;
    for (const auto& [name, value] : object) {
        if (!std::exchange(first, false)) out += ',';
        write_line(out, depth + 1);
        out += boost::json::serialize(boost::json::string_view(name)) + ": ";
        write(out, value, depth + 1);
    }
    if (!object.empty()) write_line(out, depth);
    out += '}';
}

void write(std::string& out, const boost::json::value& value, std::size_t depth) {
    if (const auto* list = value.if_array())
        write_array(out, *list, depth);
    else if (const auto* object = value.if_object())
        write_object(out, *object, depth);
    else
        out += boost::json::serialize(value);
}

}  // namespace

std::string pretty(const boost::json::value& value) {
    std::string out;
    write(out, value, 0);
    return out + "\n";
}

}  // namespace sluice
