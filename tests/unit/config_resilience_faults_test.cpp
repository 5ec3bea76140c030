#include "tests/unit/config_fixture.hpp"

using namespace sluice;
using test::check;
using test::not_implemented;
using test::PolicyWorld;
using test::printed;
using test::told;
using test::tunnel_advice;

namespace {

struct Short {
    const char* text;  // what stands in vendors.a, from 2:36 on
    std::vector<std::string> faults;
};

void check_vendor(const std::vector<Short>& rows) {
    for (const Short& row : rows) {
        const Decoded decoded =
            PolicyWorld{}.decode("version: 1\nvendors: {a: {hosts: [a.example], " + std::string(row.text) + "}}\n");
        INFO(row.text);
        CHECK(told(decoded) == row.faults);
        CHECK_FALSE(decoded.config);
    }
}

}  // namespace

TEST_CASE("a retry has a bound, a budget, a range of waits and words that exist") {
    const std::string words =
        " is not connect, tls, reset, timeout, 5xx or a status from 400 to 599 in vendors.a.retry.on";
    check_vendor({
        {"retry: {max: 11}", {"2:48: '11' is not a whole number from 0 to 10 in vendors.a.retry.max"}},
        {"retry: {on: [conect]}", {"2:48: 'conect'" + words + "[0] (did you mean 'connect'?)"}},
        {"retry: {on: [200, 600, +99, 0502, 50.2]}",
         {"2:48: '200'" + words + "[0]", "2:53: '600'" + words + "[1]", "2:58: '+99'" + words + "[2]",
          "2:63: '0502'" + words + "[3]", "2:69: '50.2'" + words + "[4]"}},
        {"retry: {on: [502, +429]}",
         {"2:53: an entry of another kind than the first in vendors.a.retry.on[1]: either each begins with '+' or '-' "
          "and "
          "changes what is inherited, or none does"}},
        {"retry: {on: [+503, -502, -503]}", {"2:60: '-503' is both added and taken away in vendors.a.retry.on[2]"}},
        {"retry: {backoff: 100ms}",
         {"2:52: '100ms' is not a range of durations in vendors.a.retry.backoff: it has one end only (did you mean "
          "'100ms..100ms'?)"}},
        {"retry: {backoff: 1..2}",
         {"2:52: '1..2' is not a range of durations in vendors.a.retry.backoff: write it as "
          "100ms..2s"}},
        {"retry: {backoff: 2s..1s}",
         {"2:52: '2s..1s' is not a range of durations in vendors.a.retry.backoff: it begins above its end"}},
        {"retry: {backoff: 0s..1s}",
         {"2:52: '0s..1s' is not a range of durations in vendors.a.retry.backoff: both ends must be from 1ms to 1h"}},
        {"retry: {budget: 0.2}",
         {"2:51: '0.2' is not a share in vendors.a.retry.budget: it has no unit (did you mean '0.2%'?)"}},
        {"retry: {budget: 101%}",
         {"2:51: '101%' is not a share in vendors.a.retry.budget: write it as 20%, from 0% to 100%"}},
        {"retry: {buffer: 65536}",
         {"2:51: '65536' is not a size in vendors.a.retry.buffer: it has no unit (did you mean '65536B'?)"}},
        {"retry: {buffer: 1GiB}",
         {"2:51: '1GiB' is not a size in vendors.a.retry.buffer: it must be from 0B to 16MiB"}},
        {"retry: {maxx: 1}", {"2:43: unknown key 'maxx' in vendors.a.retry (did you mean 'max'?)"}},
        {"retry: 2", {"2:42: expected a map, found a single value in vendors.a.retry"}},
        {"retry: off", {"2:42: expected a map, found a single value in vendors.a.retry: to turn it off write {max: 0}"}},
        {"retry: 0", {"2:42: expected a map, found a single value in vendors.a.retry: to turn it off write {max: 0}"}},
        {"hedge: none", {"2:42: expected a map, found a single value in vendors.a.hedge: to turn it off write {max: 0}"}},
        {"breaker: off",
         {"2:44: expected a map, found a single value in vendors.a.breaker: to turn it off write {enabled: false}"}},
        {"breaker: False",
         {"2:44: expected a map, found a single value in vendors.a.breaker: to turn it off write {enabled: false}"}},
        {"hedge: {after: p100}",
         {"2:50: 'p100' is not a percentile or a duration in vendors.a.hedge.after: it must be from p50 to p99.9"}},
        {"hedge: {after: 500}",
         {"2:50: '500' is not a percentile or a duration in vendors.a.hedge.after: it has no unit (did you mean "
          "'500s'?)"}},
        {"hedge: {after: soon}",
         {"2:50: 'soon' is not a percentile or a duration in vendors.a.hedge.after: write it as p95 or 500ms"}},
        {"hedge: {max: 4}", {"2:48: '4' is not a whole number from 0 to 3 in vendors.a.hedge.max"}},
        {"idempotency: {generate: [post]}",
         {"2:60: 'post' is not a method in vendors.a.idempotency.generate[0]: methods are written in capitals (did you "
          "mean 'POST'?)"}},
        {"idempotency: {header: Content-Length}",
         {"2:57: 'Content-Length' is not a header's name in vendors.a.idempotency.header: that header belongs to the "
          "connection"}},
    });
}

