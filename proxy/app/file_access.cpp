#include "proxy/app/file_access.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

namespace sluice {

std::string closed_to_others(const std::string& directory) {
    std::error_code error;
    const std::filesystem::path whole = std::filesystem::absolute(directory, error).lexically_normal();
    if (error) return {};
    std::filesystem::path at;
    for (const std::filesystem::path& part : whole) {
        at /= part;
        struct stat status {};
        if (::stat(at.c_str(), &status) != 0) return {};
        if (S_ISDIR(status.st_mode) && (status.st_mode & S_IXOTH) == 0) return at.string();
    }
    return {};
}

bool writable_by_others(const std::string& directory) {
    struct stat status {};
    return ::stat(directory.c_str(), &status) == 0 && (status.st_mode & (S_IWGRP | S_IWOTH)) != 0;
}

bool close_to_others_writing(const std::string& directory) {
    struct stat status {};
    return ::stat(directory.c_str(), &status) == 0 &&
           ::chmod(directory.c_str(), status.st_mode & 07777 & ~(S_IWGRP | S_IWOTH)) == 0;
}

int error_of_reading(const std::string& file) {
    const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return errno;
    ::close(fd);
    return 0;
}

}  // namespace sluice
