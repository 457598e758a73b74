/*
 * load: the client side of the benchmark, one thread.
 *
 *	load -a ADDRESS:PORT [-m loop|rate|conn|idle|open] [-c CONNECTIONS]
 *	     [-d SECONDS] [-w WARM-UP SECONDS] [-n REQUESTS] [-R PER SECOND]
 *	     [-s NAME] [-p PATH] [-b REQUEST BYTES] [-x REPLY BYTES]
 *	     [-k HTTP@HOST] [-K] [-t TOKENS] [-q] [-r]
 *
 * loop: every connection always has one request under way, for -d seconds
 *	after the warm-up or -n requests.  Prints "begin" and "end" at the
 *	moments between which it counts, then one line of name=value.
 * rate: -R requests a second whatever the server does; a latency counts from
 *	the moment at which the request was due.
 * conn: one connection after the other in each of -c places: TLS handshake,
 *	with -q one request, close_notify, the server's end; counts these.
 *	-r resumes sessions.
 * idle: opens the connections, sends one request on each, prints "ready N"
 *	and holds them until its standard input ends; then "alive N".
 * open: the same without a request.
 *
 * TLS 1.3 with TLS_AES_256_GCM_SHA384 always.  With -k the first request of a
 * connection carries a SPNEGO token for that service, with -K every one; -t
 * of them are made before anything else.  A reply must be a 200 with
 * Content-Length of -x bytes; anything else is an error, and an error ends
 * the connection and opens another.  Exit status 1: there were errors.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/param.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/load_request.h"

#define NS_PER_S	1000000000ull
#define OPENING_MAX	16   /* connections on their way at once, idle, open */
#define OPENING_S	300  /* for all of them */
#define ERRORS_MAX	1000 /* then it is no measurement */
#define ERRORS_TOLD	5
#define LATENCY_SLOTS	1048576 /* of 1 us; the last is for all longer ones */
#define LATENCY_SLOT_NS 1000
#define WAIT_NS		50000000
#define HEAD_MAX	8192 /* of a reply */
#define ADDRESSES	200

enum mode { MODE_LOOP, MODE_RATE, MODE_CONN, MODE_IDLE, MODE_OPEN };

enum state {
	CONN_NONE,
	CONN_CONNECT, /* connect() is under way */
	CONN_TLS,
	CONN_REST, /* nothing is under way */
	CONN_SEND,
	CONN_HEAD, /* the reply's head */
	CONN_BODY,
	CONN_SHUT, /* waits for the server's end */
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
	struct request_conf request;
	enum mode mode;
	size_t nconns, reply_bytes, tokens;
	uint64_t requests; /* 0: by time */
	double seconds, warm, rate;
	bool token_each, resume, asks;
} opt = {
    .request = {.host = "localhost",
		.path = "/_wmcs/licensing/license.asmx",
		.bytes = 4096},
    .nconns = 1,
    .reply_bytes = 8192,
    .seconds = 2,
    .rate = 500,
};

static struct {
	int epoll;
	SSL_CTX *ctx;
	struct conn *conns;
	char *request;
	size_t request_len;
	SSL_SESSION *session; /* the newest, with -r */
	bool counting;
	uint64_t started, done, errors, resumed;
	uint64_t first; /* started when the counting began */
	size_t resting;
	struct conn **free; /* rate: connections at rest, a stack */
	size_t nfree;
	uint32_t latency[LATENCY_SLOTS];
} load;

static void conn_open(struct conn *c);
static void conn_run(struct conn *c);

/* ---- small things ---------------------------------------------------- */

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
	if (opt.mode != MODE_IDLE && opt.mode != MODE_OPEN)
		conn_open(c);
}

static void
conn_open(struct conn *c)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET,
				.data.ptr = c};
	static unsigned turn;
	struct sockaddr_in from = {
	    .sin_family = AF_INET,
	    /* many addresses: ports that wait to be used again are many */
	    .sin_addr.s_addr = htonl(0x7f000002 + turn++ % ADDRESSES),
	};
	int one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		fatal("socket: %s", strerror(errno));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one,
		   sizeof(one));
	if (bind(c->fd, (struct sockaddr *)&from, sizeof(from)) != 0)
		fatal("bind: %s", strerror(errno));
	c->begun = now_ns();
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

/* begun: the moment from which its latency counts. */
static void
conn_request(struct conn *c, uint64_t begun)
{
	bool token =
	    opt.request.service != NULL && (opt.token_each || !c->told);

	c->begun = begun;
	c->out = load.request;
	c->out_len = load.request_len;
	if (token)
		c->out = c->own = request_new(&opt.request, 1, &c->out_len);
	c->told = true;
	c->out_off = c->head_len = 0;
	c->state = CONN_SEND;
	load.started++;
}

