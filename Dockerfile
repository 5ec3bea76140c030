# docker build -t sluice .
#
# The build stage is the quickstart without its demo, so it has the same packages and the same options.
FROM debian:bookworm-slim AS build
WORKDIR /src
COPY deploy/packages.sh deploy/
RUN deploy/packages.sh build
COPY . .
RUN deploy/quickstart.sh --build-only && strip build/release/sluice

# Only the binary, the libraries that it loads, and the system's roots.
FROM debian:bookworm-slim
RUN --mount=type=bind,from=build,source=/src/deploy,target=/deploy \
    /deploy/packages.sh run \
    && apt-get clean && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 65532 sluice \
    && useradd -K UID_MAX=65533 --uid 65532 --gid 65532 --no-create-home --home-dir /var/lib/sluice \
        --shell /usr/sbin/nologin sluice \
    && install -d -m 0700 -o 65532 -g 65532 /var/lib/sluice \
    && install -d -m 0755 -o 65532 -g 65532 /run/sluice
COPY --from=build /src/build/release/sluice /usr/local/bin/sluice
USER 65532:65532
# `state` without a policy that says otherwise: /var/lib/sluice.
ENV XDG_STATE_HOME=/var/lib
# Metrics and probes. The other listeners are for whoever shares our loopback, unless the policy says otherwise.
EXPOSE 15090
HEALTHCHECK --start-period=10s --interval=10s --timeout=3s CMD ["/usr/local/bin/sluice", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/sluice"]
CMD ["run"]
