#include "proxy/app/commands.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "proxy/app/audit_command.hpp"
#include "proxy/app/breaker_command.hpp"
#include "proxy/app/checks.hpp"
#include "proxy/app/credential_command.hpp"
#include "proxy/app/demo.hpp"
#include "proxy/app/doctor.hpp"
#include "proxy/app/execute.hpp"
#include "proxy/app/healthcheck.hpp"
#include "proxy/app/run.hpp"
#include "proxy/app/status.hpp"
#include "proxy/base/text.hpp"
#include "proxy/telemetry/audit_chain.hpp"

namespace sluice {

namespace {

constexpr const char* config_help =
    "The policy; default: $SLUICE_CONFIG, then ./sluice.yaml, then /etc/sluice/sluice.yaml";

std::string must_be_duration(const std::string& text) {
    return parse_duration(text) ? std::string() : "not a duration: '" + text + "' (for example 30s, 1m30s, 250ms)";
}

/// All commands, and what was asked for.
class CommandLine {
  public:
    explicit CommandLine(Streams& streams) : streams_(streams) {
        app_.require_subcommand(1);
        app_.set_version_flag("--version", std::string("sluice ") + SLUICE_VERSION);
        app_.footer("Each has --help, with examples. Exit codes: 0, 1 failure, 2 usage, 78 bad policy.");
        add_run();
        add_check();
        add_schema();
        add_env();
        add_exec();
        add_explain();
        add_doctor();
        add_demo();
        add_healthcheck();
        add_status();
        add_breaker();
        add_credential();
        add_audit();
        add_authority();
        add_version();
    }

    /// `command`: what stood after "--".
    int run(int argc, const char* const* argv, std::vector<std::string> command) {
        exec_.command = std::move(command);
        if (argc > 1 && argv[1][0] != '-' && std::find(names_.begin(), names_.end(), argv[1]) == names_.end()) {
            return tell_unknown(argv[1]);
        }
        try {
            app_.parse(argc, argv);
        } catch (const CLI::ParseError& error) {
            const std::string group = argc > 1 && argv[1][0] != '-' ? argv[1] : "";
            const int next = group.empty() ? 1 : 2;
            return tell(error, group, argc > next ? argv[next] : "");
        }
        return chosen_();
    }

  private:
    CLI::App* add(const std::string& name, const std::string& what, const std::string& examples,
                  std::function<int()> carry_out) {
        names_.push_back(name);
        CLI::App* command = app_.add_subcommand(name, what);
        command->footer(examples);
        command->callback([this, carry_out = std::move(carry_out)] { chosen_ = carry_out; });
        return command;
    }

    void take_config(CLI::App* command) { command->add_option("-c,--config", config_, config_help)->type_name("FILE"); }

    void take_output(CLI::App* command) {
        command->add_option("-o,--output", output_, "text, or json for machines")
            ->check(CLI::IsMember({"text", "json"}))
            ->type_name("FORMAT")
            ->capture_default_str();
    }

    void take_admin(CLI::App* command) {
        command->add_option("--admin", admin_, "The admin listener, in place of the policy's")
            ->type_name("ADDRESS:PORT");
    }

    void take_drain(CLI::App* command) {
        command->add_option("--drain", drain_, "How long requests in flight may take to end")
            ->check(must_be_duration)
            ->type_name("DURATION")
            ->capture_default_str();
    }

    Output output() const { return output_ == "json" ? Output::json : Output::text; }
    Duration drain() const { return *parse_duration(drain_); }

    void add_run() {
        CLI::App* command = add(
            "run", "Run the proxy until it is told to end",
            "SIGTERM and SIGINT drain; a second one ends at once (but for a refresh token that is on its way: its\n"
            "answer is waited for). The policy is read again when its files change, on\n"
            "SIGHUP and on POST /reload; a bad one is refused, and the one from before goes on.\n"
            "The log goes to standard output, in JSON unless that is a terminal; its line with \"event\":\"started\"\n"
            "has the addresses it listens on.\n\n"
            "Examples:\n"
            "  sluice run --config sluice.yaml\n"
            "  sluice run --config /etc/sluice/sluice.yaml --drain 2m",
            [this] { return run_proxy(config_, drain(), streams_); });
        take_config(command);
        take_drain(command);
    }

    void add_check() {
        CLI::App* command =
            add("check", "Say everything that is wrong with a policy; reads no secret",
                "Exits 0 when the policy is fine and 78 when it is bad; with --against 1 when nobody answers there, or\n"
                "when the Sluice there would refuse it, because only a restart can change what it changes.\n\n"
                "Examples:\n"
                "  sluice check --config sluice.yaml\n"
                "  sluice check --config new.yaml --against http://127.0.0.1:15000     # what would change\n"
                "  sluice check -o json | jq .policy.vendors",
                [this] { return check_policy(config_, against_, output(), streams_); });
        take_config(command);
        command
            ->add_option("--against", against_, "The admin of a running Sluice: say what the policy would change there")
            ->type_name("URL");
        take_output(command);
    }