TEST_CASE("a breaker's numbers are held to what makes sense") {
    check_vendor({
        {"breaker: {failure_rate: 0%}",
         {"2:59: '0%' is not a share in vendors.a.breaker.failure_rate: it must be above 0%"}},
        {"breaker: {slow_rate: 50}",
         {"2:56: '50' is not a share in vendors.a.breaker.slow_rate: it has no unit (did you mean '50%'?)"}},
        {"breaker: {consecutive: 0}",
         {"2:58: '0' is not a whole number from 1 to 1000 in vendors.a.breaker.consecutive"}},
        {"breaker: {window: 500ms}",
         {"2:53: '500ms' is not a duration in vendors.a.breaker.window: it must be from 1s to 1h"}},
        {"breaker: {open_for: 5m..15s}",
         {"2:55: '5m..15s' is not a range of durations in vendors.a.breaker.open_for: it begins above its end"}},
        {"breaker: {probes: 101}", {"2:53: '101' is not a whole number from 1 to 100 in vendors.a.breaker.probes"}},
        {"breaker: {enabled: off}",
         {"2:54: 'off' is not true or false in vendors.a.breaker.enabled: a YAML 1.2 boolean is true or false (did you "
          "mean 'false'?)"}},
        {"routes: [{match: GET /, breaker: {}, fallback: {}, chaos: {}}]",
         {"2:59: unknown key 'breaker' in vendors.a.routes[0]: it belongs to the vendor as a whole, beside `routes`",
          "2:72: unknown key 'fallback' in vendors.a.routes[0]: it belongs to the vendor as a whole, beside `routes`",
          "2:86: unknown key 'chaos' in vendors.a.routes[0]: it belongs to the vendor as a whole, beside `routes`"}},
    });
}

