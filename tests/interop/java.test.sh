#!/usr/bin/env bash
# Java's HttpClient: JAVA_TOOL_OPTIONS brings the proxy and the trust store.
. "$(dirname "$0")/support.sh"
require java openjdk-17-jdk-headless
start
main_job Java java "$interop/clients/Client.java"
