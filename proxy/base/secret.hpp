// A string that cannot be printed, compared by accident or left behind in memory. Its bytes are reachable only through
// `reveal()`, so that every place that uses a secret can be found by that word. Pure.
#pragma once

#include <iosfwd>
#include <string>
#include <string_view>

namespace sluice {

class Secret {
  public:
    Secret() = default;
    /// Takes over the bytes; the argument is wiped.
    explicit Secret(std::string&& bytes);
    Secret(const Secret& other);
    Secret(Secret&& other) noexcept;
    Secret& operator=(const Secret& other);
    Secret& operator=(Secret&& other) noexcept;
    ~Secret();

    bool empty() const { return bytes_.empty(); }
    std::size_t size() const { return bytes_.size(); }

    /// The bytes themselves. Valid until the Secret changes. Never log, never copy into anything that is not wiped.
    std::string_view reveal() const { return bytes_; }

    /// Equal in constant time for equal lengths.
    bool same_as(std::string_view other) const;

    friend std::ostream& operator<<(std::ostream&, const Secret&) = delete;

  private:
    std::string bytes_;
};

/// Appends; where `to` has to grow for it, what it leaves behind is wiped.
void append_wiping(std::string& to, std::string_view more);

/// Overwrites the bytes (capacity included) in a way that the optimizer keeps, then empties the string.
void wipe(std::string& bytes);

}  // namespace sluice