/* May another one begin? */
static bool
conn_more(void)
{
	return (opt.mode == MODE_LOOP || opt.mode == MODE_CONN) &&
	       (opt.requests == 0 || !load.counting ||
		load.started - load.first < opt.requests);
}

static void
conn_rest(struct conn *c)
{
	c->state = CONN_REST;
	load.resting++;
	if (load.free != NULL)
		load.free[load.nfree++] = c;
}

static void
count_done(uint64_t begun)
{
	uint64_t slot = (now_ns() - begun) / LATENCY_SLOT_NS;

	if (!load.counting)
		return;
	load.done++;
	load.latency[slot < LATENCY_SLOTS ? slot : LATENCY_SLOTS - 1]++;
}

static void
conn_end(struct conn *c)
{
	SSL_shutdown(c->ssl);
	shutdown(c->fd, SHUT_WR);
	c->state = CONN_SHUT;
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
	    SSL_set_tlsext_host_name(c->ssl, opt.request.host) != 1)
		fatal("out of memory");
	if (load.session != NULL)
		SSL_set_session(c->ssl, load.session);
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
	if (load.counting && SSL_session_reused(c->ssl))
		load.resumed++;
	if (opt.mode == MODE_OPEN) {
		conn_rest(c);
		return true; /* reads the session ticket */
	}
	if (opt.mode == MODE_CONN && !opt.asks) {
		load.started++;
		conn_end(c);
		return true;
	}
	conn_request(c, opt.mode == MODE_CONN ? c->begun : now_ns());
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
	free(c->own);
	c->own = NULL;
	if (opt.mode == MODE_CONN) {
		conn_end(c);
		return;
	}
	count_done(c->begun);
	if (conn_more())
		conn_request(c, now_ns());
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

/* After close_notify: what is left to read, and the end. */
static bool
conn_step_shut(struct conn *c)
{
	char byte;
	int r = SSL_read(c->ssl, &byte, 1);
	int e = r > 0 ? SSL_ERROR_NONE : SSL_get_error(c->ssl, r);

	if (r > 0)
		return true;
	if (e == SSL_ERROR_WANT_READ)
		return false;
	ERR_clear_error();
	count_done(c->begun);
	conn_close(c);
	if (conn_more())
		conn_open(c);
	return false;
}

static void
conn_run(struct conn *c)
{
	static bool (*const step[])(struct conn *) = {
	    [CONN_CONNECT] = conn_step_connect, [CONN_TLS] = conn_step_tls,
	    [CONN_REST] = conn_step_rest,	[CONN_SEND] = conn_step_send,
	    [CONN_HEAD] = conn_step_head,	[CONN_BODY] = conn_step_body,
	    [CONN_SHUT] = conn_step_shut,
	};

	while (c->state != CONN_NONE && step[c->state](c))
		;
}

/* ---- the run --------------------------------------------------------- */

