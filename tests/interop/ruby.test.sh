#!/usr/bin/env bash
# Ruby's Net::HTTP, which takes everything from the environment.
. "$(dirname "$0")/support.sh"
require ruby ruby
start
main_job Ruby ruby "$interop/clients/client.rb"
