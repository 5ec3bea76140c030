// A name server for tests: UDP and TCP on one loopback port, on the test's own thread: it answers while a loop is turned.
// It answers what the test tells it to, right or wrong.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/policy/address_guard.hpp"
#include "tests/support/run_task.hpp"

namespace sluice::test {

using Bytes = std::string;

enum : std::uint16_t { type_a = 1, type_cname = 5, type_aaaa = 28 };
enum : unsigned char { no_error = 0, form_error = 1, server_failure = 2, no_such_name = 3, refused = 5 };

struct DnsQuery {
    Bytes id;        // two bytes
    Bytes question;  // as it was asked: name, type, class
    std::string name;
    std::uint16_t type = 0;
    bool tcp = false;
};

struct DnsRecord {
    std::uint16_t type = 0;
    std::uint32_t ttl = 0;
    Bytes data;
    Bytes owner = Bytes("\xc0\x0c", 2);  // the question's name
};

inline Bytes u16(std::size_t value) {
    return {static_cast<char>(value >> 8 & 0xff), static_cast<char>(value & 0xff)};
}
inline Bytes u32(std::uint32_t value) {
    return u16(value >> 16) + u16(value & 0xffff);
}

/// "a.example" -> 1 a 7 example 0
inline Bytes dns_name(std::string_view text) {
    Bytes out;
    while (!text.empty()) {
        const std::size_t dot = std::min(text.find('.'), text.size());
        out += static_cast<char>(dot);
        out += text.substr(0, dot);
        text.remove_prefix(std::min(dot + 1, text.size()));
    }
    return out + '\0';
}

/// An A or AAAA record.
inline DnsRecord address_record(std::string_view text, std::uint32_t ttl = 300) {
    const IpAddress address = parse_address(text).value();
    const auto* bytes = reinterpret_cast<const char*>(address.bytes.data());
    return {address.v6 ? type_aaaa : type_a, ttl, Bytes(bytes, address.v6 ? 16 : 4)};
}

inline Bytes dns_reply(const DnsQuery& query, const std::vector<DnsRecord>& records, unsigned char code = no_error,
                       bool cut = false) {
    Bytes out = query.id;
    out += static_cast<char>(0x81 | (cut ? 0x02 : 0));  // QR, RD, TC
    out += static_cast<char>(0x80 | code);              // RA
    out += u16(1) + u16(records.size()) + u16(0) + u16(0) + query.question;
    for (const DnsRecord& record : records) {
        out += record.owner + u16(record.type) + u16(1) + u32(record.ttl) + u16(record.data.size()) + record.data;
    }
    return out;
}

/// Those of `addresses` that are of the query's type.
inline Bytes dns_addresses(const DnsQuery& query, const std::vector<std::string>& addresses, std::uint32_t ttl = 300) {
    std::vector<DnsRecord> records;
    for (const std::string& text : addresses) {
        DnsRecord record = address_record(text, ttl);
        if (record.type == query.type) records.push_back(std::move(record));
    }
    return dns_reply(query, records);
}

class FakeDns {
  public:
    /// What to send back, in that order; nothing: silence.
    using Answer = std::function<std::vector<Bytes>(const DnsQuery&)>;

    explicit FakeDns(const std::string& address = "127.0.0.1", std::uint16_t port = 0)
        : state_(std::make_shared<State>(io_)) {
        const auto ip = asio::ip::make_address(address);
        // One port for both: the other protocol may have it taken, then the next one is tried.
        for (int tries = 0;; ++tries) {
            boost::system::error_code error;
            state_->udp = asio::ip::udp::socket(io_, asio::ip::udp::endpoint(ip, port));
            const asio::ip::tcp::endpoint same(ip, state_->udp.local_endpoint().port());
            state_->tcp = asio::ip::tcp::acceptor(io_);
            state_->tcp.open(same.protocol());
            state_->tcp.bind(same, error);
            if (!error) break;
            if (tries == 50) throw boost::system::system_error(error);
        }
        state_->tcp.listen();
        state_->receive();
        state_->accept();
        beside.push_back(&io_);  // not before: a port that is taken throws, and nobody would take it away again
    }
    FakeDns(const FakeDns&) = delete;
    FakeDns& operator=(const FakeDns&) = delete;
    ~FakeDns() {
        state_->open = false;
        state_->udp.close();
        state_->tcp.close();
        std::erase(beside, &io_);
        io_.restart();
        io_.poll();  // nothing is left that holds the state
    }

