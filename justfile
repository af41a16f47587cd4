_list:
    @just --list --unsorted

# The service on this machine
dev *flags:
    cargo run -- dev {{ flags }}

# All tests, or those of these names
test *names:
    cargo test --workspace -- {{ names }}

# Format and lints
check:
    .ci/run format clippy

# All that decides whether a change lands, or these steps of it
ci *steps:
    .ci/run {{ steps }}

# The archives of a release, into this folder
release folder="target/release-artefacts":
    infra/release {{ folder }}
