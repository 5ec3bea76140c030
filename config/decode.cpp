#include "config/decode.hpp"

#include <openssl/evp.h>

#include <array>
#include <filesystem>
#include <unordered_set>

#include "config/assemble.hpp"
#include "config/places.hpp"

namespace sluice {
namespace {

constexpr std::size_t max_included_files = 10'000;

std::string normal(const std::string& path) {
    return std::filesystem::path(path).lexically_normal().string();
}

bool is_pattern(std::string_view name) {
    return name.find_first_of("*?[") != name.npos;
}

/// SHA-256 over the length and the text of each file, so that moving text from one file to another counts as a change.
std::string digest_of(const std::deque<SourceFile>& files) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> sum{};
    unsigned size = 0;
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> hash{EVP_MD_CTX_new(), EVP_MD_CTX_free};
    EVP_DigestInit_ex(hash.get(), EVP_sha256(), nullptr);
    for (const SourceFile& file : files) {
        const std::string length = std::to_string(file.text.size()) + "\n";
        EVP_DigestUpdate(hash.get(), length.data(), length.size());
        EVP_DigestUpdate(hash.get(), file.text.data(), file.text.size());
    }
    EVP_DigestFinal_ex(hash.get(), sum.data(), &size);
    static constexpr char hex[] = "0123456789abcdef";
    std::string out;
    for (unsigned i = 0; i < size; ++i) out += {hex[sum[i] >> 4], hex[sum[i] & 15]};
    return out;
}

/// One load: the files, their nodes and the faults live as long as it does.
class Load {
  public:
    explicit Load(const PolicyInputs& inputs) : inputs_(inputs), reader_(faults_, inputs) {}

    Decoded run(std::string text, const std::string& name) {
        if (add_file(std::move(text), name)) {
            read_top(files_.back());
            Config config = assemble(whole_, inputs_.default_state, faults_);
            if (!faults_.failed()) return succeed(std::move(config));
        }
        return {nullptr, faults_.finish()};
    }

    /// After `run`, which is over with everything that points at them.
    PolicyPlaces take_places() { return {std::move(files_), std::move(nodes_), std::move(roots_)}; }

    Decoded fail(const std::string& path, const std::string& why) {
        faults_.add(path, why);
        return {nullptr, faults_.finish()};
    }

  private:
    Decoded succeed(Config config) {
        config.index_hosts();
        config.digest = digest_of(files_);
        return {std::make_shared<const Config>(std::move(config)), faults_.finish()};
    }

    bool add_file(std::string text, const std::string& name) {
        bytes_ += text.size();
        const bool fits = text.size() <= max_policy_file && bytes_ <= max_policy_bytes;
        if (fits)
            files_.emplace_back(name, std::move(text), files_.size());
        else
            faults_.add(name, text.size() > max_policy_file ? "larger than 16 MiB"
                                                            : "with it the policy is larger than 64 MiB");
        return fits;
    }

    void read_top(const SourceFile& file) {
        const YamlTree tree = parse_yaml(file, nodes_, bounds_, faults_);
        if (!tree.sound) {
            whole_.complete = false;
            return;
        }
        if (!tree.root || tree.root->kind == Node::Kind::null) {
            faults_.add(file, {}, "the policy is empty: it needs at least 'version: 1'");
            return;
        }
        roots_.push_back(tree.root);
        // Text that is no policy may be a secret's file, given by mistake.
        if (tree.root->kind == Node::Kind::scalar) reader_.mask(*tree.root);
        auto written = read_policy(reader_, *tree.root, false);
        if (!written) return;
        take_named(*written, *tree.root);
        whole_.top = std::move(*written);
        if (whole_.top.include)
            for (const auto& pattern : whole_.top.include->value) include(file, pattern);
    }

    void include(const SourceFile& from, const Written<std::string>& pattern) {
        const std::string path = beside(from.path, pattern.value);
        if (!is_pattern(path)) return read_included(path, from, *pattern.node);
        for (const std::string& found : inputs_.list_files(path)) read_included(found, from, *pattern.node);
    }

    void read_included(const std::string& path, const SourceFile& from, const Node& pattern) {
        const auto refuse = [&](const std::string& why) { faults_.add(from, pattern.at, shown(path) + why); };
        const std::string name = normal(path);
        if (name == normal(from.path)) return refuse(" in include is this file itself");
        if (!included_.insert(name).second) return;  // two patterns may well name one file
        if (included_.size() > max_included_files) {
            if (included_.size() == max_included_files + 1) refuse(" in include: more than 10,000 files");
            return;
        }
        auto text = inputs_.read_file(path);
        if (!text) {
            whole_.complete = false;
            return refuse(" in include cannot be read");
        }
        if (!add_file(std::move(*text), path)) {
            whole_.complete = false;
            return;
        }
        const YamlTree tree = parse_yaml(files_.back(), nodes_, bounds_, faults_);
        whole_.complete = whole_.complete && tree.sound;
        if (!tree.root || tree.root->kind == Node::Kind::null) return;  // a file of comments only
        roots_.push_back(tree.root);
        if (tree.root->kind == Node::Kind::scalar) reader_.mask(*tree.root);
        if (auto written = read_policy(reader_, *tree.root, true)) take_named(*written, *tree.root);
    }

    void take_named(WrittenPolicy& written, const Node& root) {
        if (const std::size_t at = root.find("credentials"); at != Node::npos)
            whole_.credential_maps.push_back(root.items[at + 1]);
        if (const std::size_t at = root.find("vendors"); at != Node::npos)
            whole_.vendor_maps.push_back(root.items[at + 1]);
        const auto move_to = [](auto& all, auto& some) {
            if (!some) return;
            std::move(some->value.begin(), some->value.end(), std::back_inserter(all));
            some.reset();
        };
        move_to(whole_.credentials, written.credentials);
        move_to(whole_.vendors, written.vendors);
    }

    const PolicyInputs& inputs_;
    FaultList faults_;
    Reader reader_;
    YamlBounds bounds_;
    std::deque<SourceFile> files_;  // neither these nor the nodes ever move: everything points at them
    std::deque<Node> nodes_;
    std::vector<const Node*> roots_;
    std::unordered_set<std::string> included_;
    WrittenWhole whole_;
    std::size_t bytes_ = 0;
};

}  // namespace

Decoded load_policy(const std::string& path, const PolicyInputs& inputs) {
    PolicyPlaces unused;
    return load_policy(path, inputs, unused);
}

Decoded load_policy(const std::string& path, const PolicyInputs& inputs, PolicyPlaces& places) {
    Load load{inputs};
    auto text = inputs.read_file(path);
    if (!text) return load.fail(path, "cannot be read");
    Decoded decoded = load.run(std::move(*text), path);
    places = load.take_places();
    return decoded;
}

Decoded decode_policy(std::string_view text, const std::string& name, const PolicyInputs& inputs) {
    return Load{inputs}.run(std::string(text), name);
}

}  // namespace sluice
