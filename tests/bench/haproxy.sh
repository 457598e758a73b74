#!/bin/sh
# haproxy.sh version|caps|start - HAProxy as the relay to measure beside ours.
#
# The interface is connector.sh's.  A buffer holds a whole request or reply;
# connections to the upstream are shared and never closed for their number.
set -eu
case ${1:-} in
version) haproxy -v | sed -n '1s/^\(HAProxy version [^ ]*\).*/\1/p'; exit ;;
caps) echo tls ec plain log workers wrap; exit ;;
start) ;;
*) echo "usage: haproxy.sh version|caps|start" >&2; exit 2 ;;
esac

R=$BENCH_RUN
out=$R/out log="" logging=""
if [ "${BENCH_LOG:-0}" = 1 ]; then
	out=$BENCH_LOGFILE
	log="log stdout format raw daemon"
	logging="log global
	option httplog"
fi
cat >"$R/haproxy.cfg" <<E
global
	nbthread $BENCH_WORKERS
	maxconn 9000
	tune.bufsize 32768
	tune.maxrewrite 4096
	tune.ssl.cachesize 100000
	tune.pool-high-fd-ratio 90
	tune.pool-low-fd-ratio 80
	ssl-default-bind-options ssl-min-ver TLSv1.2
	ssl-default-server-options ssl-min-ver TLSv1.3
	$log
defaults
	mode http
	option http-keep-alive
	http-reuse always
	timeout connect 5s
	timeout client 1h
	timeout server 5m
	timeout http-keep-alive 1h
frontend servers
	bind 127.0.0.1:$BENCH_PORT ssl crt $BENCH_PEM backlog 4096
	bind 127.0.0.1:$BENCH_EC_PORT ssl crt $BENCH_EC_PEM backlog 4096
	bind 127.0.0.1:$BENCH_PLAIN_PORT backlog 4096
	$logging
	http-request set-header Host $BENCH_UP_HOST
	http-request set-header Authorization "Bearer $(cat "$BENCH_BEARER")"
	default_backend cloud
backend cloud
	server cloud $BENCH_UP_ADDR:$BENCH_UP_PORT ssl verify required ca-file $BENCH_CA sni str($BENCH_UP_HOST) verifyhost $BENCH_UP_HOST pool-max-conn -1 pool-purge-delay 1h
E
${BENCH_WRAP:-} haproxy -db -f "$R/haproxy.cfg" >"$out" 2>"$R/err" </dev/null &
echo "pid $!"
