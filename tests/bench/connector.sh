#!/bin/bash
# connector.sh version|caps|start - starts rms-connectord for a benchmark.
#
# `start` reads its surroundings from BENCH_ variables, starts the connector in
# the background, waits until it is ready, and prints "pid N" once for each
# root process (descendants are to be found from it):
#   BENCH_RUN            empty directory for configuration, logs and state
#   BENCH_PORT, BENCH_PLAIN_PORT   listen on 127.0.0.1: TLS, plain
#   BENCH_CERT, BENCH_KEY          certificate and key of the TLS port
#   BENCH_EC_PORT, BENCH_EC_CERT, BENCH_EC_KEY   another one, P-256
#   BENCH_PEM, BENCH_EC_PEM        certificate and key in one file
#   BENCH_UP_HOST, BENCH_UP_ADDR, BENCH_UP_PORT   upstream: name, address, port
#   BENCH_CA             PEM of the CA of the upstream's certificate
#   BENCH_BEARER         file with the token that upstream requests carry
#   BENCH_WORKERS        relay processes
#   BENCH_LOG, BENCH_LOGFILE       1: an access log line per request
#   BENCH_KEYTAB, KRB5_CONFIG      Kerberos acceptor
#   BENCH_PRINCIPALS     accounts to authorize (default client@BENCH.TEST)
#   BENCH_WRAP           a command to put before each relay (valgrind ...)
#   BENCH_WRAP_KEEPER    the same for the keeper
#   BENCH_TUNE           more lines for the configuration
# The binaries come from $BUILD/bin (default build/release).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bin=${BUILD:-$here/../../build/release}/bin
case ${1:-} in
version) "$bin/rms-connectord" -V | head -n 1; exit ;;
caps) echo tls ec plain log workers gss wrap; exit ;;
start) ;;
*) echo "usage: connector.sh version|caps|start" >&2; exit 2 ;;
esac

R=$BENCH_RUN
mkdir -p "$R"
chmod 700 "$R"
log=""
[ "${BENCH_LOG:-0}" = 1 ] && log="access_log = \"$BENCH_LOGFILE\""

# the token service: a CA and a certificate of its own
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
	-keyout "$R/token.key" -out "$R/token.pem" -subj /CN=127.0.0.1 \
	-addext subjectAltName=IP:127.0.0.1 2>/dev/null
cat "$BENCH_CA" "$R/token.pem" >"$R/issuers.pem"
/usr/bin/python3 "$here/token_endpoint.py" "$R/token.pem" "$R/token.key" \
	"$BENCH_BEARER" "$R/token.port" >"$R/token.out" 2>&1 </dev/null &
token=$!

# copies that only we may read, as the connector demands
install -m 600 "$BENCH_KEY" "$R/listener.key"
install -m 600 "$BENCH_EC_KEY" "$R/ec.key"
install -m 600 "$BENCH_KEYTAB" "$R/http.keytab"
head -c 32 /dev/urandom >"$R/sealing.key"
chmod 600 "$R/sealing.key"

libexec=$bin
wrap() { # program command
	[ -n "$2" ] || return 0
	rm -f "$libexec/$1"
	printf '#!/bin/sh\nexport RMS_SANDBOX=off\nexec %s %s "$@"\n' "$2" \
		"$bin/$1" >"$libexec/$1"
	chmod 755 "$libexec/$1"
}
if [ -n "${BENCH_WRAP:-}${BENCH_WRAP_KEEPER:-}" ]; then
	libexec=$R/libexec
	mkdir -p "$libexec"
	ln -sf "$bin/rms-relay" "$bin/rms-keeper" "$bin/rms-cloud" \
		"$bin/rms-ntlm" "$libexec/"
	wrap rms-relay "${BENCH_WRAP:-}"
	wrap rms-keeper "${BENCH_WRAP_KEEPER:-}"
fi

# a Unix socket's path has a small bound: keep it out of deep directories
sock=$(mktemp -d /tmp/rms-bench.XXXXXX)/s
cat >"$R/rms-connector.conf" <<E
workers = $BENCH_WORKERS
state_dir = "$R/state"
control_socket = "$sock"
libexec_dir = "$libexec"
sealing_key_file = "$R/sealing.key"
keytab = "$R/http.keytab"
krb5_config = "$KRB5_CONFIG"
cloud_ca_file = "$R/issuers.pem"
cloud_addresses = "$BENCH_UP_ADDR"
cloud_idle_timeout_ms = "1h"
idle_timeout_ms = "1h"
watchdog_ms = "10m"
connection_auth = true
$log
${BENCH_TUNE:-}
listener tls {
	address = "127.0.0.1"
	port = $BENCH_PORT
	backlog = 4096
	tls = true
	certificate = "$BENCH_CERT"
	key = "$R/listener.key"
}
listener ec {
	address = "127.0.0.1"
	port = $BENCH_EC_PORT
	backlog = 4096
	tls = true
	certificate = "$BENCH_EC_CERT"
	key = "$R/ec.key"
}
listener plain {
	address = "127.0.0.1"
	port = $BENCH_PLAIN_PORT
	backlog = 4096
}
E
"$bin/rms-connectord" -c "$R/rms-connector.conf" >"$R/out" 2>&1 </dev/null &
pid=$!

fail() {
	echo "connector.sh: $1" >&2
	tail -n 15 "$R/out" >&2
	kill "$pid" "$token" 2>/dev/null
	exit 1
}
ctl() {
	"$bin/rmsctl" -s "$sock" "$@" >"$R/ctl.out" 2>&1 ||
		fail "rmsctl $*: $(cat "$R/ctl.out")"
}
for i in $(seq 600); do
	[ -S "$sock" ] && [ -s "$R/token.port" ] && break
	kill -0 "$pid" 2>/dev/null || fail "the connector did not start"
	[ "$i" -lt 600 ] || fail "the connector is not there after a minute"
	sleep 0.1
done
ctl set token_url "https://127.0.0.1:$(cat "$R/token.port")/bench/oauth2/v2.0/token"
ctl set tenant_url "https://$BENCH_UP_HOST:$BENCH_UP_PORT"
echo bench-secret | ctl credentials add default --client-id bench
for p in ${BENCH_PRINCIPALS:-client@BENCH.TEST}; do
	ctl servers add --role exchange "$p"
done
for i in $(seq 600); do
	if "$bin/rmsctl" -s "$sock" status >"$R/status" 2>&1; then
		break
	fi
	[ "$i" -lt 600 ] || fail "not ready after a minute: $(cat "$R/status")"
	sleep 0.1
done
echo "pid $pid"
# The token service is no part of the relay's cost: it ends with the connector,
# or when the driver's session is ended.
(
	trap 'kill "$token" 2>/dev/null; rm -rf "$(dirname "$sock")"' EXIT
	trap 'exit 0' TERM
	while kill -0 "$pid" 2>/dev/null; do sleep 0.5; done
) >/dev/null 2>&1 </dev/null &
