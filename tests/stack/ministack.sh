# shellcheck shell=bash disable=SC2154 # the script that sources it sets `work`
# Starts MiniStack in place of AWS, for the script that sources this file, and stops it when that script ends.
#   work  a folder for its log and its files
# It exports what `aws`, `sam` and boto3 need to find it. .ci/install has to install ministack, sam and stack before.

port="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
mkdir -p "$work/tmp"

# TLS, because the policies of the stack's buckets refuse plain HTTP.
certificate="$work/certificate.pem"
target/venv/sam/bin/python tests/stack/certificate.py "$certificate" "$work/key.pem"
export AWS_ENDPOINT_URL="https://127.0.0.1:$port"
export AWS_CA_BUNDLE="$certificate" REQUESTS_CA_BUNDLE="$certificate"
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1
export AWS_EC2_METADATA_DISABLED=true AWS_PAGER="" SAM_CLI_TELEMETRY=0

# AUTH makes MiniStack enforce the function's role. The functions that it starts inherit SSL_CERT_FILE, so that they
# trust its certificate. IoT and SFTP are off, because they would listen on ports of their own.
TMPDIR="$work/tmp" SSL_CERT_FILE="$certificate" AUTH=true USE_SSL=1 MINISTACK_SSL_CERT="$certificate" \
    MINISTACK_SSL_KEY="$work/key.pem" BIND_HOST=127.0.0.1 GATEWAY_PORT="$port" \
    IOT_MTLS_ENABLED=0 SFTP_ENABLED=0 LOG_LEVEL=INFO \
    target/venv/ministack/bin/python tests/stack/serve.py >"$work/ministack.log" 2>&1 &
ministack=$!
stop_ministack() {
    kill "$ministack" 2>/dev/null || true
    wait "$ministack" 2>/dev/null || true
}
trap stop_ministack EXIT
until python3 - "$certificate" "$AWS_ENDPOINT_URL/_ministack/health" 2>/dev/null <<'END'; do
import ssl, sys, urllib.request
urllib.request.urlopen(sys.argv[2], context=ssl.create_default_context(cafile=sys.argv[1]), timeout=5)
END
    kill -0 "$ministack" || { cat "$work/ministack.log"; exit 1; }
    sleep 0.1
done