TEST_CASE("a limit limits something, in words that can be counted") {
    check_vendor({
        {"limit: {rate: 100}",
         {"2:49: '100' is not a rate in vendors.a.limit.rate: it has no unit (did you mean '100/s'?)"}},
        {"limit: {rate: 100/min}",
         {"2:49: '100/min' is not a rate in vendors.a.limit.rate: write it as 100/s, 500/m, 10k/h or 1M/d"}},
        {"limit: {rate: 0/s}", {"2:49: '0/s' is not a rate in vendors.a.limit.rate: it must let something through"}},
        {"limit: {rate: 101M/s}",
         {"2:49: '101M/s' is not a rate in vendors.a.limit.rate: it is more than 100M a second"}},
        {"limit: {burst: 5}",
         {"2:50: a burst without a rate in vendors.a.limit.burst: write `rate` as well, in this map or in the "
          "defaults"}},
        {"limit: {rate: 1/d, burst: 31}",
         {"2:61: a burst of 31 in vendors.a.limit is more than its rate gives in 30d"}},
        {"limit: {rate: 1/d, burst: 0}",
         {"2:61: '0' is not a whole number in vendors.a.limit.burst: it must let something through"}},
        {"limit: {concurrency: 0}",
         {"2:56: '0' is not adaptive or a whole number from 1 to 1000000 in vendors.a.limit.concurrency"}},
        {"limit: {concurrency: {min: 9, max: 4}}",
         {"2:57: it is above `max` in vendors.a.limit.concurrency.min: write {min: 4, max: 200}"}},
        {"limit: {tokens: {burst: 5}}", {"2:43: 'rate' is missing in vendors.a.limit.tokens"}},
        {"limit: {tokens: {rate: 1k/m, estimate: bodies}}",
         {"2:74: 'bodies' is not body in vendors.a.limit.tokens.estimate"}},
        {"limit: {per: X-Tenant}",
         {
             "2:48: 'X-Tenant' is not a reference to a header in vendors.a.limit.per: write it as header X-Tenant (did "
             "you "
             "mean 'header X-Tenant'?)",
         }},
        {"limit: {when_full: {wait: 11m}}",
         {"2:61: '11m' is not a duration in vendors.a.limit.when_full.wait: it must be from 0s to 10m"}},
        {"limit: {when_full: {priority: header Host}}",
         {"2:65: 'header Host' is not a reference to a header in vendors.a.limit.when_full.priority: that header "
          "belongs "
          "to the connection"}},
        {"limit: [{learn: true}]",
         {"2:43: nothing is limited in vendors.a.limit[0]: write `rate`, `concurrency` or "
          "`tokens`"}},
        {"limit: []", {"2:42: a list of limits without any in vendors.a.limit"}},
        {"limit: 5", {"2:42: expected a limit or a list of limits, found a single value in vendors.a.limit (did you mean '{rate: 5}'?)"}},
        {"fallback: b", {"2:45: expected a map, found a single value in vendors.a.fallback (did you mean '{vendor: b}'?)"}},
        {"limit: {name: Mine, rate: 1/s}",
         {"2:49: 'Mine' is not a limit's name in vendors.a.limit.name: 1 to 63 of a-z, 0-9, '-' and '_', the first a "
          "letter or a digit (did you mean 'mine'?)"}},
        {"limit: {name: x, rate: 1/s}, routes: [{match: GET /, limit: [{name: x, rate: 1/s}]}]",
         {"2:103: a second limit 'x' in vendors.a.routes[0].limit[0].name: the first is at policy.yaml:2:49"}},
        {"routes: [{match: GET /, limit: {when_full: {wait: 1s}}}]",
         {"2:66: nothing is limited in vendors.a.routes[0].limit: write `rate`, `concurrency` or `tokens`"}},
    });
    check({
        {"defaults: {limit: [{rate: 1/s}]}", {"2:19: expected a map, found a list in defaults.limit"}},
        {"defaults: {hedge: {}}", {"2:12: unknown key 'hedge' in defaults: each vendor says it for itself"}},
        {"defaults: {limit: {burst: 4}}",
         {"2:27: a burst without a rate in defaults.limit.burst: write `rate` as well, in this map or in the "
          "defaults"}},
    });
}

TEST_CASE("endpoints are sixteen at most, and differ") {
    std::string many;
    for (int i = 0; i < 17; ++i)
        many += std::string(i ? ", " : "") + "{url: \"https://e" + std::to_string(i) + ".example\"}";
    const Decoded decoded = PolicyWorld{}.decode("version: 1\nvendors: {a: {endpoints: [" + many + "]}}\n");
    REQUIRE(decoded.faults.size() == 1);
    CHECK(decoded.faults[0].message == "one too many in vendors.a.endpoints[16]: 16 are the most");
    check({{"vendors: {a: {endpoints: [{url: \"https://a.example\"}, {url: \"https://A.example:443/\"}]}}",
            {"2:55: the same endpoint again in vendors.a.endpoints[1]: the first is at policy.yaml:2:33"}}});
}

