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
mkdir -p "$work/tmp"
port="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"

# TLS, because the policies of the stack's buckets refuse plain HTTP.
certificate="$work/certificate.pem"
target/venv/sam/bin/python tests/stack/certificate.py "$certificate" "$work/key.pem"
export AWS_ENDPOINT_URL="https://127.0.0.1:$port"
export AWS_CA_BUNDLE="$certificate" REQUESTS_CA_BUNDLE="$certificate"
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1
export AWS_EC2_METADATA_DISABLED=true AWS_PAGER="" SAM_CLI_TELEMETRY=0
PATH="$PWD/target/venv/cargo-lambda/bin:$PWD/target/venv/sam/bin:$PWD/target/venv/stack/bin:$PATH"
export PATH

# AUTH makes MiniStack enforce the function's role. The functions that it starts inherit SSL_CERT_FILE, so that they
# trust its certificate. IoT and SFTP are off, because they would listen on ports of their own.
TMPDIR="$work/tmp" SSL_CERT_FILE="$certificate" AUTH=true USE_SSL=1 MINISTACK_SSL_CERT="$certificate" \
    MINISTACK_SSL_KEY="$work/key.pem" BIND_HOST=127.0.0.1 GATEWAY_PORT="$port" \
    IOT_MTLS_ENABLED=0 SFTP_ENABLED=0 LOG_LEVEL=INFO \
    target/venv/ministack/bin/python tests/stack/serve.py >"$work/ministack.log" 2>&1 &
ministack=$!
trap 'kill "$ministack" 2>/dev/null || true; wait "$ministack" 2>/dev/null || true' EXIT
until python3 - "$certificate" "$AWS_ENDPOINT_URL/_ministack/health" 2>/dev/null <<'EOF'; do
import ssl, sys, urllib.request
urllib.request.urlopen(sys.argv[2], context=ssl.create_default_context(cafile=sys.argv[1]), timeout=5)
EOF
    kill -0 "$ministack" || { cat "$work/ministack.log"; exit 1; }
    sleep 0.1
done

if [[ ${1:-} == serve ]]; then
    cat <<EOF
MiniStack is up. In another shell, in this directory:

export AWS_ENDPOINT_URL=$AWS_ENDPOINT_URL AWS_CA_BUNDLE=$certificate REQUESTS_CA_BUNDLE=$certificate
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1 SAM_CLI_TELEMETRY=0
export AWS_EC2_METADATA_DISABLED=true
export PATH="$PWD/target/venv/cargo-lambda/bin:$PWD/target/venv/sam/bin:$PWD/target/venv/stack/bin:\$PATH"
sam build && sam deploy --config-env local
EOF
    wait "$ministack"
else
    # The commands from the README run `sam build` again and find everything built.
    sam build
    target/venv/stack/bin/python tests/stack/scenario.py "$work"
fi
