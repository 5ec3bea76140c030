#include "proxy/app/table.hpp"

#include <algorithm>

namespace sluice {

std::string printable(std::string text) {
    std::replace_if(
        text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }, '?');
    return text;
}

void print_table(Console& console, std::vector<std::string> title, std::vector<TableRow> rows) {
    std::vector<std::size_t> widths(title.size());
    rows.insert(rows.begin(), TableRow{std::move(title)});
    for (TableRow& row : rows) {
        row.cells.resize(widths.size());
        for (std::size_t i = 0; i < widths.size(); ++i) {
            row.cells[i] = printable(std::move(row.cells[i]));
            widths[i] = std::max(widths[i], row.cells[i].size());
        }
    }
    for (const TableRow& row : rows) {
        std::string line;
        for (std::size_t i = 0; i < widths.size(); ++i) {
            line += row.cells[i];
            if (i + 1 < widths.size()) line.append(widths[i] - row.cells[i].size() + 2, ' ');
        }
        console << (&row == &rows.front() ? console.paint(Colour::dim, line) : line) << "\n";
        for (const auto& [colour, remark] : row.remarks)
            console << "  " << console.paint(colour, printable(remark)) << "\n";
    }
}

}  // namespace sluice
