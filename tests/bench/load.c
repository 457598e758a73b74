/*
 * load: the client side of the benchmark, one thread.
 *
 *	load -a ADDRESS:PORT [-m loop|idle|open] [-c CONNECTIONS] [-d SECONDS]
 *	     [-w WARM-UP SECONDS] [-n REQUESTS] [-s NAME] [-p PATH]
 *	     [-b REQUEST BYTES] [-x REPLY BYTES] [-k HTTP@HOST]
 *
 * loop: every connection always has one request under way, for -d seconds
 *	after the warm-up or -n requests.  Prints "begin" and "end" at the
 *	moments between which it counts, then one line of name=value.
 * idle: opens the connections, sends one request on each, prints "ready N"
 *	and holds them until its standard input ends; then "alive N".
 * open: the same without a request.
 *
 * TLS 1.3 with TLS_AES_256_GCM_SHA384 always.  With -k the first request of a
 * connection carries a SPNEGO token for that service.  A reply must be a 200
 * with Content-Length of -x bytes; anything else is an error, and an error
 * ends the connection and opens another.  Exit status 1: there were errors.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <gssapi/gssapi.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S	1000000000ull
#define OPENING_MAX	16   /* connections on their way at once, idle, open */
#define OPENING_S	60   /* for all of them */
#define ERRORS_MAX	1000 /* then it is no measurement */
#define ERRORS_TOLD	5
#define LATENCY_SLOTS	65536 /* of 10 us */
#define LATENCY_SLOT_NS 10000
#define HEAD_MAX	8192 /* of a reply */

enum mode { MODE_LOOP, MODE_IDLE, MODE_OPEN };

enum state {
	CONN_NONE,
	CONN_CONNECT, /* connect() is under way */
	CONN_TLS,
	CONN_REST, /* nothing is under way */
	CONN_SEND,
	CONN_HEAD, /* the reply's head */
	CONN_BODY,
};

struct conn {
	enum state state;
	int fd;
	SSL *ssl;
	bool told; /* who it is: the first request is sent */
	const char *out;
	char *own; /* a request with a token; freed after its reply */
	size_t out_len, out_off;
	size_t head_len;
	uint64_t left; /* of the reply's body */
	uint64_t begun;
	char head[HEAD_MAX];
};

static struct {
	struct sockaddr_in to;
	const char *name, *path, *service;
	enum mode mode;
	size_t nconns, request_bytes, reply_bytes;
	uint64_t requests; /* 0: by time */
	double seconds, warm;
} opt = {
    .name = "localhost",
    .path = "/_wmcs/licensing/license.asmx",
    .nconns = 1,
    .request_bytes = 4096,
    .reply_bytes = 8192,
    .seconds = 2,
};

static struct {
	int epoll;
	SSL_CTX *ctx;
	struct conn *conns;
	char *request;
	size_t request_len;
	bool counting;
	uint64_t started, done, errors;
	size_t opening, resting;
	uint32_t latency[LATENCY_SLOTS];
} load;

static void conn_open(struct conn *c);
static void conn_run(struct conn *c);

/* ---- small things ---------------------------------------------------- */

