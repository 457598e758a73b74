#!/bin/sh
# apache.sh version|caps|start - Apache httpd with mod_auth_gssapi, event MPM,
# mod_proxy_http: authenticates like ours.  The interface is connector.sh's.
#
# One SPNEGO exchange a connection, except below /_wmcs/certification, where
# every request has to bring a token.
set -eu
case ${1:-} in
version)
	echo "$(apache2 -v | sed -n 's/^Server version: \([^ ]*\).*/\1/p') with" \
		"mod_auth_gssapi $(dpkg-query -f '${Version}' -W libapache2-mod-auth-gssapi)"
	exit ;;
caps) echo tls ec plain log workers gss; exit ;;
start) ;;
*) echo "usage: apache.sh version|caps|start" >&2; exit 2 ;;
esac

R=$BENCH_RUN
M=/usr/lib/apache2/modules
threads=64
modules=""
for m in mpm_event authz_core authn_core authz_user auth_gssapi socache_shmcb \
	ssl proxy proxy_http proxy_balancer slotmem_shm lbmethod_byrequests \
	headers; do
	modules="$modules
LoadModule ${m}_module $M/mod_$m.so"
done
log=""
[ "${BENCH_LOG:-0}" = 1 ] && log="
LogFormat \"%h %l %u %t \\\"%r\\\" %>s %b %D\" bench
CustomLog $BENCH_LOGFILE bench
BufferedLogs On"

# Its children are somebody else.
install -m 640 -g www-data "$BENCH_KEYTAB" "$R/http.keytab"
install -m 644 "$KRB5_CONFIG" "$R/krb5.conf"
export KRB5_CONFIG="$R/krb5.conf" KRB5_KTNAME="$R/http.keytab"

tls_host() { # port certificate key
	cat <<E
<VirtualHost 127.0.0.1:$1>
	SSLEngine on
	SSLCertificateFile $2
	SSLCertificateKeyFile $3
	SSLProtocol -all +TLSv1.2 +TLSv1.3
	SSLProxyEngine on
	SSLProxyProtocol TLSv1.3
	SSLProxyCACertificateFile $BENCH_CA
	SSLProxyVerify require
</VirtualHost>
E
}

cat >"$R/httpd.conf" <<E
ServerRoot $R
ServerName localhost
PidFile $R/pid
DefaultRuntimeDir $R
Mutex file:$R
User www-data
Group www-data
ErrorLog $R/error.log
LogLevel warn
$modules$log
ServerLimit $BENCH_WORKERS
StartServers $BENCH_WORKERS
ThreadsPerChild $threads
ThreadLimit $threads
MinSpareThreads 1
MaxSpareThreads $((threads * BENCH_WORKERS))
MaxRequestWorkers $((threads * BENCH_WORKERS))
MaxConnectionsPerChild 0
AsyncRequestWorkerFactor 200
ListenBacklog 4096
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 3600
Timeout 3600
ServerTokens Prod
SSLSessionCache shmcb:$R/ssl(20000000)
SSLSessionTickets on
SSLProxyEngine on
SSLProxyProtocol TLSv1.3
SSLProxyCACertificateFile $BENCH_CA
SSLProxyVerify require
SSLProxyCheckPeerName on
Listen 127.0.0.1:$BENCH_PORT
Listen 127.0.0.1:$BENCH_EC_PORT
Listen 127.0.0.1:$BENCH_PLAIN_PORT
<Proxy balancer://cloud>
	BalancerMember https://$BENCH_UP_HOST:$BENCH_UP_PORT keepalive=On max=$threads ttl=3600 timeout=300
</Proxy>
ProxyPass / balancer://cloud/
ProxyIOBufferSize 65536
ProxyPreserveHost Off
ProxyAddHeaders Off
<Location />
	RequestHeader set Authorization "Bearer $(cat "$BENCH_BEARER")"
	AuthType GSSAPI
	AuthName bench
	GssapiCredStore keytab:$R/http.keytab
	GssapiAllowedMech krb5
	GssapiConnectionBound On
	Require valid-user
</Location>
<Location /_wmcs/certification>
	GssapiConnectionBound Off
</Location>
$(tls_host "$BENCH_PORT" "$BENCH_CERT" "$BENCH_KEY")
$(tls_host "$BENCH_EC_PORT" "$BENCH_EC_CERT" "$BENCH_EC_KEY")
E
${BENCH_WRAP:-} apache2 -D FOREGROUND -f "$R/httpd.conf" >"$R/out" 2>&1 </dev/null &
echo "pid $!"
