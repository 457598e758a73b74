/*
 * floor: the least that a relay from TLS to TLS can do, as a measure.
 *
 *	floor -l PORT -c CERTIFICATE -k KEY [-l ... -c ... -k ...]
 *	      -u ADDRESS:PORT -n NAME -A CA -B FILE [-w WORKERS]
 *
 * Reads a request, puts the one header line "Authorization: Bearer" with the
 * file's text behind its first line, sends it to its own connection upstream,
 * and the reply back.  It looks for the blank line and Content-Length and at
 * nothing else: no HTTP, no pool, no time-outs, no log, no checks of a
 * request.  It verifies the upstream's certificate, resumes nothing, and any
 * error ends the pair of connections.  No server for any other use.
 *
 * Output goes through one buffer and leaves with one send() for each turn;
 * input is read ahead, so an exchange of a few kilobytes is two recv(), two
 * send() and its share of an epoll_wait().
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
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
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define CAP	     65536
#define PORTS_MAX    2
#define EVENTS	     256
#define ACCEPTS	     16 /* in one turn */
#define SEND_WAIT_MS 5000

struct pair;

struct side {
	struct pair *pair; /* NULL: a listener */
	int fd;
	SSL *ssl;
	SSL_CTX *ctx; /* of a listener */
	bool ready;   /* an event came while the other side had the word */
};

struct pair {
	struct pair *next; /* in the list of the dead */
	struct side client, cloud;
	struct side *from; /* who has the word */
	bool in_body, dead;
	size_t have;   /* of the head, in buf */
	uint64_t left; /* of the message */
	char buf[CAP];
};

static struct {
	int epoll, nports;
	struct side port[PORTS_MAX];
	SSL_CTX *cloud_ctx;
	struct sockaddr_in cloud;
	const char *cloud_name;
	BIO_METHOD *bio;
	char line[8192]; /* the header line that is put in */
	size_t line_len;
	struct pair *dead;
	/* Output of the side that is being written to; empty between. */
	char out[4 * CAP];
	size_t out_len;
	char work[CAP + 8192];
} fl;

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	ERR_print_errors_fp(stderr);
	exit(2);
}

/* ---- bytes ------------------------------------------------------------ */

static int
out_write(BIO *b, const char *data, int len)
{
	(void)b;
	if (fl.out_len + (size_t)len > sizeof(fl.out))
		return -1;
	memcpy(fl.out + fl.out_len, data, (size_t)len);
	fl.out_len += (size_t)len;
	return len;
}

static long
out_ctrl(BIO *b, int command, long number, void *data)
{
	(void)b;
	(void)number;
	(void)data;
	return command == BIO_CTRL_FLUSH;
}

static int
side_flush(struct side *s)
{
	const char *p = fl.out;

	while (fl.out_len > 0) {
		ssize_t n = send(s->fd, p, fl.out_len, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			struct pollfd wait = {.fd = s->fd, .events = POLLOUT};

			poll(&wait, 1, SEND_WAIT_MS);
			continue;
		}
		if (n <= 0) {
			fl.out_len = 0;
			return -1;
		}
		p += n;
		fl.out_len -= (size_t)n;
	}
	return 0;
}

static int
side_put(struct side *s, const char *data, size_t len)
{
	if (SSL_write(s->ssl, data, (int)len) <= 0)
		return -1;
	return fl.out_len >= CAP ? side_flush(s) : 0;
}

/* Bytes, 0 to wait, -1 at the end. */
static int
side_get(struct side *s, char *data, size_t len)
{
	int n = SSL_read(s->ssl, data, (int)len);

	if (n > 0)
		return n;
	if (SSL_get_error(s->ssl, n) == SSL_ERROR_WANT_READ)
		return 0;
	ERR_clear_error();
	return -1;
}

/* ---- a pair of connections ----------------------------------------------- */

static void
side_tls(struct side *s, SSL_CTX *ctx)
{
	BIO *out = BIO_new(fl.bio);

	s->ssl = SSL_new(ctx);
	if (s->ssl == NULL || out == NULL)
		die("out of memory");
	BIO_set_init(out, 1);
	SSL_set0_rbio(s->ssl, BIO_new_socket(s->fd, BIO_NOCLOSE));
	SSL_set0_wbio(s->ssl, out);
}

static void
side_watch(struct side *s)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.ptr = s};
	int one = 1;

	setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (epoll_ctl(fl.epoll, EPOLL_CTL_ADD, s->fd, &e) != 0)
		die("epoll_ctl");
}

