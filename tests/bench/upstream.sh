#!/bin/sh
# upstream.sh start - the service behind the measured relays: nginx, TLS 1.3,
# keep-alive.  Takes the whole request, then answers 200 with a SOAP-shaped
# body: 16 kB from publish.asmx, 1 MB from templateDistribution.asmx, else
# 8 kB.  Prints "pid N".
#
#   BENCH_RUN                    empty directory
#   BENCH_UP_ADDR, BENCH_UP_PORT listen there
#   BENCH_UP_CERT, BENCH_UP_KEY  certificate and key
#   BENCH_CIPHER                 the one TLS 1.3 cipher suite it speaks
set -eu
R=$BENCH_RUN
modules=/usr/lib/nginx/modules
cat >"$R/nginx.conf" <<E
load_module $modules/ndk_http_module.so;
load_module $modules/ngx_http_lua_module.so;
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
user www-data;
pid $R/pid;
error_log $R/error.log error;
events {
	worker_connections 8192;
	accept_mutex off;
	multi_accept on;
}
http {
	access_log off;
	server_tokens off;
	client_body_temp_path $R/body;
	proxy_temp_path $R/proxy;
	fastcgi_temp_path $R/fastcgi;
	uwsgi_temp_path $R/uwsgi;
	scgi_temp_path $R/scgi;
	keepalive_timeout 2h;
	keepalive_requests 1000000000;
	client_max_body_size 16m;
	client_body_buffer_size 2m;
	output_buffers 2 512k;
	large_client_header_buffers 4 64k;
	default_type text/xml;
	ssl_protocols TLSv1.3;
	ssl_conf_command Ciphersuites $BENCH_CIPHER;
	ssl_certificate $BENCH_UP_CERT;
	ssl_certificate_key $BENCH_UP_KEY;
	ssl_session_cache shared:tls:4m;
	ssl_buffer_size 16k;
	lua_package_path "/usr/share/lua/5.1/?.lua;;";
	init_by_lua_block {
		local top = '<?xml version="1.0" encoding="utf-8"?><soap:Envelope '
			.. 'xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/">'
			.. '<soap:Body><Licence>'
		local bottom = '</Licence></soap:Body></soap:Envelope>'
		local function reply(size)
			return top .. string.rep('A', size - #top - #bottom) .. bottom
		end
		usual = reply(8192)
		replies = {
			['/_wmcs/licensing/publish.asmx'] = reply(16384),
			['/_wmcs/licensing/templateDistribution.asmx'] = reply(1048576),
		}
	}
	server {
		listen $BENCH_UP_ADDR:$BENCH_UP_PORT ssl backlog=4096;
		location / {
			content_by_lua_block {
				ngx.req.read_body()
				ngx.header.content_type = 'text/xml; charset=utf-8'
				local reply = replies[ngx.var.uri] or usual
				ngx.header.content_length = #reply
				ngx.print(reply)
			}
		}
	}
}
E
nginx -p "$R" -c "$R/nginx.conf" >"$R/out" 2>&1 </dev/null &
echo "pid $!"
