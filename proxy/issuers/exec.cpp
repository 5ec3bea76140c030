#include "proxy/issuers/exec.hpp"

#include <string.h>

#include <algorithm>
#include <utility>

#include "proxy/base/text.hpp"
#include "proxy/credentials/exec_reply.hpp"
#include "proxy/credentials/likely_secrets.hpp"
#include "proxy/issuers/run_program.hpp"

namespace sluice {

namespace {

constexpr std::size_t most_shown = 200;
constexpr std::size_t least_secret = 8;   // shorter words of what it printed are not taken for secrets
constexpr std::string_view exec_info = R"({"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"interactive":false}})";
constexpr std::string_view docker_has_none = "credentials not found in native keychain";   // printed on standard output, of all places

bool is_blank(char c) { return static_cast<unsigned char>(c) <= ' '; }
bool is_of_word(char c) { return c > ' ' && c <= '~' && std::string_view("\"'`,;()[]{}<>=").find(c) == std::string_view::npos; }

// The first line that says anything. Words of it that stand in the program's output as well are masked (`set -x` repeats whatever a script does): it may have printed a secret before it failed. So is what only looks like one.
std::string first_line(std::string_view complaint, std::string_view output) {
    while (!complaint.empty() && is_blank(complaint.front())) complaint.remove_prefix(1);
    const std::string_view line = complaint.substr(0, complaint.find_first_of("\r\n"));
    std::string out;
    for (std::size_t at = 0; at < line.size() && out.size() <= most_shown;) {
        const auto end = std::find_if_not(line.begin() + static_cast<std::ptrdiff_t>(at), line.end(), is_of_word);
        const std::string_view word = line.substr(at, static_cast<std::size_t>(end - line.begin()) - at);
        if (word.size() >= least_secret && output.find(word) != output.npos) out += "***";
        else out += word;
        at += word.size();
        if (word.empty()) {
            out += line[at] >= ' ' && line[at] <= '~' ? line[at] : '?';
            ++at;
        }
    }
    out = mask_likely_secrets(out);   // before it is cut: half a token looks like a word
    if (out.size() > most_shown) out.resize(most_shown);
    return out;
}

std::string name_of(const ExecSpec& spec) { return spec.command.empty() ? "its program" : spec.command[0]; }

std::string fault_of(const ProgramEnd& end, const ExecSpec& spec) {
    switch (end.how) {
    case ProgramEnd::How::not_started: return end.complaint;
    case ProgramEnd::How::late: return name_of(spec) + " did not end in time and was stopped";
    case ProgramEnd::How::too_much: return name_of(spec) + " printed more than 1 MiB and was stopped";
    case ProgramEnd::How::stopped: return name_of(spec) + " was stopped, because Sluice ends";
    case ProgramEnd::How::signalled: {
        const char* name = ::sigdescr_np(end.code);
        return name_of(spec) + " was ended by signal " + std::to_string(end.code) + (name ? " (" + std::string(name) + ")" : "");
    }
    case ProgramEnd::How::exited: return end.code == 0 ? "" : name_of(spec) + " exited with " + std::to_string(end.code);
    }
    return {};
}

std::variant<Minted, ExecFault> read_output(const ExecSpec& spec, std::string_view output, WallTime asked) {
    switch (spec.format) {
    case ExecSpec::Format::exec_credential: return read_exec_credential(output, asked);
    case ExecSpec::Format::credential_process: return read_credential_process(output, asked);
    case ExecSpec::Format::docker: return read_docker_helper(output);
    }
    return ExecFault();
}

// Of what a failure must not show, the program's own variables too: a policy may take them from ours.
Task<Result<Program>> program_of(Errand& errand, const ExecSpec& spec) {
    Program program;
    program.command = spec.command;
    program.deadline = std::min(errand.deadline(), later(Errand::now(), spec.timeout));
    bool told = false;
    for (const auto& [name, value] : spec.environment) {
        program.environment.emplace_back(name, Secret(std::string(value)));
        if (value.size() >= least_secret) errand.hide(program.environment.back().second);
        told |= name == "KUBERNETES_EXEC_INFO";
    }
    for (const auto& [name, source] : spec.secret_environment) {
        Result<Secret> value = co_await errand.secret(source);
        if (!value) co_return std::move(value.error());
        program.environment.emplace_back(name, std::move(*value));
    }
    switch (spec.format) {
    case ExecSpec::Format::exec_credential:
        if (!told) program.environment.emplace_back("KUBERNETES_EXEC_INFO", Secret(std::string(exec_info)));
        break;
    case ExecSpec::Format::credential_process: break;
    case ExecSpec::Format::docker:
        if (program.command.size() < 2 || program.command.back() != "get") program.command.emplace_back("get");
        program.input = spec.server + '\n';
        break;
    }
    co_return program;
}

Task<ProgramEnd> run_aside(Errand& errand, Program program) {
    auto end = std::make_shared<ProgramEnd>();   // of both: who waits may be gone before the program is
    std::function<void(const std::atomic<bool>&)> work = [end, program = std::make_shared<const Program>(std::move(program))](const std::atomic<bool>& stopping) { *end = run_program(*program, stopping); };
    co_await errand.aside(std::move(work));
    co_return std::move(*end);
}

void hide(Errand& errand, const Minted& minted) {
    if (const auto* token = std::get_if<Secret>(&minted.what)) errand.hide(*token);
    if (const auto* pair = std::get_if<UserPassword>(&minted.what)) errand.hide(pair->password);
    if (const auto* keys = std::get_if<AwsSecretKeys>(&minted.what)) {
        errand.hide(keys->secret_access_key);
        errand.hide(keys->session_token);
    }
}

}  // namespace

Task<Result<Minted>> fetch_exec(Errand& errand, const ExecSpec& spec) {
    Result<Program> program = co_await program_of(errand, spec);
    if (!program) co_return std::move(program.error());
    const WallTime asked = Errand::wall_now();
    ProgramEnd end = co_await run_aside(errand, std::move(*program));
    const std::string_view output = end.output.reveal();
    auto read = read_output(spec, output, asked);
    std::string fault = fault_of(end, spec);
    if (fault.empty()) {
        if (auto* minted = std::get_if<Minted>(&read)) {
            hide(errand, *minted);
            if (minted->subject.empty()) minted->subject = name_of(spec);
            co_return std::move(*minted);
        }
        fault = name_of(spec) + ": " + std::get<ExecFault>(read);
    }
    if (const auto* minted = std::get_if<Minted>(&read)) hide(errand, *minted);
    const bool started = end.how != ProgramEnd::How::not_started;
    const std::string said = started ? first_line(end.complaint, output) : "";
    if (said.empty() && spec.format == ExecSpec::Format::docker && trimmed(output).starts_with(docker_has_none)) fault += "; it has nothing for '" + spec.server + "'";
    if (!said.empty()) errand.note(name_of(spec) + " said: " + said);   // to the log alone: it may hold a secret all the same
    co_return errand.failure(std::move(fault));
}

}  // namespace sluice