TEST_CASE("a fallback is another vendor that can be reached, and no circle") {
    const auto vendors = [](const std::string& text) {
        return "vendors:\n  a: {hosts: [a.example], fallback: {vendor: " + text;
    };
    const std::string self = vendors("a}}"), unknown = vendors("bb}}\n  b: {hosts: [b.example]}"),
                      tunnel = vendors("b}}\n  b: {hosts: [b.example], mode: tunnel}"),
                      nowhere = vendors("b}}\n  b: {hosts: ['*.b.example']}"),
                      circle = vendors(
                          "b}}\n  b: {hosts: [b.example], fallback: {vendor: c}}\n"
                          "  c: {hosts: [c.example], fallback: {vendor: b}}"),
                      broken = vendors("b}}\n  b: x");
    check({
        {self.c_str(), {"3:46: vendor 'a' in vendors.a.fallback.vendor is this vendor itself"}},
        {unknown.c_str(), {"3:46: no vendor is called 'bb' in vendors.a.fallback.vendor (did you mean 'b'?)"}},
        {tunnel.c_str(),
         {"3:46: vendor 'b' in vendors.a.fallback.vendor is in mode tunnel: Sluice sends no requests of its own "
          "there"}},
        {nowhere.c_str(),
         {"3:46: vendor 'b' in vendors.a.fallback.vendor has neither an endpoint nor a host without a wildcard: there "
          "is "
          "nowhere to send a request"}},
        {circle.c_str(), {"4:46: fallbacks go in a circle in vendors.b.fallback.vendor: b -> c -> b"}},
        {broken.c_str(), {"4:6: expected a map, found a single value in vendors.b"}},
    });
    const std::string three = vendors(
        "b}}\n  b: {hosts: [b.example], fallback: {vendor: c}}\n  c: {hosts: [c.example], fallback: {vendor: a}}");
    check({{three.c_str(), {"3:46: fallbacks go in a circle in vendors.a.fallback.vendor: a -> b -> c -> a"}}});
    const std::string chain =
        vendors("b}}\n  b: {hosts: [b.example], fallback: {vendor: c}}\n  c: {hosts: [c.example]}");
    CHECK(PolicyWorld{}.decode("version: 1\n" + chain + "\n").config);
}

