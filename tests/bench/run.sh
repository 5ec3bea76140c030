#!/usr/bin/env bash
# Measures Sluice beside HAProxy and nginx and prints one table; tests/bench/README.md says what each figure means.
# Everything stays on loopback and in one temporary directory; only processes started here are ended.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

speed_rows=tls1k,plain1k,tls64k,post64k,tls10m,plain10m,handshake,resumed,latency,idle
memory_rows=down10g,up10g,million
policy_rows=policy,outage,load # Sluice beside itself
rounds=5 seconds=3 turns=10 rows=$speed_rows only=haproxy,nginx,sluice binary='' programs='' build="$root/build/release" output=text
connections=32 idle_connections=3000 rate=3000 proxy_cpu=1 load_cpu=0 keep=''

usage() {
    cat <<END
usage: tests/bench/run.sh [options]
  --rounds N             alternating rounds a row (default $rounds)
  --seconds S            length of one measurement, after 0.7 s of warm-up (default $seconds)
  --turns N              in how many turns a busy row's seconds are had, the proxies alternating (default $turns;
                         a quarter of them where bodies are of 10 MiB)
  --rows LIST            of $speed_rows (the default)
                         and of $memory_rows (one round will do), and of
                         $policy_rows: Sluice beside itself
  --only LIST            of haproxy,nginx,sluice
  --binary PATH          a sluice to measure (default: built in --build)
  --programs DIR         bench_load and bench_upstream to use (default: built in --build)
  --build DIR            CMake build directory (default build/release)
  --connections N        keep-alive connections (default $connections)
  --idle-connections N   idle connections held by the row 'idle' (default $idle_connections)
  --rate N               requests/s of the row 'latency' (default $rate)
  --proxy-cpu N          the core of the proxy (default $proxy_cpu)
  --load-cpu N           the core of load generator and upstream (default $load_cpu)
  --keep DIR             keep every single result (results.jsonl) and the generated configurations there
  -o text|json           what to print (default text)
END
}

say() { printf '%s\n' "$*" >&2; }
die() { say "run.sh: $*"; exit 2; }
has() { [[ ",$2," == *",$1,"* ]]; }

while (($#)); do
    case $1 in
    --help | -h) usage; exit 0 ;;
    --rounds | --seconds | --turns | --rows | --only | --binary | --programs | --build | --connections | --idle-connections | --rate | \
        --proxy-cpu | --load-cpu | --keep | -o)
        (($# > 1)) || die "$1 needs a value"
        name=${1##*-}
        case $1 in
        --idle-connections) idle_connections=$2 ;;
        --proxy-cpu) proxy_cpu=$2 ;;
        --load-cpu) load_cpu=$2 ;;
        -o) output=$2 ;;
        *) printf -v "$name" %s "$2" ;;
        esac
        shift 2
        ;;
    *) usage >&2; die "unknown option $1" ;;
    esac