static void __attribute__((format(printf, 1, 2), noreturn))
fatal(const char *format, ...)
{
	va_list ap;

	fputs("load: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void
say(const char *what)
{
	puts(what);
	fflush(stdout);
}

/* ---- requests -------------------------------------------------------- */

static const char body_top[] =
    "<?xml version=\"1.0\" encoding=\"utf-8\"?><soap:Envelope "
    "xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"><soap:Body>"
    "<AcquireLicense xmlns=\"http://microsoft.com/DRM/LicensingService\">"
    "<RequestParams><x>";
static const char body_end[] =
    "</x></RequestParams></AcquireLicense></soap:Body></soap:Envelope>";

/* A POST of opt.request_bytes; auth is a header line or "".  The caller owns
 * the text. */
static char *
request_new(const char *auth, size_t *len_r)
{
	size_t size = opt.request_bytes, top = sizeof(body_top) - 1,
	       end = sizeof(body_end) - 1;
	char *text = NULL;
	int n = asprintf(&text,
			 "POST %s HTTP/1.1\r\nHost: %s\r\n"
			 "User-Agent: bench\r\n"
			 "Content-Type: text/xml; charset=utf-8\r\n"
			 "SOAPAction: \"http://microsoft.com/DRM/"
			 "LicensingService/AcquireLicense\"\r\n"
			 "%sContent-Length: %zu\r\n\r\n",
			 opt.path, opt.name, auth, size);
	char *grown = n < 0 ? NULL : realloc(text, (size_t)n + size);

	if (grown == NULL)
		fatal("out of memory");
	memset(grown + n, 'A', size);
	if (size >= top + end) {
		memcpy(grown + n, body_top, top);
		memcpy(grown + (size_t)n + size - end, body_end, end);
	}
	*len_r = (size_t)n + size;
	return grown;
}

static void __attribute__((noreturn))
gss_fatal(const char *what, OM_uint32 minor)
{
	OM_uint32 more = 0, ignored;
	gss_buffer_desc text = GSS_C_EMPTY_BUFFER;

	gss_display_status(&ignored, minor, GSS_C_MECH_CODE, GSS_C_NO_OID,
			   &more, &text);
	fatal("%s: %.*s", what, (int)text.length, (const char *)text.value);
}

/* "Authorization: Negotiate ..." of a new context; the caller owns it. */
static char *
negotiate_new(void)
{
	static gss_name_t name = GSS_C_NO_NAME;
	static char oid[] = "\x2b\x06\x01\x05\x05\x02";
	static gss_OID_desc spnego = {6, oid};
	static const char field[] = "Authorization: Negotiate ";
	gss_buffer_desc text = {strlen(opt.service),
				(void *)(uintptr_t)opt.service};
	gss_buffer_desc token = GSS_C_EMPTY_BUFFER;
	gss_ctx_id_t context = GSS_C_NO_CONTEXT;
	OM_uint32 minor = 0;
	char *line, *p;

	if (name == GSS_C_NO_NAME &&
	    GSS_ERROR(gss_import_name(&minor, &text, GSS_C_NT_HOSTBASED_SERVICE,
				      &name)))
		gss_fatal("import of the service's name", minor);
	if (GSS_ERROR(gss_init_sec_context(
		&minor, GSS_C_NO_CREDENTIAL, &context, name, &spnego,
		GSS_C_MUTUAL_FLAG, 0, GSS_C_NO_CHANNEL_BINDINGS,
		GSS_C_NO_BUFFER, NULL, &token, NULL, NULL)))
		gss_fatal("no token for the service", minor);
	line = malloc(sizeof(field) + token.length * 4 / 3 + 8);
	if (line == NULL)
		fatal("out of memory");
	p = stpcpy(line, field);
	p +=
	    EVP_EncodeBlock((unsigned char *)p, token.value, (int)token.length);
	stpcpy(p, "\r\n");
	gss_release_buffer(&minor, &token);
	gss_delete_sec_context(&minor, &context, GSS_C_NO_BUFFER);
	return line;
}

/* ---- a connection ---------------------------------------------------- */

static void
conn_close(struct conn *c)
{
	if (c->ssl != NULL)
		SSL_free(c->ssl);
	if (c->fd >= 0)
		close(c->fd);
	free(c->own);
	if (c->state == CONN_REST)
		load.resting--;
	c->ssl = NULL;
	c->own = NULL;
	c->fd = -1;
	c->state = CONN_NONE;
}

static void
conn_fail(struct conn *c, const char *why)
{
	static unsigned told;
	unsigned long e = ERR_peek_last_error();

	if (told++ < ERRORS_TOLD)
		fprintf(stderr, "load: %s: %s%.60s\n", why,
			e != 0 ? ERR_reason_error_string(e) : "",
			c->head_len > 0 ? c->head : "");
	ERR_clear_error();
	if (++load.errors > ERRORS_MAX)
		fatal("too many errors");
	conn_close(c);
	if (opt.mode == MODE_LOOP)
		conn_open(c);
}

static void
conn_open(struct conn *c)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET,
				.data.ptr = c};
	int one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		fatal("socket: %s", strerror(errno));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->state = CONN_CONNECT;
	c->told = false;
	c->head_len = 0;
	if (connect(c->fd, (struct sockaddr *)&opt.to, sizeof(opt.to)) != 0 &&
	    errno != EINPROGRESS)
		fatal("connect: %s", strerror(errno));
	if (epoll_ctl(load.epoll, EPOLL_CTL_ADD, c->fd, &e) != 0)
		fatal("epoll_ctl: %s", strerror(errno));
}

/* What a TLS call that gave r comes to: true to wait, else it failed. */
static bool
conn_waits(struct conn *c, int r, const char *what)
{
	int e = SSL_get_error(c->ssl, r);

	if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
		return true;
	conn_fail(c, what);
	return false;
}

static void
conn_request(struct conn *c)
{
	c->begun = now_ns();
	c->out = load.request;
	c->out_len = load.request_len;
	if (opt.service != NULL && !c->told) {
		char *auth = negotiate_new();

		c->own = request_new(auth, &c->out_len);
		c->out = c->own;
		free(auth);
	}
	c->told = true;
	c->out_off = c->head_len = 0;
	c->state = CONN_SEND;
	load.started++;
}

