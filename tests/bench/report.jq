# results.jsonl -> one table (or its JSON). Ratios are taken within a round, between neighbours in time, and then their
# median: that is what survives a noisy machine.
def median: sort | if length == 0 then null elif length % 2 == 1 then .[length / 2 | floor]
            else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def rounded($digits): if . == null then null else . * pow(10; $digits) | round | . / pow(10; $digits) end;
def shown: if . == null then "-" else tostring end;
def left($width): . + " " * ([$width - length, 0] | max);
def right($width): " " * ([$width - length, 0] | max) + .;

# Every line of the table: the row it is measured in, the field, and the goal: at most so many times HAProxy's, or at most
# so much.
def lines: [
    {row: "tls1k", field: "cpu_us_per_request", title: "1 KiB TLS, CPU us/request", digits: 1, goal: 0.90},
    {row: "tls1k", field: "requests_per_second", title: "1 KiB TLS, requests/s", digits: 0},
    {row: "plain1k", field: "cpu_us_per_request", title: "1 KiB plain, CPU us/request", digits: 1, goal: 1.0},
    {row: "plain1k", field: "requests_per_second", title: "1 KiB plain, requests/s", digits: 0},
    {row: "tls64k", field: "cpu_us_per_request", title: "64 KiB TLS, CPU us/request", digits: 1, goal: 0.85},
    {row: "tls64k", field: "requests_per_second", title: "64 KiB TLS, requests/s", digits: 0},
    {row: "post64k", field: "cpu_us_per_request", title: "64 KiB POST TLS, CPU us/request", digits: 1},
    {row: "post64k", field: "requests_per_second", title: "64 KiB POST TLS, requests/s", digits: 0},
    {row: "tls10m", field: "cpu_s_per_gb", title: "10 MiB TLS, CPU s/GB", digits: 3, goal: 0.80},
    {row: "plain10m", field: "cpu_s_per_gb", title: "10 MiB plain, CPU s/GB", digits: 3, goal: 0.75},
    {row: "handshake", field: "cpu_us_per_request", title: "new connection, full handshake, CPU us", digits: 0, goal: 0.85},
    {row: "handshake", field: "requests_per_second", title: "new connections/s, full handshake", digits: 0},
    {row: "resumed", field: "cpu_us_per_request", title: "new connection, resumed, CPU us", digits: 0},
    {row: "resumed", field: "requests_per_second", title: "new connections/s, resumed", digits: 0},
    {row: "latency", field: "added_p50_us", title: "added p50 at a fixed rate, us", digits: 0, goal: 0.80},
    {row: "latency", field: "added_p99_us", title: "added p99 at a fixed rate, us", digits: 0},
    {row: "latency", field: "cpu_us_per_request", title: "CPU us/request at that rate", digits: 1},
    {row: "idle", field: "kib_per_connection", title: "KiB an idle connection", digits: 1, most: 24},
    {row: "down10g", field: "resident_kib_grown", title: "10 GiB response, KiB grown", digits: 0, most: 4096},
    {row: "up10g", field: "resident_kib_grown", title: "10 GiB request, KiB grown", digits: 0, most: 4096},
    {row: "million", field: "resident_kib_grown", title: "a million requests, KiB grown", digits: 0}
];

# "Added" is what the proxy puts on top of the upstream asked directly in the same round.
def with_added($all):
    . as $one
    | ($all | map(select(.row == "latency" and .round == $one.round and .subject == "direct")) | first) as $direct
    | if .row == "latency" and $direct then .added_p50_us = .p50_us - $direct.p50_us | .added_p99_us = .p99_us - $direct.p99_us
      else . end;

def values($measured; $line; $subject):
    [$measured[] | select(.row == $line.row and .subject == $subject) | {round, value: .[$line.field]}];
def ratio($values; $base):
    [$values[] | . as $one | $base[] | select(.round == $one.round and .value > 0) | $one.value / .value] | median | rounded(2);
def verdict($line; $medians; $ratios):
    if $line.goal and $ratios.sluice then (if $ratios.sluice <= $line.goal then "met" else "missed" end)
    elif $line.most and $medians.sluice then (if $medians.sluice <= $line.most then "met" else "missed" end)
    else null end;

. as $all
| ($subjects / ",") as $who
| map(with_added($all)) as $measured
| [lines[] | . as $line | select(any($measured[]; .row == $line.row))
   | ($who | map({key: ., value: values($measured; $line; .)}) | from_entries) as $values
   | ($values | map_values(map(.value) | median | rounded($line.digits))) as $medians
   | (if $values.haproxy then $values | del(.haproxy) | map_values(ratio(.; $values.haproxy)) else {} end) as $ratios
   | {title: $line.title, row: $line.row, field: $line.field, medians: $medians, ratios: $ratios,
      goal: (if $line.goal then "\($line.goal) x" elif $line.most then "\($line.most)" else null end),
      verdict: verdict($line; $medians; $ratios), rounds: ($values | map_values(map(.value)))}]
# The load saturates the proxy in these rows: where the proxy had much less than its core, somebody else had it.
| ([$measured[] | select(.row | IN("tls1k", "plain1k", "tls64k", "post64k")) | .cpu_share] | median) as $share
| if $output == "json" then {subjects: $who, core_share: $share, lines: ., measurements: $measured}
  else
    ([$who[] | select(. != "haproxy" and ($who | index("haproxy") != null))]) as $rated
    | ([["median of the rounds"] + $who + ($rated | map(. + "/haproxy")) + ["goal", ""]]
       + [.[] | . as $line | [.title] + [$who[] | $line.medians[.] | shown]
          + [$rated[] | $line.ratios[.] | shown] + [$line.goal // "-", $line.verdict // ""]])
    | (.[] | (.[0] | left(40)) + (.[1:] | map(right(15)) | join("")) | sub(" +$"; "")),
      (if $share != null and $share < 0.8 then
         "note: the proxies had \($share * 100 | round)% of their core; the machine is busy, and figures are too high"
       else empty end)
  end