static void
load_wait(uint64_t ns)
{
	struct timespec t = {.tv_sec = (time_t)(ns / NS_PER_S),
			     .tv_nsec = (long)(ns % NS_PER_S)};
	struct epoll_event events[256];
	int n = epoll_pwait2(load.epoll, events, 256, &t, NULL);

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

static void
count_begin(void)
{
	load.counting = true;
	load.errors = 0;
	load.first = load.started;
	say("begin");
}

static int
count_tell(uint64_t done, double seconds)
{
	printf("requests=%llu errors=%llu resumed=%llu seconds=%.4f "
	       "p50_us=%.0f p99_us=%.0f p999_us=%.0f\n",
	       (unsigned long long)done, (unsigned long long)load.errors,
	       (unsigned long long)load.resumed, seconds, latency_us(0.5),
	       latency_us(0.99), latency_us(0.999));
	return load.errors == 0 ? 0 : 1;
}

static int
count_end(uint64_t begin)
{
	double seconds = (double)(now_ns() - begin) / 1e9;

	say("end");
	return count_tell(load.done, seconds);
}

static bool
enough(uint64_t now, uint64_t end)
{
	return now >= end ||
	       (opt.requests != 0 && load.done + load.errors >= opt.requests);
}

static int
run_loop(void)
{
	uint64_t warm = now_ns() + (uint64_t)(opt.warm * 1e9), begin, end;

	for (size_t i = 0; i < opt.nconns; i++)
		conn_open(&load.conns[i]);
	while (now_ns() < warm)
		load_wait(WAIT_NS);
	begin = now_ns();
	end = begin + (uint64_t)(opt.seconds * 1e9);
	count_begin();
	while (!enough(now_ns(), end))
		load_wait(WAIT_NS);
	return count_end(begin);
}

/* One request on each connection first. */
static void
open_all(void)
{
	uint64_t end = now_ns() + OPENING_S * NS_PER_S;
	size_t next = 0;

	while (load.resting + load.errors < opt.nconns) {
		while (next < opt.nconns &&
		       next - load.resting - load.errors < OPENING_MAX)
			conn_open(&load.conns[next++]);
		load_wait(WAIT_NS);
		if (now_ns() > end)
			fatal("%zu of %zu connections after %d s", load.resting,
			      opt.nconns, OPENING_S);
	}
}

/* Sends what is due before last, as far as there is a connection for it;
 * returns how long to wait for the next one. */
static uint64_t
send_due(uint64_t *due, uint64_t interval, uint64_t last)
{
	uint64_t now = now_ns();

	while (*due <= now && *due < last && load.nfree > 0) {
		struct conn *c = load.free[--load.nfree];

		if (c->state != CONN_REST)
			continue;
		load.resting--;
		conn_request(c, *due);
		conn_run(c);
		*due += interval;
	}
	return *due > now ? MIN(*due - now, (uint64_t)WAIT_NS) : WAIT_NS;
}

static int
run_rate(void)
{
	uint64_t interval = (uint64_t)(1e9 / opt.rate), due, begin, end;
	uint64_t done, missing;
	double seconds;

	load.free = calloc(opt.nconns + ERRORS_MAX, sizeof(*load.free));
	if (load.free == NULL)
		fatal("out of memory");
	open_all();
	due = now_ns() + interval;
	begin = due + (uint64_t)(opt.warm * 1e9);
	while (now_ns() < begin)
		load_wait(send_due(&due, interval, begin));
	begin = now_ns();
	end = begin + (uint64_t)(opt.seconds * 1e9);
	count_begin();
	while (!enough(now_ns(), end))
		load_wait(send_due(&due, interval, end));
	say("end");
	seconds = (double)(now_ns() - begin) / 1e9;
	done = load.done;
	/* The slowest are the last: those that were due in time and are not
	 * answered yet count too. */
	while (now_ns() < end + NS_PER_S &&
	       (due < end || load.resting < opt.nconns))
		load_wait(send_due(&due, interval, end));
	missing = opt.nconns - load.resting;
	missing += due < end ? (end - due) / interval + 1 : 0;
	load.latency[LATENCY_SLOTS - 1] += (uint32_t)missing;
	load.done += missing;
	return count_tell(done, seconds);
}

static int
run_hold(void)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};

	open_all();
	printf("ready %zu\n", load.resting);
	fflush(stdout);
	while (poll(&p, 1, 0) == 0)
		load_wait(WAIT_NS);
	printf("alive %zu\n", load.resting);
	return load.resting == opt.nconns ? 0 : 1;
}

static int
on_session(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	SSL_SESSION_free(load.session);
	load.session = session;
	return 1; /* the reference is ours */
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
	SSL_CTX_set_session_cache_mode(
	    load.ctx, opt.resume
			  ? SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL
			  : SSL_SESS_CACHE_OFF);
	SSL_CTX_sess_set_new_cb(load.ctx, on_session);
	SSL_CTX_set_mode(load.ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
				       SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				       SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(load.ctx, 1);
	load.request = request_new(&opt.request, 0, &load.request_len);
	if (opt.tokens > 0 && opt.request.service != NULL)
		request_tokens_make(&opt.request, opt.tokens);
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
	static const char *const names[] = {"loop", "rate", "conn", "idle",
					    "open"};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(text, names[i]) == 0) {
			opt.mode = (enum mode)i;
			return;
		}
	fatal("-m loop|rate|conn|idle|open");
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
	case 't':
		opt.tokens = strtoul(text, NULL, 10);
		break;
	case 'R':
		opt.rate = strtod(text, NULL);
		break;
	case 'K':
		opt.token_each = true;
		break;
	case 'q':
		opt.asks = true;
		break;
	case 'r':
		opt.resume = true;
		break;
	case 'n':
		opt.requests = strtoul(text, NULL, 10);
		break;
	case 's':
		opt.request.host = text;
		break;
	case 'p':
		opt.request.path = text;
		break;
	case 'b':
		opt.request.bytes = strtoul(text, NULL, 10);
		break;
	case 'x':
		opt.reply_bytes = strtoul(text, NULL, 10);
		break;
	case 'k':
		opt.request.service = text;
		break;
	default:
		fatal("the head of tests/bench/load.c tells the options");
	}
}

int
main(int argc, char **argv)
{
	int name;

	while ((name = getopt(argc, argv, "a:m:c:d:w:n:R:s:p:b:x:k:Kt:qr")) !=
	       -1)
		option(name, optarg);
	if (opt.to.sin_port == 0 || opt.nconns == 0 || optind < argc)
		fatal("load -a ADDRESS:PORT ...");
	load_init();
	if (opt.mode == MODE_LOOP || opt.mode == MODE_CONN)
		return run_loop();
	return opt.mode == MODE_RATE ? run_rate() : run_hold();
}