    void add_schema() {
        add("schema", "Print the JSON Schema of policies, for editors",
            "Examples:\n"
            "  sluice schema > policy.schema.json\n"
            "  # in a policy: # yaml-language-server: $schema=./policy.schema.json",
            [this] { return print_schema(streams_); });
    }

    void add_env() {
        CLI::App* command =
            add("env", "Print the variables by which applications find the proxy and trust its CA",
                "Examples:\n"
                "  eval \"$(sluice env)\"\n"
                "  sluice env --format fish | source\n"
                "  docker run --network host --env-file <(sluice env --format dotenv) IMAGE\n"
                "  sluice env --format k8s     # the list under a container's env:",
                [this] { return print_environment(config_, *env_format_named(env_format_), streams_); });
        take_config(command);
        command->add_option("-f,--format", env_format_, "sh, fish, dotenv, json or k8s")
            ->check(CLI::IsMember({"sh", "fish", "dotenv", "json", "k8s"}))
            ->type_name("FORMAT")
            ->capture_default_str();
    }

    void add_exec() {
        CLI::App* command =
            add("exec", "Run a command behind a proxy of its own",
                "sluice exec [OPTIONS] -- COMMAND [ARGUMENTS]\n\n"
                "Starts Sluice with the policy, runs the command inside of `sluice env`, forwards signals, and ends "
                "with the command's\n"
                "exit code. The variables that hold the policy's secrets are taken out of the command's environment.\n"
                "Free ports take the place of the built-in ones (listen.proxy 15001, listen.admin 15000), so that it "
                "runs beside a\n"
                "`sluice run`; ports that the policy chose are used as they are.\n\n"
                "Examples:\n"
                "  sluice exec -- curl https://api.vendor.example/v1/things\n"
                "  sluice exec --config sluice.yaml --log sluice.log -- python3 app.py --port 8080",
                [this] { return run_exec(); });
        take_config(command);
        take_drain(command);
        command
            ->add_option("--client", exec_.client,
                         "The client of the policy that the command is: its name and password are in the command's proxy URL")
            ->type_name("NAME");
        command->add_option("--log", exec_.log, "Where the log goes; default: standard error")->type_name("FILE");
    }

    int run_exec() {
        if (exec_.command.empty()) {
            streams_.err << "no command: write it after --, as in: sluice exec -- curl https://api.vendor.example/\n";
            return code_of(Exit::usage);
        }
        exec_.config = config_;
        exec_.drain = drain();
        return execute(exec_, streams_);
    }

    void add_explain() {
        CLI::App* command =
            add("explain", "Say what would become of a request, and which line of the policy decides it",
                "Nothing is resolved, connected to or read but the policy. Behind each number is the line that it comes from; what\n"
                "has none is built in.\n\n"
                "Examples:\n"
                "  sluice explain GET https://api.vendor.example/v1/things\n"
                "  sluice explain POST /vendor/v1/things          # base-URL mode\n"
                "  sluice explain CONNECT api.vendor.example:443\n"
                "  sluice explain -o json GET https://api.vendor.example/ | jq .allowed",
                [this] { return explain_request(config_, method_, url_, output(), streams_); });
        take_config(command);
        take_output(command);
        command->add_option("METHOD", method_, "As the application would send it")->required();
        command->add_option("URL", url_, "http(s)://, ws(s)://, or /vendor/path")->required();
    }

    void add_doctor() {
        CLI::App* command =
            add("doctor", "Say what keeps this machine's applications from Sluice, and which clients ignore what",
                "Run it as the application's user, in its environment. Asks the proxy one request, which it refuses, and\n"
                "admin which credentials are not at hand and whether the audit trail is written.\n"
                "Exits 0 when nothing is wrong, else 1.\n\n"
                "Examples:\n"
                "  sluice doctor\n"
                "  sluice doctor -o json | jq '.clients[] | select(.reads_proxy != \"yes\")'",
                [this] { return run_doctor(config_, output(), streams_); });
        take_config(command);
        take_output(command);
    }

    void add_demo() {
        CLI::App* command = add("demo", "Show and check the main job on this machine, with a vendor of its own",
                                "Exits 0 when everything was as it should be.\n\n"
                                "Examples:\n"
                                "  sluice demo\n"
                                "  sluice demo --stay     # keeps running, prints curl lines to try by hand",
                                [this] { return run_demo(stay_, streams_); });
        command->add_flag("--stay", stay_, "Keep running, and print lines to try by hand");
    }