TEST_CASE("a rewrite changes what a message may have, and nobody's credential") {
    const auto rewrite = [](const std::string& text) {
        return "version: 1\ncredentials: {k: {type: api_key, header: X-Key, value: {env: K}}, l: {type: bearer, value: "
               "{env: "
               "L}}}\nvendors:\n  b: {hosts: [b.example], credential: l}\n  a:\n    hosts: [a.example]\n    "
               "credential: k\n"
               "    fallback: {vendor: b, rewrite: {" +
               text + "}}\n";
    };
    const std::string at = " in vendors.a.fallback.rewrite.";
    const std::pair<const char*, std::string> table[] = {
        {"request: {headers: {set: {Host: x}}}",
         "8:63: 'Host' is not a header's name" + at + "request.headers.set: that header belongs to the connection"},
        {"response: {headers: {drop: [Transfer-Encoding]}}",
         "8:65: 'Transfer-Encoding' is not a header's name" + at +
             "response.headers.drop[0]: that header belongs to the connection"},
        {"request: {headers: {rename: {X-A: Sluice-B}}}",
         "8:71: 'Sluice-B' is not a header's name" + at +
             "request.headers.rename.X-A: Sluice- headers are Sluice's own"},
        {"request: {headers: {set: {authorization: x}}}",
         "8:63: header 'authorization'" + at + "request.headers.set belongs to credential 'l' of vendor 'b'"},
        {"request: {headers: {rename: {x-key: X-B}}}",
         "8:66: header 'x-key'" + at + "request.headers.rename belongs to credential 'k' of vendor 'a'"},
        {"request: {headers: {set: {X-A: \"a\\nb\"}}}",
         "8:68: 'a\\nb' is not a header's value" + at +
             "request.headers.set.X-A: it is at most 1024 printable ASCII "
             "characters"},
        {"request: {headers: {set: {X-A: v, x-a: w}}}",
         "8:71: header 'x-a' is there already" + at + "request.headers.set.x-a"},
        {"path: {v1: /x}",
         "8:48: no change of a path" + at + "path.v1: the path 'v1' does not begin with '/'"},
        {"path: {/v1: /x/**}",
         "8:49: no change of a path" + at + "path./v1: '/x/**' carries a rest over that '/v1' does not have"},
        {"path: {/*/x: /y}",
         "8:50: no change of a path" + at + "path./*/x: the path '/*/x' has a '*' other than a final \"/**\""},
        {"path: {/x: \"/y?z\"}",
         "8:48: no change of a path" + at +
             "path./x: the path '/y?z' holds a query or a fragment: the query is kept as it is"},
        {"request: {body: {drop: [card]}}",
         "8:61: 'card' is not a path into JSON" + at +
             "request.body.drop[0]: it is no path of members: it does not begin with '$'; write `$.card.number`"},
        {"request: {body: {set: {\"$.a[0]\": 1}}}",
         "8:60: '$.a[0]' is not a path into JSON" + at +
             "request.body.set: it is no path of members: there are no arrays in it; write `$.card.number`"},
        {"request: {body: {rename: {$.a: $.a.b}}}",
         "8:63: '$.a'" + at + "request.body.rename and where it moves lie inside each other"},
        {"request: {body: {set: {$.a: [1, yes]}}}", "8:69: 'yes' is not a value that JSON has" + at +
                                                        "request.body.set.$.a[1]: some readers of YAML take it for "
                                                        "true or false; put it in quotes if text is meant"},
        {"request: {body: {set: {$.a: .inf}}}",
         "8:65: '.inf' is not a value that JSON has" + at + "request.body.set.$.a: put it in quotes if text is meant"},
        {"request: {body: {wrap: a.b}}",
         "8:60: 'a.b' is not a member's name" + at + "request.body.wrap: write one member, such as data"},
    };
    for (const auto& [text, fault] : table) {
        INFO(text);
        CHECK(told(PolicyWorld{}.decode(rewrite(text))) == std::vector<std::string>{fault});
    }
    const std::string long_value = "request: {body: {set: {$.a: '" + std::string(17'000, 'x') + "'}}}";
    CHECK(printed(PolicyWorld{}.decode(rewrite(long_value))).find("as JSON it is longer than 16 KiB") !=
          std::string::npos);
    check(
        {{"credentials: {k: {type: bearer, value: {env: K}}}\nvendors: {a: {hosts: [a.example], credential: k, "
          "idempotency: {header: authorization}}}",
          {"3:72: header 'authorization' in vendors.a.idempotency.header belongs to credential 'k' of vendor 'a'"}}});
}