done
for row in ${rows//,/ }; do has "$row" "$speed_rows,$memory_rows,$policy_rows" || die "unknown row $row"; done
for subject in ${only//,/ }; do has "$subject" haproxy,nginx,sluice || die "unknown subject $subject"; done
has "$output" text,json || die "-o is text or json"
for number in "$rounds" "$seconds" "$turns" "$connections" "$idle_connections" "$rate" "$proxy_cpu" "$load_cpu"; do
    [[ $number =~ ^[1-9][0-9]*$|^0$ ]] || die "not a number: $number"
done
((rounds > 0 && seconds > 0 && turns > 0)) || die "--rounds, --seconds and --turns are at least 1"

# ---- what it needs

install_missing() {
    local missing=()
    if has haproxy "$only" && ! command -v haproxy >/dev/null; then missing+=(haproxy); fi
    if has nginx "$only" && ! command -v nginx >/dev/null; then missing+=(nginx-light); fi
    command -v jq >/dev/null || missing+=(jq)
    command -v openssl >/dev/null || missing+=(openssl)
    ((${#missing[@]})) || return 0
    [[ $(id -u) == 0 ]] || die "please install ${missing[*]} (apt-get install ${missing[*]})"
    say "installing ${missing[*]}"
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

build_what_is_not_given() {
    local targets=()
    [[ -n $programs ]] || targets+=(bench_load bench_upstream)
    if has sluice "$only" && [[ -z $binary ]]; then targets+=(sluice); fi
    if ((${#targets[@]})); then
        [[ -f $build/build.ninja ]] || cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release >&2
        cmake --build "$build" --target "${targets[@]}" >&2
    fi
    : "${programs:=$build/tests}" "${binary:=$build/sluice}"
    load=$programs/bench_load upstream=$programs/bench_upstream
    [[ -x $load && -x $upstream ]] || die "no bench_load and bench_upstream in $programs"
    if has sluice "$only" && [[ ! -x $binary ]]; then die "no sluice at $binary"; fi
}

# ---- what it leaves behind: nothing

work='' upstream_pid='' load_pid='' spoiled=0
declare -A proxy_pid watched # of the subjects that run

stop_proxy() { # subject
    local pid=${proxy_pid[$1]:-}
    [[ -n $pid ]] || return 0
    kill -TERM "$pid" 2>/dev/null || true
    for _ in {1..100}; do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.02
    done
    # Idle connections may make it linger; a worker must not outlive its master.
    if kill -0 "$pid" 2>/dev/null; then tr , '\n' <<<"${watched[$1]}" | xargs kill -KILL 2>/dev/null || true; fi
    wait "$pid" 2>/dev/null || true
    unset "proxy_pid[$1]" "watched[$1]"
}

stop_proxies() {
    local subject
    for subject in "${!proxy_pid[@]}"; do stop_proxy "$subject"; done
}

# shellcheck disable=SC2317 # called by the trap
leave() {
    if [[ -n $load_pid ]]; then kill -TERM "$load_pid" 2>/dev/null || true; fi
    stop_proxies
    if [[ -n $upstream_pid ]]; then kill -TERM "$upstream_pid" 2>/dev/null || true; fi
    if [[ -n $keep ]]; then
        mkdir -p "$keep"
        cp "$work"/results.jsonl "$work"/*.cfg "$work"/*.conf "$work"/*.yaml "$keep" 2>/dev/null || true
    fi
    rm -rf "$work"
}

# ---- certificates, ports, upstream

make_certificate() { # name, common name, subject alternative name
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout "$work/$1.key" -out "$work/$1.csr" \
        -subj "/CN=$2" 2>/dev/null
    openssl x509 -req -in "$work/$1.csr" -CA "$work/ca.crt" -CAkey "$work/ca.key" -CAcreateserial -days 2 \
        -extfile <(printf 'subjectAltName=%s\nbasicConstraints=critical,CA:FALSE\nkeyUsage=digitalSignature\n' "$3") \
        -out "$work/$1.crt" 2>/dev/null
    cat "$work/$1.crt" "$work/$1.key" >"$work/$1.pem"
}

make_certificates() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout "$work/ca.key" -out "$work/ca.crt" \
        -days 2 -subj '/CN=Sluice bench' -addext basicConstraints=critical,CA:TRUE \
        -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
    make_certificate upstream localhost DNS:localhost
    make_certificate listener bench.test DNS:bench.test
}

listens() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Below the ephemeral range, so that no client of ours takes it meanwhile.
pick_port() {
    local candidate
    for _ in {1..100}; do
        candidate=$((20000 + RANDOM % 12000))
        listens "$candidate" || { port=$candidate; return; }
    done
    die "no free port"
}

start_upstream() {
    mkfifo "$work/upstream.stdin" "$work/upstream.stdout"
    taskset -c "$load_cpu" "$upstream" --cert "$work/upstream.crt" --key "$work/upstream.key" \
        <"$work/upstream.stdin" >"$work/upstream.stdout" &
    upstream_pid=$!
    exec 7>"$work/upstream.stdin" 8<"$work/upstream.stdout" # it serves until we close its input
    read -r -t 5 -u 8 _ upstream_tls _ upstream_plain || die "the upstream does not start"
}

# ---- the proxies

# Each subject has ports and a state of its own: those of a row run side by side.
declare -A tls_port plain_port admin_port

pick_ports() {
    local subject port
    for subject in haproxy nginx sluice outage off full thousand; do
        pick_port; tls_port[$subject]=$port
        pick_port; plain_port[$subject]=$port
        pick_port; admin_port[$subject]=$port
    done
}

fill() { # subject, template
    sed -e "s|@work@|$work|g" -e "s|@subject@|$1|g" -e "s|@tls_port@|${tls_port[$1]}|g" \
        -e "s|@plain_port@|${plain_port[$1]}|g" -e "s|@admin_port@|${admin_port[$1]}|g" \
        -e "s|@upstream_tls@|$upstream_tls|g" -e "s|@upstream_plain@|$upstream_plain|g" \
        -e "s|@user_line@|$user_line|g" "$here/$2.in"
}

write_configurations() {
    local user_line=''
    [[ $(id -u) != 0 ]] || user_line="user root;" # its worker reads our private directory
    printf 'bench-token-%s' "$RANDOM$RANDOM" >"$work/token"
    pick_ports
    fill haproxy haproxy.cfg >"$work/haproxy.cfg"
    fill nginx nginx.conf >"$work/nginx.conf"
    fill sluice sluice.yaml >"$work/sluice.yaml"
    fill outage outage.yaml >"$work/outage.yaml"
    write_policies
}

# The same vendor with nothing but what cannot be switched off, with everything on, and with everything on among a thousand.
write_policies() {
    local off='    retry: {max: 0}\n    breaker: {enabled: false}\n' full name
    full='    retry: {max: 2, on: [connect, reset, 502, 503, 504], budget: 20%}\n'
    full+='    breaker: {failure_rate: 50%, consecutive: 5, window: 30s}\n'
    full+='    limit: {rate: 1000k/s, burst: 100000, concurrency: 1024, when_full: {wait: 1s}}\n'
    full+='    idempotency: {generate: [POST]}\n    routes: [{match: "GET /bytes/**", timeout: {first_byte: 10s}}]\n'
    fill off sluice.yaml | sed "s|^    credential: key|$off&|" >"$work/off.yaml"
    fill full sluice.yaml | sed "s|^    credential: key|$full&|" >"$work/full.yaml"
    fill thousand sluice.yaml | sed "s|^    credential: key|$full&|" >"$work/thousand.yaml"
    write_vendors 1000 >>"$work/thousand.yaml"
    { cat "$work/full.yaml" && write_vendors 10000; } >"$work/ten_thousand.yaml"
}

write_vendors() { # how many, each with everything on
    local i
    for ((i = 1; i <= $1; ++i)); do
        printf "  v$i:\n    hosts: [v$i.test, '*.v$i.test']\n    credential: key\n%b" "$full"
    done
}

# How long a policy of many vendors takes to be read and checked whole, as at a start or a reload.
measure_load() { # round, subject
    local began=${EPOCHREALTIME/./}
    taskset -c "$proxy_cpu" "$binary" check --config "$work/$2.yaml" >"$work/checked" || die "$2.yaml: $(cat "$work/checked")"
    jq -cn --argjson round "$1" --arg subject "$2" --argjson us $((${EPOCHREALTIME/./} - began)) \
        '{row: "load", $round, $subject, ms: ($us / 1000)}' >>"$work/results.jsonl"
}

answers_ready() { # subject
    local line='' port=${admin_port[$1]}
    {
        printf 'GET /ready HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n\r\n' "$port" >&9
        read -r -t 5 -u 9 line || true
    } 9<>"/dev/tcp/127.0.0.1/$port"
    [[ $line == 'HTTP/1.1 200 '* ]]
}

# A listening socket is not enough: nginx has it before its worker, Sluice before its CA is published.
is_ready() { # subject, process
    workers=$(cat /proc/"$2"/task/*/children)
    case $1 in
    haproxy) listens "${tls_port[$1]}" ;;
    nginx) [[ -n $workers ]] && listens "${tls_port[$1]}" ;;
    *) answers_ready "$1" 2>/dev/null ;;
    esac
}

# Each round has fresh processes: no heap grown by another row.
start_proxy() { # subject
    local command workers pid
    case $1 in
    haproxy) command=(haproxy -db -f "$work/haproxy.cfg") ;;
    nginx) command=(nginx -p "$work" -e "$work/nginx.log" -c "$work/nginx.conf") ;;
    *) command=("$binary" run --config "$work/$1.yaml") ;;
    esac
    taskset -c "$proxy_cpu" "${command[@]}" >"$work/$1.out" 2>"$work/$1.err" 7>&- 8<&- &
    pid=$!
    proxy_pid[$1]=$pid watched[$1]=$pid
    for _ in {1..500}; do
        kill -0 "$pid" 2>/dev/null || break
        if is_ready "$1" "$pid"; then
            watched[$1]=$(tr -s ' \n' , <<<"$pid $workers" | sed 's/,*$//')
            return
        fi
        sleep 0.02
    done
    tail -n 20 "$work/$1.err" "$work/$1.out" >&2
    die "$1 does not start"
}

# ---- one measurement

# Where the load goes and how, for this subject. Sluice is used as an application uses it: CONNECT for https, absolute-form
# for http.
route() { # subject, tls|plain
    case $1-$2 in
    direct-tls) route=(--port "$upstream_tls" --host localhost --tls-ca "$work/ca.crt") ;;
    haproxy-tls | nginx-tls) route=(--port "${tls_port[$1]}" --tls-ca "$work/ca.crt") ;;
    haproxy-plain | nginx-plain) route=(--port "${plain_port[$1]}" --host plain.test) ;;
    *-tls) route=(--port "${tls_port[$1]}" --via connect --tls-ca "$work/state.$1/public/ca.crt") ;;
    *-plain) route=(--port "${tls_port[$1]}" --via absolute --host plain.test) ;;
    esac
}

