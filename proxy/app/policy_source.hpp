// A policy and all the files that it is made of: read, and asked whether they still are what was read. Used by the one
// who starts a Sluice, then by the reload's thread; one thread at a time.
#pragma once

#include <sys/types.h>

#include <ctime>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "config/decode.hpp"

namespace sluice {

class PolicySource {
  public:
    using Adjust = std::function<Config(const Config&)>;

    /// `adjust`: what is made of each policy that was read (`exec` gives it ports of its own).
    explicit PolicySource(std::string path, Adjust adjust = {});

    /// Reads it as it stands, and notes what was read.
    Decoded load();
    /// Files that belong to the policy read last, though they are not of it: the certificates that its vendors name.
    /// Before they are read.
    void note(const std::vector<std::string>& files);

    /// Is a file there, gone or another than when it was read, or what an `include` finds? Something that was read
    /// while it was just being written counts as changed, once.
    bool changed() const;

    const std::string& path() const { return path_; }
    /// Absolute: every file that was read or missing, and the directories in which an `include` looks for more.
    std::vector<std::string> files() const;
    std::vector<std::string> directories() const;

  private:
    struct Stamp {
        bool there = false;
        dev_t device{};
        ino_t file{};
        off_t size{};
        timespec modified{}, changed{};
        bool fresh = false;  // written within the clock's granularity: another write may not show

        bool operator==(const Stamp& other) const;
    };
    static Stamp stamp(const std::string& path);

    std::string path_;
    Adjust adjust_;
    std::map<std::string, Stamp> files_;
    std::map<std::string, std::vector<std::string>> patterns_;  // what each found
};

}  // namespace sluice
