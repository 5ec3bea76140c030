#!/usr/bin/env bash
# Perl's LWP::UserAgent and HTTP::Tiny.
. "$(dirname "$0")/support.sh"
require perl perl
perl -MLWP::Protocol::https -e 1 2>/dev/null ||
    fail "LWP is missing; 'deploy/packages.sh interop' installs it (libwww-perl liblwp-protocol-https-perl)"
start
main_job 'Perl LWP' perl "$interop/clients/client.pl" LWP
main_job 'Perl HTTP::Tiny' perl "$interop/clients/client.pl" Tiny
