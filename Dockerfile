# An image of corelane without a shell, run by nobody in particular.
#
#     docker build -t corelane .
#     docker run --rm -p 7000:7000 --security-opt seccomp=packaging/seccomp/corelane.json --ulimit nofile=524288 corelane
#
# Without the profile Docker refuses io_uring, and corelane runs on tokio. `docker run … corelane doctor` says what is missing.
#
# Both images are Debian 13's, so that the C library that it is built with is the one that it runs with. The second one has no versions:
# who wants the same image each time adds its digest (@sha256:…).

# The oldest Rust that the code is compiled with (`rust-version` in Cargo.toml). .dockerignore leaves rust-toolchain.toml out, which would
# have rustup fetch another one.
FROM rust:1.95.0-slim-trixie AS build
# ring, which TLS of Kubernetes and of the admin server needs, has C and assembly in it.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN cargo build --release --locked --bin corelane

# glibc and libgcc, nothing else; user 65532.
FROM gcr.io/distroless/cc-debian13:nonroot
COPY --from=build /source/target/release/corelane /usr/bin/corelane
COPY packaging/docker/corelane.toml /etc/corelane/corelane.toml
USER 65532:65532
# The echo server of that file; the live page, metrics and health (/healthz, /readyz).
EXPOSE 7000 9600
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/corelane"]
CMD ["run", "/etc/corelane/corelane.toml"]
