#include "proxy/http/content_coding.hpp"

#include <brotli/decode.h>
#include <string.h>  // explicit_bzero
#include <sys/mman.h>
#include <zlib.h>
#define ZSTD_STATIC_LINKING_ONLY   // for ZSTD_createDCtx_advanced: of its shared library a symbol as any other, and unchanged since 0.8 (2016)
#include <zstd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <string>
#include <variant>

#include "proxy/base/text.hpp"

namespace sluice {

// ---- heads

std::string_view name_of(Coding coding) {
    switch (coding) {
    case Coding::gzip: return "gzip";
    case Coding::deflate: return "deflate";
    case Coding::br: return "br";
    case Coding::zstd: return "zstd";
    }
    return "";
}

namespace {

constexpr std::string_view content_encoding = "Content-Encoding";

std::optional<Coding> coding_named(std::string_view name) {
    if (same_text(name, "x-gzip")) return Coding::gzip;   // RFC 9110 8.4.1.3
    for (const Coding coding : {Coding::gzip, Coding::deflate, Coding::br, Coding::zstd})
        if (same_text(name, name_of(coding))) return coding;
    return {};
}

bool add_codings(Codings& codings, std::string_view list) {
    while (!list.empty()) {
        const std::size_t end = std::min(list.find(','), list.size());
        const std::string_view name = trimmed(list.substr(0, end));
        list.remove_prefix(std::min(end + 1, list.size()));
        if (name.empty() || same_text(name, "identity")) continue;
        const auto coding = coding_named(name);
        if (!coding || codings.count == Codings::most) return false;
        codings.applied[codings.count++] = *coding;
    }
    return true;
}

}  // namespace

std::optional<Codings> codings_of(const ResponseHead& head) {
    Codings codings;
    for (const Field field : head.fields)
        if (same_text(field.name, content_encoding) && !add_codings(codings, field.value)) return {};
    if (codings.count > 0 && head.status == 206) return {};
    return codings;
}

void prepare_decoded_head(ResponseHead& head) {
    for (const std::string_view of_other_bytes : {content_encoding, std::string_view("Content-MD5"), std::string_view("Digest"), std::string_view("Content-Digest"),
                                                  std::string_view("Repr-Digest"), std::string_view("Accept-Ranges")})
        head.fields.remove(of_other_bytes);
    head.fields.remove(Known::content_length);
    const auto tag = head.fields.find("ETag");
    if (tag && tag->starts_with('"')) head.fields.set("ETag", "W/" + std::string(*tag));
}

// ---- decoders

namespace {

using Step = Decoder::Step;

// For the memory of decoders: in their windows is what a vendor repeated, before anybody has searched it. Windows are megabytes of which most bodies fill a
// little: those go back to the kernel, which hands out zeros, and are not touched for it.
constexpr std::size_t before = alignof(std::max_align_t), own_mapping = 256 * 1024;
static_assert(before >= sizeof(std::size_t));

void* allocate(void*, std::size_t size) {
    if (size > SIZE_MAX - before) return nullptr;
    const std::size_t whole = before + size;
    void* at = whole < own_mapping ? std::malloc(whole) : ::mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!at || at == MAP_FAILED) return nullptr;
    new (at) std::size_t(whole);
    return static_cast<char*>(at) + before;
}
void wipe_and_free(void*, void* given) {
    if (!given) return;
    void* const at = static_cast<char*>(given) - before;
    const std::size_t whole = *static_cast<const std::size_t*>(at);
    if (whole >= own_mapping) {
        ::munmap(at, whole);
        return;
    }
    explicit_bzero(at, whole);
    std::free(at);
}

/// gzip (RFC 1952) with any number of members; deflate, which is zlib (RFC 1950) by the book and bare (RFC 1951) with some.
class Inflater {
  public:
    explicit Inflater(bool gzip) : gzip_(gzip) {
        if (gzip) start(15 + 16);
    }
    Inflater(const Inflater&) = delete;
    ~Inflater() {
        if (state_ != State::unknown) inflateEnd(&z_);
    }

    Step decode(std::string_view in, std::span<char> room) {
        Step step;
        if (state_ == State::unknown && !recognize(in, room, step)) return step;
        while (!step.fault && step.made < room.size()) {
            const std::string_view rest = in.substr(step.used);
            if (state_ == State::ended && !rest.empty()) {
                // Another member, or something that is none of the body's.
                const bool member = gzip_ && rest[0] == '\x1f';
                state_ = member ? State::running : State::ignoring;
                if (member) inflateReset(&z_);
            }
            if (state_ == State::ignoring) step.used = in.size();
            if (state_ != State::running) return step;
            if (!inflate_once(rest, room, step)) return step;
        }
        return step;
    }
    bool at_end() const { return state_ == State::ended || state_ == State::ignoring; }

  private:
    enum class State { unknown, running, ended, ignoring };

    void start(int window_bits) {
        z_.zalloc = [](void* opaque, unsigned items, unsigned size) { return allocate(opaque, std::size_t{items} * size); };
        z_.zfree = wipe_and_free;
        if (inflateInit2(&z_, window_bits) != Z_OK) throw std::bad_alloc();
        state_ = State::running;
    }

    // By the two bytes that zlib begins with (RFC 1950 2.2). They go to the decoder from here, as they may have come apart.
    bool recognize(std::string_view in, std::span<char> room, Step& step) {
        while (first_size_ < 2 && step.used < in.size()) first_[first_size_++] = in[step.used++];
        if (first_size_ < 2) return false;
        const unsigned a = static_cast<unsigned char>(first_[0]), b = static_cast<unsigned char>(first_[1]);
        const bool zlib = (a & 15) == 8 && a >> 4 <= 7 && (a << 8 | b) % 31 == 0;
        start(zlib ? 15 : -15);
        if (!zlib) {
            inflatePrime(&z_, 16, static_cast<int>(b << 8 | a));
            return true;
        }
        Step header;
        inflate_once({first_, 2}, room, header);
        step.fault = header.fault;
        return !step.fault;
    }

