#include "proxy/ports/ports.hpp"

namespace sluice {

std::string_view name_of(Outcome outcome) {
    switch (outcome) {
    case Outcome::vendor: return "vendor";
    case Outcome::fallback: return "fallback";
    case Outcome::refused: return "refused";
    case Outcome::failed: return "failed";
    }
    return "";
}

}  // namespace sluice