TEST_CASE("chaos names a fault, a share and a route that exist") {
    const std::string form = " is not a fault in vendors.a.chaos.inject[0].fault: ";
    check_vendor({
        {"chaos: {enabled: true}", {"2:35: 'inject' is missing in vendors.a.chaos"}},
        {"chaos: {inject: []}", {"2:51: a list of faults without any in vendors.a.chaos.inject"}},
        {"chaos: {inject: [{fault: statuss 429}]}",
         {"2:60: 'statuss 429'" + form +
          "'statuss' is no fault; write one of `status 429`, `delay 500ms`, `reset`, `hang`, `slow_body 1KiB/s`, "
          "`truncate 100B`, `tls_failure`, `dns_failure` (did you mean 'status'?)"}},
        {"chaos: {inject: [{fault: status 200}]}",
         {"2:60: 'status 200'" + form + "'200' is no status from 400 to 599; write `status 429`"}},
        {"chaos: {inject: [{fault: status}]}",
         {"2:60: 'status'" + form + "it says nothing after it; write `status 429`"}},
        {"chaos: {inject: [{fault: hang 5s}]}",
         {"2:60: 'hang 5s'" + form + "'hang' takes nothing after it; write `hang`"}},
        {"chaos: {inject: [{fault: delay 5}]}",
         {"2:60: 'delay 5'" + form + "'5' is no duration above zero; write `delay 500ms`"}},
        {"chaos: {inject: [{fault: delay 2h}]}", {"2:60: 'delay 2h'" + form + "it is longer than 1h"}},
        {"chaos: {inject: [{fault: truncate 2000MiB}]}", {"2:60: 'truncate 2000MiB'" + form + "it is more than 1GiB"}},
        {"chaos: {inject: [{fault: slow_body 1KiB}]}",
         {"2:60: 'slow_body 1KiB'" + form + "'1KiB' is no size above zero a second; write `slow_body 1KiB/s`"}},
        {"chaos: {inject: [{fault: reset, rate: 0%}]}",
         {"2:73: '0%' is not a share in vendors.a.chaos.inject[0].rate: it must be above 0%"}},
        {"chaos: {inject: [{fault: reset, header: \"X-A:\"}]}",
         {"2:75: 'X-A:' is not a header in vendors.a.chaos.inject[0].header: no value after the colon; write `X-A: 1`, "
          "or `X-A` for any"}},
        {"routes: [{name: charges, match: GET /}], chaos: {inject: [{fault: reset, route: chargez}]}",
         {"2:115: no route of this vendor is called 'chargez' in vendors.a.chaos.inject[0].route (did you mean "
          "'charges'?)"}},
    });
}

TEST_CASE("a tunnel takes no rules about requests, but a rate and a breaker") {
    check({{R"(vendors:
  a:
    hosts: [a.example]
    mode: tunnel
    retry: {}
    hedge: {}
    idempotency: {}
    fallback: {vendor: a}
    chaos: {inject: [{fault: reset}]}
    limit: {rate: 1/s, concurrency: 4, tokens: {rate: 1k/m}, learn: true, per: header X-A, when_full: {priority: header X-B}})",
            {"6:5: retries for a vendor in mode tunnel in vendors.a.retry: " + tunnel_advice,
             "7:5: hedging for a vendor in mode tunnel in vendors.a.hedge: " + tunnel_advice,
             "8:5: idempotency keys for a vendor in mode tunnel in vendors.a.idempotency: " + tunnel_advice,
             "9:5: a fallback for a vendor in mode tunnel in vendors.a.fallback: " + tunnel_advice,
             "9:24: vendor 'a' in vendors.a.fallback.vendor is this vendor itself",
             "10:5: faults for a vendor in mode tunnel in vendors.a.chaos: " + tunnel_advice,
             "11:24: a limit on requests under way for a vendor in mode tunnel in vendors.a.limit.concurrency: " +
                 tunnel_advice,
             "11:40: a limit on tokens for a vendor in mode tunnel in vendors.a.limit.tokens: " + tunnel_advice,
             "11:62: learning from answers for a vendor in mode tunnel in vendors.a.limit.learn: " + tunnel_advice,
             "11:75: a limit by header for a vendor in mode tunnel in vendors.a.limit.per: " + tunnel_advice,
             "11:104: a priority by header for a vendor in mode tunnel in vendors.a.limit.when_full.priority: " +
                 tunnel_advice}}});
    CHECK(
        PolicyWorld{}
            .decode(
                "version: 1\nvendors: {a: {hosts: [a.example], mode: tunnel, breaker: {consecutive: 3}, limit: {rate: "
                "5/s, when_full: {wait: 1s}}}}\n")
            .config);
}
