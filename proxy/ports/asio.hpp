// Asio as the floors know it that need no speed: the supervisor's loop, with listeners and admin on it.
#pragma once

#include <boost/asio/io_context.hpp>

namespace sluice {

namespace asio = boost::asio;

using Executor = asio::io_context::executor_type;

}  // namespace sluice