    void add_healthcheck() {
        CLI::App* command =
            add("healthcheck", "Ask a running Sluice whether it is ready, for probes",
                "Exits 0 when GET /ready on the policy's admin listener answers 200 within two seconds, else 1.\n\n"
                "Examples:\n"
                "  sluice healthcheck\n"
                "  sluice healthcheck --admin 127.0.0.1:15000     # without reading a policy",
                [this] { return check_health(config_, admin_, streams_); });
        take_config(command);
        take_admin(command);
    }

    void add_status() {
        CLI::App* command =
            add("status", "Show a running Sluice's vendors, and what of them is not at hand",
                "Open breakers, limits that hold somebody up, chaos, credentials that are not renewed though they still hold, and how\n"
                "the audit trail fares are told too, and change nothing in that.\n"
                "Exits 0 when it is ready and nothing is missing, else 1.\n\n"
                "Examples:\n"
                "  sluice status\n"
                "  sluice status --admin 127.0.0.1:15000 -o json | jq '.vendors[].name'",
                [this] { return print_status(config_, admin_, output(), streams_); });
        take_config(command);
        take_admin(command);
        take_output(command);
    }

    void add_breaker() {
        CLI::App* command = add(
            "breaker", "Show the breakers of a running Sluice's vendor, or force them",
            "open refuses every request (a kill switch), closed lets every one through, auto takes either back. What\n"
            "is forced holds through reloads, until auto or a restart. Exits 0 when it was done, else 1.\n\n"
            "Examples:\n"
            "  sluice breaker pay\n"
            "  sluice breaker pay open\n"
            "  sluice breaker pay auto --endpoint api.eu1.pay.example\n"
            "  sluice breaker pay --admin 127.0.0.1:15000 -o json | jq '.breakers[].state'",
            [this] { return ask_breakers(config_, admin_, breaker_, output(), streams_); });
        command->add_option("VENDOR", breaker_.vendor, "As the policy names it")->required();
        command->add_option("STATE", breaker_.state, "open, closed or auto; without it they are shown")
            ->check(CLI::IsMember({"open", "closed", "auto"}));
        command->add_option("--endpoint", breaker_.endpoint, "Only the breaker of this one")->type_name("ENDPOINT");
        take_config(command);
        take_admin(command);
        take_output(command);
    }

    void add_credential() {
        names_.push_back("credential");
        CLI::App* group =
            app_.add_subcommand("credential", "Get a credential of the policy, and say what came or why nothing did");
        group->footer("Example:\n  sluice credential test pay");
        group->require_subcommand(1);
        CLI::App* command = group->add_subcommand("test", "Get it as a running Sluice would; it is never shown");
        command->footer(
            "Asks the issuer (or reads the file) under the policy's own rules, and says whose it is, how long it lives, where\n"
            "it goes and to which vendors; of a failure what to do. What an issuer makes to order (a lease of Vault, an\n"
            "installation token) stays valid until it ends. Run it as Sluice's user, in its environment.\n"
            "Of oauth2_refresh_token the chain in `state` goes on: what comes is kept there before it is used, and a Sluice\n"
            "that runs takes it from there the next time. Both at once may look like theft to the issuer, so this is refused\n"
            "where a Sluice on the policy's admin listener has it; one that cannot be asked from here is not seen.\n"
            "Exits 0 when it came, 1 when not, 2 when there is none of that name, 78 when the policy is bad.\n\n"
            "Examples:\n"
            "  sluice credential test pay\n"
            "  sluice credential test pay --config sluice.yaml -o json | jq .lifetime_seconds");
        command->callback([this] {
            chosen_ = [this] { return test_credential(config_, credential_, output(), streams_); };
        });
        command->add_option("NAME", credential_.name, "As the policy names it")->required();
        take_config(command);
        take_output(command);
        command->add_flag("--force", credential_.force,
                          "Though a running Sluice, or another user, has the same chain of refresh tokens");
    }

