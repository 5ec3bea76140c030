// Who may read what is published: applications often run as another user than Sluice.
#pragma once

#include <string>

namespace sluice {

/// The first directory on the way to `directory`, itself included, that users other than its owner and group may not
/// enter; "" for none. As far as the modes say: access lists are not read.
std::string closed_to_others(const std::string& directory);

/// May users other than its owner put files into this directory? As far as its mode says.
bool writable_by_others(const std::string& directory);
/// Takes that from them. False: the directory is not this user's to change.
bool close_to_others_writing(const std::string& directory);

/// May this process read the file? 0, or the errno that says why not.
int error_of_reading(const std::string& file);

}  // namespace sluice
