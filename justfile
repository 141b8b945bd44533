# Everything here is also a plain command; `just` is not needed to build or test.

# Run the embedded echo server behind the proxy.
run:
    cargo run --release --locked -- run config/examples/echo.toml

# The same skewed load under each scheduler.
demo:
    cargo run --release --locked -- demo

# The tests, with the real services that they need.
test:
    bash tests/run

# What must be green before a change lands.
ci:
    bash .ci/run

# Connections that go from core to core, tens of thousands of times a minute, for ten minutes; then many reloads and switches, one
# after the other, and sequences of configurations, and switches to schedulers that lack any number of descriptors or threads; last
# fifty reloads and twenty switches between each two schedulers under 500 new connections a second, and 100,000 short connections;
# seven upgrades under 8,000 idle connections, 100 transfers and 500 new connections a second; and 50 upgrades of which one process is killed.
soak:
    CORELANE_SOAK_SECONDS=600 cargo test -p backend-glommio --release --locked --test soak -- --nocapture
    CORELANE_CHURN_STEPS=300 cargo test --release --locked --test e2e churn
    CORELANE_SEQUENCE_STEPS=200 CORELANE_SWEEP=full cargo test --release --locked --test e2e -- sequences switch_refused
    ulimit -n "$(ulimit -H -n)" && CORELANE_SOAK=full cargo test --release --locked --test e2e -- unnoticed leak upgrade_connections --test-threads 1
    ulimit -n "$(ulimit -H -n)" && CORELANE_KILLS=50 cargo test --release --locked --test e2e upgrade_killed -- --nocapture --test-threads 1

# The release binary without symbols, and its symbols beside it, in target/package.
release:
    CARGO_PROFILE_RELEASE_STRIP=none cargo build --release --locked --bin corelane
    mkdir -p target/package && bash packaging/strip target/release/corelane target/package

# The Debian package of that, in target/debian.
deb: release
    bash packaging/deb/build target/release/corelane

# The comparison with the peers; arguments are passed on (`just bench --help`).
bench *arguments:
    cargo run -p bench --release --locked -- {{arguments}}

# Builds against Debian 13's kernel headers, in a root that debootstrap makes. Needs root.
debian13:
    bash tests/debian13

# What connections notice of a reload or a switch, beside HAProxy and nginx (`just change --help`).
change *arguments:
    cargo run -p bench --release --locked -- change --out docs {{arguments}}

# What connections notice of upgrades, beside HAProxy, nginx and Envoy (`just upgrades --help`).
upgrades *arguments:
    cargo run -p bench --release --locked -- upgrade --out docs {{arguments}}

# What connections of a fleet notice when a proxy or a server comes or goes, simulated (docs/fleet.md).
fleet:
    cargo test -p proxy-core --release --locked --lib fleet -- --ignored --nocapture

# How long PostgreSQL and Redis that replicate take to recover behind corelane and behind HAProxy, with the same checks.
recovery:
    cargo test --release --locked --test e2e recovery -- --ignored --nocapture

# nginx's and HAProxy's own test suites against corelane (docs/COMPATIBILITY.md): CORELANE_NGINX_TESTS and CORELANE_HAPROXY name their checkouts.
suites *arguments:
    python3 tests/suites/run.py {{arguments}}