static bool
conn_more(void)
{
	return opt.mode == MODE_LOOP &&
	       (opt.requests == 0 || load.started < opt.requests);
}

static void
conn_rest(struct conn *c)
{
	c->state = CONN_REST;
	load.resting++;
}

/* Steps: true when another one may be taken at once. */

static bool
conn_step_connect(struct conn *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLOUT};

	if (poll(&p, 1, 0) <= 0)
		return false;
	c->ssl = SSL_new(load.ctx);
	if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1 ||
	    SSL_set_tlsext_host_name(c->ssl, opt.name) != 1)
		fatal("out of memory");
	c->state = CONN_TLS;
	return true;
}

static bool
conn_step_tls(struct conn *c)
{
	int r = SSL_connect(c->ssl);

	if (r != 1) {
		conn_waits(c, r, "TLS handshake");
		return false;
	}
	if (opt.mode == MODE_OPEN) {
		conn_rest(c);
		return true; /* reads the session ticket */
	}
	conn_request(c);
	return true;
}

static bool
conn_step_send(struct conn *c)
{
	while (c->out_off < c->out_len) {
		int r = SSL_write(c->ssl, c->out + c->out_off,
				  (int)(c->out_len - c->out_off));

		if (r <= 0) {
			conn_waits(c, r, "write");
			return false;
		}
		c->out_off += (size_t)r;
	}
	c->state = CONN_HEAD;
	return true;
}

static void
conn_done(struct conn *c)
{
	uint64_t slot = (now_ns() - c->begun) / LATENCY_SLOT_NS;

	if (load.counting) {
		load.done++;
		load.latency[slot < LATENCY_SLOTS ? slot : LATENCY_SLOTS - 1]++;
	}
	free(c->own);
	c->own = NULL;
	if (conn_more())
		conn_request(c);
	else
		conn_rest(c);
}

/* Bytes of a reply's body have come. */
static bool
conn_body(struct conn *c, size_t n)
{
	if (n > c->left) {
		conn_fail(c, "more than the reply");
		return false;
	}
	c->left -= n;
	c->state = CONN_BODY;
	if (c->left == 0)
		conn_done(c);
	return true;
}

static bool
conn_step_head(struct conn *c)
{
	int r = SSL_read(c->ssl, c->head + c->head_len,
			 (int)(sizeof(c->head) - 1 - c->head_len));
	char *end, *field;

	if (r <= 0) {
		conn_waits(c, r, "read");
		return false;
	}
	c->head_len += (size_t)r;
	c->head[c->head_len] = '\0';
	end = strstr(c->head, "\r\n\r\n");
	if (end == NULL) {
		if (c->head_len < sizeof(c->head) - 1)
			return true;
		conn_fail(c, "a long head");
		return false;
	}
	*end = '\0';
	field = strcasestr(c->head, "\r\ncontent-length:");
	if (strncmp(c->head, "HTTP/1.1 200", 12) != 0 || field == NULL ||
	    strtoull(field + 17, NULL, 10) != opt.reply_bytes) {
		conn_fail(c, "an unexpected reply");
		return false;
	}
	c->left = opt.reply_bytes;
	return conn_body(c, c->head_len - (size_t)(end + 4 - c->head));
}

static bool
conn_step_body(struct conn *c)
{
	static char body[65536];
	int r = SSL_read(c->ssl, body, sizeof(body));

	if (r <= 0) {
		conn_waits(c, r, "read");
		return false;
	}
	return conn_body(c, (size_t)r);
}

/* Tickets, or the end. */
static bool
conn_step_rest(struct conn *c)
{
	char byte;
	int r = SSL_read(c->ssl, &byte, 1);

	if (r > 0)
		conn_fail(c, "bytes that nobody asked for");
	else
		conn_waits(c, r, "closed at rest");
	return false;
}

static void
conn_run(struct conn *c)
{
	static bool (*const step[])(struct conn *) = {
	    [CONN_CONNECT] = conn_step_connect, [CONN_TLS] = conn_step_tls,
	    [CONN_REST] = conn_step_rest,	[CONN_SEND] = conn_step_send,
	    [CONN_HEAD] = conn_step_head,	[CONN_BODY] = conn_step_body,
	};

	while (c->state != CONN_NONE && step[c->state](c))
		;
}

/* ---- the run --------------------------------------------------------- */

static void
load_wait(void)
{
	struct epoll_event events[256];
	int n = epoll_wait(load.epoll, events, 256, 50);

	for (int i = 0; i < n; i++)
		conn_run(events[i].data.ptr);
}

/* The latency that this share of the requests did not exceed, in us. */
static double
latency_us(double share)
{
	uint64_t limit = (uint64_t)(share * (double)load.done), sum = 0;

	for (size_t i = 0; i < LATENCY_SLOTS; i++)
		if ((sum += load.latency[i]) > limit)
			return (double)((i + 1) * LATENCY_SLOT_NS) / 1e3;
	return 0;
}

