# The front door. Every recipe is one line, so that nobody needs `just` (pip install rust-just) to do the same by hand.

set positional-arguments

# List the recipes
default:
    @just --list

# Build both programs, static, as they are shipped
build:
    deploy/build

# All that CI runs; with arguments, only the tests that they select
test *selection:
    tests/run "$@"

# Formatting, lints, scripts
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    grep -rlE --exclude-dir=target '^#!/usr/bin/env bash' deploy tests bench .ci | xargs shellcheck -x

# A five-machine platform on this host, one change, and where it arrived
demo *options:
    deploy/demo "$@"

# Figures, as ratios measured in one run
bench *options:
    bench/run "$@"

# Licences, advisories and the fence between core and shell
deny:
    cargo deny check