    void answer(Answer answer) { state_->answer = std::move(answer); }
    /// Always these, of the type that is asked for.
    void addresses(std::vector<std::string> addresses, std::uint32_t ttl = 300) {
        answer([addresses, ttl](const DnsQuery& query) { return std::vector{dns_addresses(query, addresses, ttl)}; });
    }

    /// Sends something to whoever asked last.
    void send(const Bytes& datagram) { state_->send(datagram); }

    const std::vector<DnsQuery>& asked() const { return state_->asked; }
    std::size_t asked_for(std::string_view name, std::uint16_t type) const {
        std::size_t count = 0;
        for (const DnsQuery& query : asked()) count += query.name == name && query.type == type;
        return count;
    }
    std::uint16_t port() const { return state_->udp.local_endpoint().port(); }
    /// As Resolver::Options has it.
    std::string servers() const {
        return state_->udp.local_endpoint().address().to_string() + ":" + std::to_string(port());
    }

  private:
    struct State : std::enable_shared_from_this<State> {
        explicit State(asio::io_context& io) : udp(io), tcp(io) {}
        asio::ip::udp::socket udp;
        asio::ip::tcp::acceptor tcp;
        asio::ip::udp::endpoint from;
        std::array<char, 2048> buffer{};
        Answer answer = [](const DnsQuery&) { return std::vector<Bytes>{}; };
        std::vector<DnsQuery> asked;
        bool open = true;

        void send(const Bytes& datagram) {
            boost::system::error_code ignored;
            udp.send_to(asio::buffer(datagram), from, 0, ignored);
        }

        void receive() {
            udp.async_receive_from(asio::buffer(buffer), from,
                                   [self = shared_from_this()](boost::system::error_code error, std::size_t size) {
                                       if (!self->open) return;
                                       if (!error) self->answer_datagram({self->buffer.data(), size});
                                       self->receive();
                                   });
        }

        void answer_datagram(std::string_view message) {
            const auto query = parse(message, false);
            if (!query) return;
            asked.push_back(*query);
            for (const Bytes& datagram : answer(*query)) send(datagram);
        }

        void accept() {
            tcp.async_accept([self = shared_from_this()](boost::system::error_code error, asio::ip::tcp::socket peer) {
                if (!self->open || error) return;
                self->serve(std::make_shared<asio::ip::tcp::socket>(std::move(peer)));
                self->accept();
            });
        }

        void serve(const std::shared_ptr<asio::ip::tcp::socket>& peer) {
            auto length = std::make_shared<std::array<unsigned char, 2>>();
            asio::async_read(*peer, asio::buffer(*length),
                             [self = shared_from_this(), peer, length](boost::system::error_code error, std::size_t) {
                                 if (error || !self->open) return;
                                 self->serve_message(peer, std::size_t{(*length)[0]} << 8 | (*length)[1]);
                             });
        }

        void serve_message(const std::shared_ptr<asio::ip::tcp::socket>& peer, std::size_t size) {
            auto message = std::make_shared<Bytes>(size, '\0');
            asio::async_read(*peer, asio::buffer(*message),
                             [self = shared_from_this(), peer, message](boost::system::error_code error, std::size_t) {
                                 if (error || !self->open) return;
                                 const auto query = parse(*message, true);
                                 if (!query) return;
                                 self->asked.push_back(*query);
                                 auto out = std::make_shared<Bytes>();
                                 for (const Bytes& reply : self->answer(*query)) *out += u16(reply.size()) + reply;
                                 asio::async_write(*peer, asio::buffer(*out),
                                                   [self, peer, out](boost::system::error_code failed, std::size_t) {
                                                       if (!failed) self->serve(peer);
                                                   });
                             });
        }

        static std::optional<DnsQuery> parse(std::string_view message, bool tcp) {
            if (message.size() < 17) return std::nullopt;
            DnsQuery query;
            query.id = message.substr(0, 2);
            query.tcp = tcp;
            std::size_t at = 12;
            while (at < message.size() && message[at] != 0) {
                const auto size = static_cast<std::size_t>(static_cast<unsigned char>(message[at]));
                if (at + 1 + size >= message.size()) return std::nullopt;
                if (!query.name.empty()) query.name += '.';
                query.name += message.substr(at + 1, size);
                at += 1 + size;
            }
            if (at + 5 > message.size()) return std::nullopt;
            query.type = static_cast<std::uint16_t>(static_cast<unsigned char>(message[at + 1]) << 8 |
                                                    static_cast<unsigned char>(message[at + 2]));
            query.question = message.substr(12, at + 5 - 12);
            return query;
        }
    };
    asio::io_context io_{1};
    std::shared_ptr<State> state_;
};

}  // namespace sluice::test
