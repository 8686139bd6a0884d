#!/usr/bin/env bash
# Runs the whole stack without an AWS account. MiniStack stands in for AWS; everything else is what a user has.
#   tests/stack.sh          builds, deploys, uploads, rolls back, breaks and deletes the stack, and checks each step
#   tests/stack.sh serve    starts MiniStack, prints how to point `sam` and `aws` at it, and runs until Ctrl-C
# It needs Rust, a C compiler and Python 3; .ci/install installs the rest into target/venv.
set -euo pipefail
cd "$(dirname "$0")/.."

.ci/install ministack sam cargo-lambda stack
work="$PWD/target/stack"
rm -rf "$work"
source tests/stack/ministack.sh
# The SDK for Rust does not know AWS_CA_BUNDLE, but SSL_CERT_FILE. Set for the whole shell, that would also keep Cargo from
# the registry.
mkdir -p "$work/bin"
cat >"$work/bin/dropship" <<EOF
#!/bin/sh
SSL_CERT_FILE="$certificate" exec "$PWD/target/debug/dropship" "\$@"
EOF
chmod +x "$work/bin/dropship"
tools="$work/bin:$PWD/target/venv/cargo-lambda/bin:$PWD/target/venv/sam/bin:$PWD/target/venv/stack/bin"
export PATH="$tools:$PATH"

if [[ ${1:-} == serve ]]; then
    cat <<EOF
MiniStack is up. In another shell, in this directory:

export AWS_ENDPOINT_URL=$AWS_ENDPOINT_URL AWS_CA_BUNDLE=$certificate REQUESTS_CA_BUNDLE=$certificate
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1 SAM_CLI_TELEMETRY=0
export AWS_EC2_METADATA_DISABLED=true
export PATH="$tools:\$PATH" DROPSHIP_STACK=dropship-local
cargo build --locked --features cli --bin dropship --example local
cargo lambda build --release --bin bootstrap
sam build && sam deploy --config-env local
dropship push examples/site/first
EOF
    wait "$ministack"
else
    # The commands from the README run both again and find everything built. `sam build` shows nothing while Cargo runs.
    cargo lambda build --release --bin bootstrap
    sam build
    # Built with the example, the command line shares its dependencies with it and with the tests.
    cargo build --locked --features cli --bin dropship --example local
    target/venv/stack/bin/python tests/stack/scenario.py "$work"
fi