measure() { # row, number of the measurement, subject, milliseconds, milliseconds of warm-up
    local kind=tls shape once=(--connections 1 --requests 1 --warmup-ms 0 --window-ms 600000)
    case $1 in
    tls1k | policy) shape=(--bytes 1024) ;;
    plain1k) kind=plain shape=(--bytes 1024) ;;
    tls64k) shape=(--bytes 65536) ;;
    post64k) shape=(--bytes 16 --post 65536) ;;
    tls10m) shape=(--bytes 10485760) ;;
    plain10m) kind=plain shape=(--bytes 10485760) ;;
    handshake) shape=(--mode fresh --connections 16) ;;
    resumed) shape=(--mode fresh --connections 16 --resume 1) ;;
    latency) shape=(--mode paced --rate "$rate") ;;
    idle) shape=(--mode idle --connections "$idle_connections") ;;
    down10g) shape=(--bytes 10737418240 "${once[@]}") ;;
    up10g) shape=(--bytes 16 --post 10737418240 "${once[@]}") ;;
    million) shape=(--requests 1000000 --window-ms 600000) ;;
    esac
    route "$3" "$kind"
    local result status=0
    # The last of an option counts: a shape has its own idea of some. In the background, so that a signal ends it at once.
    taskset -c "$load_cpu" "$load" --connections "$connections" --window-ms "$4" --warmup-ms "$5" \
        --watch "${watched[$3]:-}" "${route[@]}" "${shape[@]}" >"$work/result" &
    load_pid=$!
    wait "$load_pid" || status=$?
    load_pid=''
    result=$(<"$work/result")
    ((status < 2)) || die "$1, $3: the load generator could not run"
    if ((status)); then
        say "$1, $3: not every answer was right: $result"
        [[ ! -f $work/$3.err ]] || tail -n 3 "$work/$3.err" >&2
        spoiled=1
    fi
    jq -c --arg row "$1" --argjson round "$2" --arg subject "$3" '{$row, $round, $subject} + .' <<<"$result" \
        >>"$work/results.jsonl"
}

