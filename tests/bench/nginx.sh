#!/bin/sh
# nginx.sh version|caps|start - nginx as the relay to measure beside ours.
#
# The interface is connector.sh's.  Buffers hold a whole request and reply, so
# that nothing goes to a file; connections of both sides stay open.
set -eu
case ${1:-} in
version) nginx -v 2>&1 | sed 's/^.*: //'; exit ;;
caps) echo tls ec plain log workers wrap; exit ;;
start) ;;
*) echo "usage: nginx.sh version|caps|start" >&2; exit 2 ;;
esac

R=$BENCH_RUN
log=off
[ "${BENCH_LOG:-0}" = 1 ] && log="$BENCH_LOGFILE combined buffer=64k flush=1s"
master=on
[ -n "${BENCH_WRAP:-}" ] && master=off
cat >"$R/nginx.conf" <<E
daemon off;
master_process $master;
worker_processes $BENCH_WORKERS;
worker_rlimit_nofile 16384;
user www-data;
pid $R/pid;
error_log $R/error.log warn;
events {
	worker_connections 8192;
	accept_mutex off;
}
http {
	access_log $log;
	server_tokens off;
	client_body_temp_path $R/body;
	proxy_temp_path $R/proxy;
	fastcgi_temp_path $R/fastcgi;
	uwsgi_temp_path $R/uwsgi;
	scgi_temp_path $R/scgi;
	tcp_nodelay on;
	keepalive_timeout 1h;
	keepalive_requests 1000000000;
	client_max_body_size 16m;
	client_body_buffer_size 1m;
	large_client_header_buffers 4 32k;
	ssl_protocols TLSv1.2 TLSv1.3;
	ssl_certificate $BENCH_CERT;
	ssl_certificate_key $BENCH_KEY;
	ssl_session_cache shared:tls:16m;
	ssl_buffer_size 16k;
	upstream cloud {
		server $BENCH_UP_ADDR:$BENCH_UP_PORT;
		keepalive 256;
		keepalive_timeout 1h;
		keepalive_requests 1000000000;
	}
	server {
		listen 127.0.0.1:$BENCH_PORT ssl reuseport backlog=4096;
		listen 127.0.0.1:$BENCH_PLAIN_PORT reuseport backlog=4096;
		include $R/location;
	}
	server {
		listen 127.0.0.1:$BENCH_EC_PORT ssl reuseport backlog=4096;
		ssl_certificate $BENCH_EC_CERT;
		ssl_certificate_key $BENCH_EC_KEY;
		include $R/location;
	}
}
E
cat >"$R/location" <<E
location / {
	proxy_pass https://cloud;
	proxy_http_version 1.1;
	proxy_set_header Connection "";
	proxy_set_header Host $BENCH_UP_HOST;
	proxy_set_header Authorization "Bearer $(cat "$BENCH_BEARER")";
	proxy_headers_hash_bucket_size 128;
	proxy_ssl_protocols TLSv1.3;
	proxy_ssl_server_name on;
	proxy_ssl_name $BENCH_UP_HOST;
	proxy_ssl_verify on;
	proxy_ssl_trusted_certificate $BENCH_CA;
	proxy_buffer_size 32k;
	proxy_buffers 16 32k;
	proxy_busy_buffers_size 128k;
	proxy_max_temp_file_size 0;
}
E
${BENCH_WRAP:-} nginx -p "$R" -c "$R/nginx.conf" >"$R/out" 2>&1 </dev/null &
echo "pid $!"
