// Where OpenSSL reads or writes a private key: it leaves the key's DER behind in blocks that it frees without wiping them. Any thread. Pure: only whether.
#pragma once

namespace sluice {

/// While one lives, what OpenSSL frees on this thread is wiped first, in a program that asked for it (`wipe_what_openssl_frees`). Not always, as each free
/// would cost that: a quarter of a TLS handshake.
class WipedFrees {
  public:
    WipedFrees() { ++depth_; }
    WipedFrees(const WipedFrees&) = delete;
    WipedFrees& operator=(const WipedFrees&) = delete;
    ~WipedFrees() { --depth_; }

    static bool wanted() { return depth_ > 0; }

  private:
    static inline constinit thread_local unsigned depth_ = 0;
};

}  // namespace sluice
