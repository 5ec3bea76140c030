// Rows for people, in columns, with what is to be said of a row below it. What comes from another process may hold
// anything: nothing of it obeys a terminal.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "proxy/app/console.hpp"

namespace sluice {

struct TableRow {
    std::vector<std::string> cells;                         // as many as the title has, or fewer
    std::vector<std::pair<Colour, std::string>> remarks{};  // a line each
};

void print_table(Console& console, std::vector<std::string> title, std::vector<TableRow> rows);

/// `text` with '?' in place of control characters.
std::string printable(std::string text);

}  // namespace sluice