static int
run_loop(void)
{
	uint64_t start = now_ns(), begin, t = start;
	uint64_t from = start + (uint64_t)(opt.warm * 1e9), to;

	for (size_t i = 0; i < opt.nconns; i++)
		conn_open(&load.conns[i]);
	for (; t < from; t = now_ns())
		load_wait();
	load.counting = true;
	load.errors = 0;
	begin = now_ns();
	to = begin + (uint64_t)(opt.seconds * 1e9);
	say("begin");
	for (t = begin; t < to && (opt.requests == 0 ||
				   load.done + load.errors < opt.requests);
	     t = now_ns())
		load_wait();
	t = now_ns();
	say("end");
	printf("requests=%llu errors=%llu seconds=%.4f p50_us=%.0f "
	       "p99_us=%.0f\n",
	       (unsigned long long)load.done, (unsigned long long)load.errors,
	       (double)(t - begin) / 1e9, latency_us(0.5), latency_us(0.99));
	return load.errors == 0 ? 0 : 1;
}

static int
run_hold(void)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
	uint64_t end = now_ns() + OPENING_S * NS_PER_S;
	size_t next = 0;

	while (load.resting + load.errors < opt.nconns) {
		while (next < opt.nconns &&
		       next - load.resting - load.errors < OPENING_MAX)
			conn_open(&load.conns[next++]);
		load_wait();
		if (now_ns() > end)
			fatal("%zu of %zu connections after %d s", load.resting,
			      opt.nconns, OPENING_S);
	}
	printf("ready %zu\n", load.resting);
	fflush(stdout);
	while (poll(&p, 1, 0) == 0)
		load_wait();
	printf("alive %zu\n", load.resting);
	return load.resting == opt.nconns ? 0 : 1;
}

static void
load_init(void)
{
	struct rlimit files;

	signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	load.ctx = SSL_CTX_new(TLS_client_method());
	load.conns = calloc(opt.nconns, sizeof(*load.conns));
	load.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (load.ctx == NULL || load.conns == NULL || load.epoll < 0)
		fatal("out of memory");
	/* no verification: its cost is not the relay's */
	SSL_CTX_set_min_proto_version(load.ctx, TLS1_3_VERSION);
	SSL_CTX_set_ciphersuites(load.ctx, "TLS_AES_256_GCM_SHA384");
	SSL_CTX_set_session_cache_mode(load.ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(load.ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
				       SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				       SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(load.ctx, 1);
	load.request = request_new("", &load.request_len);
	for (size_t i = 0; i < opt.nconns; i++)
		load.conns[i].fd = -1;
}

/* ---- the command line ------------------------------------------------ */

static void
option_address(char *text)
{
	char *colon = strrchr(text, ':');

	opt.to.sin_family = AF_INET;
	if (colon == NULL)
		fatal("-a ADDRESS:PORT");
	*colon = '\0';
	opt.to.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	if (inet_pton(AF_INET, text, &opt.to.sin_addr) != 1)
		fatal("%s: no address", text);
}

static void
option_mode(const char *text)
{
	static const char *const names[] = {"loop", "idle", "open"};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(text, names[i]) == 0) {
			opt.mode = (enum mode)i;
			return;
		}
	fatal("-m loop|idle|open");
}

static void
option(int name, char *text)
{
	switch (name) {
	case 'a':
		option_address(text);
		break;
	case 'm':
		option_mode(text);
		break;
	case 'c':
		opt.nconns = strtoul(text, NULL, 10);
		break;
	case 'd':
		opt.seconds = strtod(text, NULL);
		break;
	case 'w':
		opt.warm = strtod(text, NULL);
		break;
	case 'n':
		opt.requests = strtoul(text, NULL, 10);
		break;
	case 's':
		opt.name = text;
		break;
	case 'p':
		opt.path = text;
		break;
	case 'b':
		opt.request_bytes = strtoul(text, NULL, 10);
		break;
	case 'x':
		opt.reply_bytes = strtoul(text, NULL, 10);
		break;
	case 'k':
		opt.service = text;
		break;
	default:
		fatal("the head of tests/bench/load.c tells the options");
	}
}

int
main(int argc, char **argv)
{
	int name;

	while ((name = getopt(argc, argv, "a:m:c:d:w:n:s:p:b:x:k:")) != -1)
		option(name, optarg);
	if (opt.to.sin_port == 0 || opt.nconns == 0 || optind < argc)
		fatal("load -a ADDRESS:PORT ...");
	load_init();
	return opt.mode == MODE_LOOP ? run_loop() : run_hold();
}