    void add_audit() {
        names_.push_back("audit");
        CLI::App* group = app_.add_subcommand("audit", "Look after the audit trail, which Sluice keeps in `state`");
        group->footer("Example:\n  sluice audit verify");
        group->require_subcommand(1);
        CLI::App* command = group->add_subcommand("verify", "Say whether its chain is whole, and where it is not");
        command->footer(
            "Each record has the SHA-256 of the one before it, so a line that was changed, taken out, moved or put in\n"
            "between is found. Not by that alone: that records are missing at the end, or that somebody wrote all anew from\n"
            "some line on. So keep the last hash elsewhere, and give it as --expect the next time.\n"
            "Without FILE the trail in the policy's `state` is read, with its older files (audit.jsonl.1 ...); run it as\n"
            "Sluice's user. A Sluice may go on writing meanwhile.\n"
            "Exits 0 when the chain is whole, 1 when it is not or cannot be read, 2 on usage, 78 when the policy is bad.\n\n"
            "Examples:\n"
            "  sluice audit verify --config sluice.yaml\n"
            "  sluice audit verify /var/lib/sluice/audit.jsonl*\n"
            "  zcat trail.gz | sluice audit verify - -o json | jq .faults");
        command->callback([this] {
            chosen_ = [this] { return verify_audit(config_, audit_, output(), streams_); };
        });
        command->add_option("FILE", audit_.files, "In whatever order; - is standard input")->type_name("FILE");
        command->add_option("--expect", audit_.expected, "A record with this hash has to be there")
            ->check([](const std::string& text) {
                return is_audit_hash(text) ? std::string() : "not a hash of 64 hex digits: '" + text + "'";
            })
            ->type_name("HASH");
        take_config(command);
        take_output(command);
    }

    void add_authority() {
        CLI::App* command =
            add("ca", "Print the CA that applications have to trust",
                "Examples:\n"
                "  sluice ca | openssl x509 -noout -subject -dates\n"
                "  curl --proxy http://127.0.0.1:15001 --cacert \"$(sluice ca --path)\" https://api.vendor.example/",
                [this] { return print_authority(config_, path_only_, output(), streams_); });
        take_config(command);
        take_output(command);
        command->add_flag("--path", path_only_, "Print where ca.crt is, not what it says");
    }

    void add_version() {
        CLI::App* command =
            add("version", "Print the version, and those of the libraries", "Example:\n  sluice version -o json",
                [this] { return print_version(output(), streams_); });
        take_output(command);
    }

    int tell_unknown(std::string_view word) {
        const std::vector<std::string_view> candidates(names_.begin(), names_.end());
        streams_.err << "unknown command " << quoted(word);
        if (const auto meant = nearest(word, candidates)) streams_.err << " (did you mean '" << *meant << "'?)";
        streams_.err << "; sluice --help lists them\n";
        return code_of(Exit::usage);
    }

    /// Help and version are answers; everything else is usage: what is wrong, or what there is where nothing was chosen.
    /// `word`: what stood after the command.
    int tell(const CLI::ParseError& error, const std::string& command, const std::string& word) {
        if (error.get_exit_code() != 0) {
            std::string what = error.what();
            const bool unchosen = what == "A subcommand is required";
            if (unchosen && word.empty()) {
                streams_.err << (command.empty() ? app_.help() : app_.get_subcommand(command)->help("sluice"));
                return code_of(Exit::usage);
            }
            if (unchosen) what = "there is no " + sluice::quoted(word) + " here";
            streams_.err << streams_.err.paint(Colour::red, what) << "; sluice " << (command.empty() ? "" : command + ' ')
                         << "--help says what there is\n";
            return code_of(Exit::usage);
        }
        std::ostringstream out, err;
        app_.exit(error, out, err);
        streams_.out << out.str();
        return code_of(Exit::fine);
    }

    Streams& streams_;
    CLI::App app_{
        "Sluice: an egress proxy beside an application. Applications reach their vendors through it; it adds the "
        "credentials,\n"
        "applies the policy and measures.",
        "sluice"};
    std::vector<std::string> names_;  // of the commands
    std::function<int()> chosen_;
    std::string config_, output_ = "text", drain_ = "30s", env_format_ = "sh", method_, url_, admin_, against_;
    bool stay_ = false, path_only_ = false;
    ExecOptions exec_;
    BreakerQuestion breaker_;
    CredentialQuestion credential_;
    AuditQuestion audit_;
};

}  // namespace

int run_command_line(int argc, const char* const* argv, Streams& streams) {
    // What follows "exec ... --" is another program's command line: never looked at by our parser.
    int own = argc;
    if (argc > 1 && std::string_view(argv[1]) == "exec") {
        own = static_cast<int>(std::find(argv, argv + argc, std::string_view("--")) - argv);
    }
    std::vector<std::string> command;
    for (int i = own + 1; i < argc; ++i) command.emplace_back(argv[i]);
    int code = CommandLine(streams).run(own, argv, std::move(command));
    if (!streams.out.flush() && code == code_of(Exit::fine)) {
        streams.err << "sluice: not all of the output could be written; is the disk full?\n";
        code = code_of(Exit::failure);
    }
    streams.err.flush();
    return code;
}

}  // namespace sluice