/* Connects and shakes hands, waiting. */
static int
cloud_connect(struct side *s)
{
	int r;

	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->fd < 0 ||
	    connect(s->fd, (struct sockaddr *)&fl.cloud, sizeof(fl.cloud)) != 0)
		return -1;
	fcntl(s->fd, F_SETFL, O_NONBLOCK);
	side_tls(s, fl.cloud_ctx);
	SSL_set_tlsext_host_name(s->ssl, fl.cloud_name);
	SSL_set1_host(s->ssl, fl.cloud_name);
	while ((r = SSL_connect(s->ssl)) != 1) {
		struct pollfd wait = {.fd = s->fd, .events = POLLIN};

		if (SSL_get_error(s->ssl, r) != SSL_ERROR_WANT_READ ||
		    side_flush(s) != 0)
			return -1;
		poll(&wait, 1, SEND_WAIT_MS);
	}
	side_watch(s);
	return side_flush(s);
}

static void
pair_end(struct pair *p)
{
	if (p->dead)
		return;
	p->dead = true;
	p->next = fl.dead;
	fl.dead = p;
}

static void
side_free(struct side *s)
{
	if (s->ssl != NULL)
		SSL_set_shutdown(s->ssl,
				 SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(s->ssl);
	if (s->fd >= 0)
		close(s->fd);
}

static void
bury(void)
{
	while (fl.dead != NULL) {
		struct pair *p = fl.dead;

		fl.dead = p->next;
		side_free(&p->client);
		side_free(&p->cloud);
		free(p);
	}
}

/* The head is whole: sends it with what came behind it. */
static int
pair_head(struct pair *p, struct side *to, size_t head_len)
{
	const char *length, *line_end;
	size_t k;

	length = memmem(p->buf, head_len, "ontent-Length: ", 15);
	if (length == NULL)
		length = memmem(p->buf, head_len, "ontent-length: ", 15);
	p->left = head_len - p->have;
	if (length != NULL)
		p->left += strtoull(length + 15, NULL, 10);
	p->in_body = true;
	if (to->fd < 0 && cloud_connect(to) != 0)
		return -1;
	if (p->from == &p->cloud)
		return side_put(to, p->buf, p->have);
	line_end = memchr(p->buf, '\n', head_len);
	k = (size_t)(line_end + 1 - p->buf);
	memcpy(fl.work, p->buf, k);
	memcpy(fl.work + k, fl.line, fl.line_len);
	memcpy(fl.work + k + fl.line_len, p->buf + k, p->have - k);
	return side_put(to, fl.work, p->have + fl.line_len);
}

/* Moves what there is of a message: 1 all of it, 0 to wait, -1 the end. */
static int
pair_move(struct pair *p, struct side *to)
{
	char *end;
	int n;

	while (!p->in_body) {
		n = side_get(p->from, p->buf + p->have, CAP - p->have);
		if (n <= 0)
			return n;
		p->have += (size_t)n;
		end = memmem(p->buf, p->have, "\r\n\r\n", 4);
		if (end == NULL && p->have == CAP)
			return -1;
		if (end != NULL &&
		    pair_head(p, to, (size_t)(end + 4 - p->buf)) != 0)
			return -1;
	}
	while (p->left > 0) {
		n = side_get(p->from, p->buf,
			     p->left < CAP ? (size_t)p->left : CAP);
		if (n <= 0)
			return n;
		if (side_put(to, p->buf, (size_t)n) != 0)
			return -1;
		p->left -= (size_t)n;
	}
	p->in_body = false;
	p->have = 0;
	return 1;
}

static void
pair_run(struct pair *p)
{
	struct side *to;
	int r;

	do {
		to = p->from == &p->client ? &p->cloud : &p->client;
		p->from->ready = false;
		r = pair_move(p, to);
		if (side_flush(to) != 0)
			r = -1;
		if (r < 0) {
			pair_end(p);
			return;
		}
		if (r == 1)
			p->from = to;
	} while (r == 1 && p->from->ready);
}

/* The client's handshake, alone: its output is the client's. */
static void
client_shake(struct pair *p)
{
	int r = SSL_do_handshake(p->client.ssl);

	if ((r != 1 &&
	     SSL_get_error(p->client.ssl, r) != SSL_ERROR_WANT_READ) ||
	    side_flush(&p->client) != 0) {
		ERR_clear_error();
		fl.out_len = 0;
		pair_end(p);
		return;
	}
	if (r == 1)
		pair_run(p);
}

static void
pair_new(int fd, SSL_CTX *ctx)
{
	struct pair *p = malloc(sizeof(*p));

	if (p == NULL)
		die("out of memory");
	memset(p, 0, offsetof(struct pair, buf));
	p->client.pair = p->cloud.pair = p;
	p->client.fd = fd;
	p->cloud.fd = -1;
	p->from = &p->client;
	side_tls(&p->client, ctx);
	SSL_set_accept_state(p->client.ssl);
	side_watch(&p->client);
}

static void
on_event(struct side *s)
{
	struct pair *p = s->pair;
	int fd;

	if (p == NULL) {
		for (int i = 0; i < ACCEPTS; i++) {
			fd = accept4(s->fd, NULL, NULL,
				     SOCK_NONBLOCK | SOCK_CLOEXEC);
			if (fd < 0)
				return;
			pair_new(fd, s->ctx);
		}
		return;
	}
	if (p->dead)
		return;
	if (s != p->from)
		s->ready = true;
	else if (s == &p->client && SSL_in_init(s->ssl))
		client_shake(p);
	else
		pair_run(p);
}

/* ---- setting up --------------------------------------------------------- */

static void
tls_common(SSL_CTX *ctx)
{
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_default_read_buffer_len(ctx, CAP);
}

static void
port_listen(struct side *s)
{
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = s};
	struct sockaddr_in at = {
	    .sin_family = AF_INET,
	    .sin_port = htons((uint16_t)s->fd), /* so far, the port */
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int one = 1;

	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(s->fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	if (bind(s->fd, (struct sockaddr *)&at, sizeof(at)) != 0 ||
	    listen(s->fd, 4096) != 0 ||
	    epoll_ctl(fl.epoll, EPOLL_CTL_ADD, s->fd, &e) != 0)
		die("listen");
}

static void
read_line(const char *path)
{
	static const char field[] = "Authorization: Bearer ";
	FILE *file = fopen(path, "r");

	if (file == NULL)
		die(path);
	memcpy(fl.line, field, sizeof(field) - 1);
	fl.line_len = sizeof(field) - 1;
	fl.line_len += fread(fl.line + fl.line_len, 1,
			     sizeof(fl.line) - fl.line_len - 2, file);
	fclose(file);
	memcpy(fl.line + fl.line_len, "\r\n", 2);
	fl.line_len += 2;
}

static void
option(int name, char *text, int *workers)
{
	struct side *port = &fl.port[fl.nports > 0 ? fl.nports - 1 : 0];
	char *colon;

	switch (name) {
	case 'l':
		if (fl.nports == PORTS_MAX)
			die("too many ports");
		port = &fl.port[fl.nports++];
		port->fd = (int)strtol(text, NULL, 10);
		port->ctx = SSL_CTX_new(TLS_server_method());
		tls_common(port->ctx);
		break;
	case 'c':
		if (SSL_CTX_use_certificate_chain_file(port->ctx, text) != 1)
			die(text);
		break;
	case 'k':
		if (SSL_CTX_use_PrivateKey_file(port->ctx, text,
						SSL_FILETYPE_PEM) != 1)
			die(text);
		break;
	case 'u':
		colon = strrchr(text, ':');
		if (colon == NULL)
			die(text);
		*colon = '\0';
		fl.cloud.sin_family = AF_INET;
		fl.cloud.sin_port =
		    htons((uint16_t)strtoul(colon + 1, NULL, 10));
		inet_pton(AF_INET, text, &fl.cloud.sin_addr);
		break;
	case 'n':
		fl.cloud_name = text;
		break;
	case 'A':
		if (SSL_CTX_load_verify_locations(fl.cloud_ctx, text, NULL) !=
		    1)
			die(text);
		break;
	case 'B':
		read_line(text);
		break;
	case 'w':
		*workers = (int)strtol(text, NULL, 10);
		break;
	default:
		die("the head of tests/bench/floor.c tells the options");
	}
}

static void
prepare(void)
{
	struct rlimit files;

	signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	fl.bio =
	    BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "out");
	BIO_meth_set_write(fl.bio, out_write);
	BIO_meth_set_ctrl(fl.bio, out_ctrl);
	fl.cloud_ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_min_proto_version(fl.cloud_ctx, TLS1_3_VERSION);
	SSL_CTX_set_verify(fl.cloud_ctx, SSL_VERIFY_PEER, NULL);
	tls_common(fl.cloud_ctx);
}

int
main(int argc, char **argv)
{
	int name, workers = 1;

	prepare();
	while ((name = getopt(argc, argv, "l:c:k:u:n:A:B:w:")) != -1)
		option(name, optarg, &workers);
	if (fl.nports == 0 || fl.cloud_name == NULL || fl.line_len == 0)
		die("an option is missing");
	for (int i = 1; i < workers; i++)
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGTERM);
			break;
		}
	fl.epoll = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < fl.nports; i++)
		port_listen(&fl.port[i]);
	for (;;) {
		struct epoll_event events[EVENTS];
		int n = epoll_wait(fl.epoll, events, EVENTS, -1);

		for (int i = 0; i < n; i++)
			on_event(events[i].data.ptr);
		bury();
	}
}
