# One definition of each check. `just ci` is CI word for word: .ci/run installs what is missing, then runs it.

# First what .ci/run installed; last where Debian keeps nginx and postgres, which the tests start.
export PATH := cache_directory() / "foster-tools/bin:" + env("PATH") + servers
servers := shell("printf ':%s' /usr/sbin /usr/lib/postgresql/*/bin")

# List the recipes
default:
    @just --list --unsorted

# Everything that CI checks; the tests last, so that the last lines are theirs
ci: (timed "fmt") (timed "clippy") (timed "docs") (timed "deny") (timed "typos") (timed "planted") test

# Every test: the stories, the doctests, the real processes
test:
    cargo test --workspace --locked

# Format, lints, dependencies, spelling
lint: fmt clippy deny typos

# The documentation, without a warning
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# Plant mistakes in the lifecycle, one at a time: the tests must catch each
planted:
    bash crates/foster/src/lifecycle/planted.sh

# Measure foster, its peers and the physical limit on the same work
bench *args:
    cargo build --release -p foster-cli --locked
    cargo run --release -p bench --locked -- {{ args }}

# Count instructions and system calls, and compare them to crates/budget/budgets.txt; BLESS=1 rewrites that
budget:
    cargo test -p budget --locked -- --nocapture

# The program as one static file, for images and for systems with another libc
artifact target=(arch() + "-unknown-linux-musl"):
    rustup target add {{ target }}
    cargo build --release -p foster-cli --locked --config 'profile.release.strip="symbols"' --target {{ target }}
    @ls -lh "${CARGO_TARGET_DIR:-target}/{{ target }}/release/foster"

[private]
fmt:
    cargo fmt --all --check

[private]
clippy:
    cargo clippy --workspace --all-targets --locked -- -D warnings

[private]
deny:
    cargo deny check bans licenses sources

[private]
typos:
    typos

# Run one recipe and say how long it took.
[no-exit-message]
[private]
timed recipe:
    @start=$(date +%s); "{{ just_executable() }}" {{ recipe }} && echo "== {{ recipe }}: $(($(date +%s) - start)) s"
