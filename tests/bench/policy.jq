# results.jsonl -> the tables of Sluice beside itself: what its policies cost, and what a vendor that is down does.
def median: sort | if length == 0 then null elif length % 2 == 1 then .[length / 2 | floor]
            else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def rounded($digits): if . == null then null else . * pow(10; $digits) | round | . / pow(10; $digits) end;
def shown: if . == null then "-" else tostring end;
def left($width): . + " " * ([$width - length, 0] | max);
def right($width): " " * ([$width - length, 0] | max) + .;
def table: .[] | (.[0] | left(44)) + (.[1:] | map(shown | right(12)) | join("")) | sub(" +$"; "");

def of($all; $row; $subject): [$all[] | select(.row == $row and .subject == $subject)];
def ratio($all; $subject):
    [of($all; "policy"; $subject)[] | . as $one | of($all; "policy"; "off")[] | select(.round == $one.round)
     | $one.cpu_us_per_request / .cpu_us_per_request] | median | rounded(3);
def cost($all; $subject): of($all; "policy"; $subject) | map(.cpu_us_per_request) | median | rounded(2);
def outage($all; $subject; f): of($all; "outage"; $subject) | map(f) | median;

. as $all
| (if any($all[]; .row == "policy") then
     {policy: {cpu_us_per_request: {off: cost($all; "off"), full: cost($all; "full"), thousand: cost($all; "thousand")},
               ratio: {full: ratio($all; "full"), thousand: ratio($all; "thousand")}}} else {} end)
+ (if any($all[]; .row == "outage") then
     {outage: (["well", "hang", "reset", "503"] | map({key: ., value: {
        cpu_us: outage($all; .; .other_cpu_us), p99_alone_us: outage($all; .; .p99_alone_us),
        p99_beside_us: outage($all; .; .p99_beside_us)}}) | from_entries)} else {} end)
+ (if any($all[]; .row == "load") then
     {load: (["thousand", "ten_thousand"] | map({key: ., value: (of($all; "load"; .) | map(.ms) | median | rounded(0))})
        | from_entries)} else {} end)
| if $output == "json" then (if . == {} then empty else . end)
  else
    (if .policy then [["policy, 1 KiB TLS", "off", "full", "1000 vendors"],
       ["CPU us/request", .policy.cpu_us_per_request.off, .policy.cpu_us_per_request.full, .policy.cpu_us_per_request.thousand],
       ["times policy off (goals 1.05 and 1.10)", 1, .policy.ratio.full, .policy.ratio.thousand]] | table else empty end),
    (if .outage then .outage as $o | [["a second vendor, 2,000 requests/s", "well", "hangs", "resets", "503"],
       (["CPU us/request of it"] + (["well", "hang", "reset", "503"] | map($o[.].cpu_us | rounded(1)))),
       (["p99 of the healthy one alone, us"] + (["well", "hang", "reset", "503"] | map($o[.].p99_alone_us | rounded(0)))),
       (["p99 of the healthy one beside it, us"] + (["well", "hang", "reset", "503"] | map($o[.].p99_beside_us | rounded(0))))]
      | table else empty end),
    (if .load then [["a policy of so many vendors", "1000", "10000"],
       ["read and checked, ms (goals 1000 and 10000)", .load.thousand, .load.ten_thousand]] | table else empty end)
  end