    // False: nothing more without further input.
    bool inflate_once(std::string_view in, std::span<char> room, Step& step) {
        constexpr std::size_t at_once = std::size_t{1} << 30;   // zlib counts in 32 bits
        const std::size_t size = std::min(in.size(), at_once), free = std::min(room.size() - step.made, at_once);
        z_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
        z_.avail_in = static_cast<uInt>(size);
        z_.next_out = reinterpret_cast<Bytef*>(room.data() + step.made);
        z_.avail_out = static_cast<uInt>(free);
        const int result = inflate(&z_, Z_SYNC_FLUSH);
        step.used += size - z_.avail_in;
        step.made += free - z_.avail_out;
        if (result == Z_STREAM_END) {
            state_ = State::ended;
            return true;
        }
        if (result == Z_BUF_ERROR) return false;
        if (result == Z_MEM_ERROR) throw std::bad_alloc();
        if (result != Z_OK) step.fault = z_.msg ? z_.msg : "it needs a dictionary";
        return result == Z_OK;
    }

    z_stream z_{};
    bool gzip_;
    State state_ = State::unknown;
    char first_[2] = {};
    std::size_t first_size_ = 0;
};

/// br (RFC 7932).
class Unbrotli {
  public:
    Unbrotli() : state_(BrotliDecoderCreateInstance(allocate, wipe_and_free, nullptr)) {
        if (!state_) throw std::bad_alloc();
    }
    Unbrotli(const Unbrotli&) = delete;
    ~Unbrotli() { BrotliDecoderDestroyInstance(state_); }

    Step decode(std::string_view in, std::span<char> room) {
        if (ended_) return {in.size(), 0, nullptr};
        std::size_t left = in.size(), free = room.size();
        auto* next = reinterpret_cast<const std::uint8_t*>(in.data());
        auto* out = reinterpret_cast<std::uint8_t*>(room.data());
        const BrotliDecoderResult result = BrotliDecoderDecompressStream(state_, &left, &next, &free, &out, nullptr);
        ended_ = result == BROTLI_DECODER_RESULT_SUCCESS;
        const char* fault = result == BROTLI_DECODER_RESULT_ERROR ? BrotliDecoderErrorString(BrotliDecoderGetErrorCode(state_)) : nullptr;
        return {ended_ ? in.size() : in.size() - left, room.size() - free, fault};
    }
    bool at_end() const { return ended_; }

  private:
    BrotliDecoderState* state_;
    bool ended_ = false;
};

/// zstd (RFC 8878) with any number of frames.
class Unzstd {
  public:
    Unzstd() : context_(ZSTD_createDCtx_advanced({allocate, wipe_and_free, nullptr})) {
        if (!context_) throw std::bad_alloc();
        ZSTD_DCtx_setParameter(context_, ZSTD_d_windowLogMax, 23);
    }
    Unzstd(const Unzstd&) = delete;
    ~Unzstd() { ZSTD_freeDCtx(context_); }

    Step decode(std::string_view in, std::span<char> room) {
        ZSTD_inBuffer input{in.data(), in.size(), 0};
        ZSTD_outBuffer output{room.data(), room.size(), 0};
        while (output.pos < output.size && !(at_end_ && input.pos == input.size)) {
            const std::size_t result = ZSTD_decompressStream(context_, &output, &input);
            if (ZSTD_isError(result)) return {input.pos, output.pos, ZSTD_getErrorName(result)};
            at_end_ = result == 0;
            if (input.pos == input.size && output.pos < output.size) break;   // all that there is of it is out
        }
        return {input.pos, output.pos, nullptr};
    }
    bool at_end() const { return at_end_; }

  private:
    ZSTD_DCtx* context_;
    bool at_end_ = true;   // of a frame
};

}  // namespace

struct Decoder::Engine {
    explicit Engine(Coding coding) {
        switch (coding) {
        case Coding::gzip: of.emplace<Inflater>(true); return;
        case Coding::deflate: of.emplace<Inflater>(false); return;
        case Coding::br: of.emplace<Unbrotli>(); return;
        case Coding::zstd: of.emplace<Unzstd>(); return;
        }
    }
    template <class Do>
    auto with(Do what) {
        if (auto* inflater = std::get_if<Inflater>(&of)) return what(*inflater);
        if (auto* unbrotli = std::get_if<Unbrotli>(&of)) return what(*unbrotli);
        return what(std::get<Unzstd>(of));
    }
    std::variant<std::monostate, Inflater, Unbrotli, Unzstd> of;
};

Decoder::Decoder(Coding coding) : engine_(std::make_unique<Engine>(coding)) {}
Decoder::Decoder(Decoder&&) noexcept = default;
Decoder& Decoder::operator=(Decoder&&) noexcept = default;
Decoder::~Decoder() = default;

Decoder::Step Decoder::decode(std::string_view in, std::span<char> room) {
    if (in.empty() && !more_) return {};   // nothing new: some take a call for nothing as a fault
    begun_ = true;
    const Step step = engine_->with([&](auto& engine) { return engine.decode(in, room); });
    more_ = step.made == room.size();
    return step;
}

bool Decoder::at_end() const {
    return !begun_ || engine_->with([](auto& engine) { return engine.at_end(); });
}

}  // namespace sluice