# The proxies of a row run side by side and are asked in short turns: what the machine's neighbours do changes within
# seconds, and two turns that follow each other are near enough for a ratio.
measure_in_turns() { # row, round, subject...
    local row=$1 round=$2 turn subject warmup=700 turns=$turns
    shift 2
    case $row in *10m) turns=$(((turns + 3) / 4)) ;; esac # a body takes a good part of a turn
    for subject; do start_proxy "$subject"; done
    for ((turn = 0; turn < turns; ++turn)); do
        for subject; do measure "$row" $(((round - 1) * turns + turn)) "$subject" $((seconds * 1000 / turns)) $warmup; done
        warmup=100
    done
    stop_proxies
}

# One after the other, each alone: what it costs to be woken at a rate, and what memory it takes.
measure_alone() { # row, round, subject...
    local row=$1 round=$2 subject
    shift 2
    for subject; do
        [[ $subject == direct ]] || start_proxy "$subject"
        measure "$row" "$round" "$subject" $((seconds * 1000)) 700
        stop_proxies
    done
}

# A vendor that is down beside one that is well, in one process: 2,000 requests/s for the one, 1,000 for the other. What the
# first costs is what both cost less what the second costs alone; `well` has nothing down, for comparison.
measure_outage() { # round, kind: well, hang, reset, 503
    local paced=(--mode paced --bytes 1024 --connections "$connections") other beside status=0
    start_proxy outage
    route outage tls
    taskset -c "$load_cpu" "$load" "${route[@]}" "${paced[@]}" --rate 1000 --window-ms $((seconds * 1000)) \
        --watch "${watched[outage]}" >"$work/alone" || status=1
    taskset -c "$load_cpu" "$load" "${route[@]}" "${paced[@]}" --host "$2.test" --rate 2000 --any-answer 1 \
        --warmup-ms 2500 --window-ms $((seconds * 1000 + 1000)) >"$work/beside" &
    load_pid=$!
    sleep 1.5
    taskset -c "$load_cpu" "$load" "${route[@]}" "${paced[@]}" --rate 1000 --warmup-ms 1200 --window-ms $((seconds * 1000)) \
        --watch "${watched[outage]}" >"$work/both" || status=1
    wait "$load_pid" || status=1
    load_pid=''
    stop_proxies
    ((!status)) || { say "outage, $2: not every answer was right"; tail -n 2 "$work"/{alone,both,beside} >&2; spoiled=1; }
    jq -cn --argjson round "$1" --arg subject "$2" --argjson seconds "$seconds" --slurpfile alone "$work/alone" \
        --slurpfile both "$work/both" '
        def cpu: .[0].cpu_us_per_request * .[0].requests;
        {row: "outage", $round, $subject, other_cpu_us: ((($both | cpu) - ($alone | cpu)) / (2000 * $seconds)),
         p99_alone_us: $alone[0].p99_us, p99_beside_us: $both[0].p99_us}' >>"$work/results.jsonl"
}

