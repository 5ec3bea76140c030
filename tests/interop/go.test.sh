#!/usr/bin/env bash
# Go's net/http, which takes everything from the environment.
. "$(dirname "$0")/support.sh"
require go golang-go
start
export GOCACHE=$scratch/go-cache GOPATH=$scratch/go GOFLAGS=-mod=mod GOPROXY=off GO111MODULE=off
timeout 120 go build -o "$scratch/client" "$interop/clients/client.go" 2>"$scratch/client.err" || fail 'go build'
main_job Go "$scratch/client"
