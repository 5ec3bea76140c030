// OpenSSL's memory. Called once, at the program's start.
#pragma once

namespace sluice {

/// From now on OpenSSL wipes what it frees while `WipedFrees` want it. False: it has allocated something already, and
/// frees as ever.
bool wipe_what_openssl_frees();

}  // namespace sluice
