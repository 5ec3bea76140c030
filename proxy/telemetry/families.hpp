// How families of series are put together and written, for metrics and live_families.
#pragma once

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <initializer_list>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

namespace sluice {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

/// Writes family after family, so that only one is in memory as values: of 10,000 vendors they would be 100 MB.
class Exposition {
  public:
    void add(MetricFamily family) {
        if (!family.metric.empty()) serializer_.Serialize(out_, {std::move(family)});
    }
    std::string text() && { return std::move(out_).str(); }

  private:
    prometheus::TextSerializer serializer_;
    std::ostringstream out_;
};

using Labels = std::initializer_list<std::pair<const char*, std::string_view>>;

inline ClientMetric& add_series(MetricFamily& family, Labels labels) {
    ClientMetric& series = family.metric.emplace_back();
    series.label.reserve(labels.size());
    for (const auto& [name, value] : labels) series.label.push_back({name, std::string(value)});
    return series;
}
inline void add_counter(MetricFamily& family, Labels labels, double value) {
    add_series(family, labels).counter.value = value;
}
inline void add_gauge(MetricFamily& family, Labels labels, double value) {
    add_series(family, labels).gauge.value = value;
}

}  // namespace sluice