main() {
    taskset -c "$proxy_cpu,$load_cpu" true 2>/dev/null || die "needs two cores: $proxy_cpu and $load_cpu"
    [[ $proxy_cpu != "$load_cpu" ]] || die "proxy and load must have a core each"
    ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
    install_missing
    build_what_is_not_given

    work=$(mktemp -d "${TMPDIR:-/tmp}/sluice-bench.XXXXXX")
    trap leave EXIT
    trap 'exit 130' INT TERM
    make_certificates
    start_upstream
    write_configurations

    local row round subject subjects
    IFS=, read -ra subjects <<<"$only"
    for row in ${rows//,/ }; do
        for ((round = 1; round <= rounds; ++round)); do
            say "$row, round $round of $rounds"
            case $row in
            policy) measure_in_turns "$row" "$round" off full thousand ;;
            outage) for subject in well hang reset 503; do measure_outage "$round" "$subject"; done ;;
            load) for subject in thousand ten_thousand; do measure_load "$round" "$subject"; done ;;
            latency) measure_alone "$row" "$round" direct "${subjects[@]}" ;;
            idle | down10g | up10g | million) measure_alone "$row" "$round" "${subjects[@]}" ;;
            *) measure_in_turns "$row" "$round" "${subjects[@]}" ;;
            esac
        done
    done
    jq -r --slurp --arg output "$output" -f "$here/policy.jq" "$work/results.jsonl"
    jq -r --slurp --arg output "$output" --arg subjects "$only" -f "$here/report.jq" "$work/results.jsonl"
    exit "$spoiled"
}

main # read whole before it runs: an edit of this file must not reach a measurement under way
