#include "proxy/base/secret.hpp"

#include <catch2/catch.hpp>
#include <sstream>
#include <type_traits>

using namespace sluice;

namespace {

template <class T>
concept Printable = requires(std::ostream& out, const T& value) {
    out << value;
};

}  // namespace

TEST_CASE("a secret cannot be printed, nor taken from text by accident") {
    STATIC_REQUIRE_FALSE(Printable<Secret>);
    STATIC_REQUIRE(Printable<std::string>);  // the concept itself tells the two apart
    STATIC_REQUIRE_FALSE(std::is_convertible_v<std::string, Secret>);
    STATIC_REQUIRE_FALSE(std::is_convertible_v<Secret, std::string>);
    STATIC_REQUIRE_FALSE(std::is_convertible_v<Secret, std::string_view>);
    STATIC_REQUIRE_FALSE(std::is_constructible_v<Secret, const std::string&>);
}

TEST_CASE("a secret takes over its bytes and leaves none at their source") {
    for (const std::string& text : {std::string("short"), std::string(200, 's')}) {
        std::string source = text;
        const char* bytes = source.data();
        const Secret secret(std::move(source));
        CHECK(secret.reveal() == text);
        CHECK(secret.size() == text.size());
        CHECK(source.empty());
        CHECK(std::string_view(bytes, text.size()) == std::string(text.size(), '\0'));  // still owned by `source`
    }
}

TEST_CASE("a moved secret leaves nothing behind, a copied one is its own") {
    for (const std::string& text : {std::string("short"), std::string(200, 's')}) {
        Secret first{std::string(text)};
        Secret second(std::move(first));
        CHECK(first.empty());
        CHECK(second.reveal() == text);

        const Secret copy = second;
        second = Secret{};
        CHECK(second.empty());
        CHECK(copy.reveal() == text);

        Secret third{std::string("another")};
        third = copy;
        CHECK(third.reveal() == text);
        Secret& itself = third;
        third = itself;
        third = std::move(itself);
        CHECK(third.reveal() == text);
    }
}

TEST_CASE("a short secret, which lies inside its object, is wiped there when it moves on") {
    Secret first{std::string("hunter2")}, second;
    const std::string_view inside_first = first.reveal();
    second = std::move(first);
    CHECK(inside_first.find_first_not_of('\0') == inside_first.npos);
    const std::string_view inside_second = second.reveal();
    const Secret made(std::move(second));
    CHECK(inside_second.find_first_not_of('\0') == inside_second.npos);
    CHECK(made.same_as("hunter2"));
}

TEST_CASE("secrets are compared by all of their bytes") {
    const Secret secret(std::string("hunter2"));
    CHECK(secret.same_as("hunter2"));
    CHECK_FALSE(secret.same_as("hunter3"));
    CHECK_FALSE(secret.same_as("Hunter2"));
    CHECK_FALSE(secret.same_as("hunter"));
    CHECK_FALSE(secret.same_as("hunter22"));
    CHECK_FALSE(secret.same_as(""));
    CHECK(Secret().same_as(""));
}

TEST_CASE("wiping covers what a longer, earlier value left in the spare room") {
    std::string text(100, 'x');
    text.resize(3);
    wipe(text);
    CHECK(text.empty());
    CHECK(text.capacity() >= 100);
    text.resize(text.capacity());  // would show old bytes only if the library left them; resize writes zeros
    CHECK(text.find('x') == std::string::npos);
}
