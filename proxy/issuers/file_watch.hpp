// Notices that a path may lead to something else than before, or that what it leads to was written. Watched are
// directory entries, never files: the entry of the file, and of every symbolic link on the way to it, so that
// Kubernetes' swap of
// `..data` counts as much as a rewrite, a rename over the file, or its first appearance. A directory can be watched as
// a whole. One thread.
//
// It may miss things (a file system without inotify, a limit of watches, a parent directory that was moved): whoever
// uses it looks now and then anyway.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

namespace sluice {

class FileWatch {
  public:
    FileWatch();
    ~FileWatch();
    FileWatch(const FileWatch&) = delete;
    FileWatch& operator=(const FileWatch&) = delete;

    /// Watches what leads to these absolute paths now, whatever happens in these directories, and nothing else any
    /// more. Call it before reading them, each time: links may have been turned.
    void follow(const std::vector<std::string>& paths, const std::vector<std::string>& directories = {});

    /// Readable when something happened; -1 without inotify.
    int fd() const { return fd_; }
    /// Takes what happened. True: something about the paths.
    bool take_events();

  private:
    int fd_;
    std::map<int, std::set<std::string>>
        names_;  // the entries that matter ("": all), by their directory's watch descriptor
};

}  // namespace sluice
