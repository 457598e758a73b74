/*
 * hot: buffers with something in them stay, whatever OpenSSL thinks of it, and
 * the list holds the connections used last, whichever of them end.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <openssl/ssl.h>
#include <string.h>

#include "shm/base/log.h"
#include "worker/relay/hot.h"
#include "worker/relay/relay.h"
#include "worker/relay/wire.h"

enum { TEXT = 300, RECORD_MAX = 512 };

static struct relay w;
static SSL_CTX *ctx;
static SSL *peer;  /* of what pair() made */
static bool freed; /* SSL_free_buffers() was called */

/* Stands before the library's. */
int
SSL_free_buffers(SSL *ssl)
{
	int (*library)(SSL *);

	*(void **)&library = dlsym(RTLD_NEXT, "SSL_free_buffers");
	assert_non_null(library);
	freed = true;
	return library(ssl);
}

static int
setup(void **state)
{
	(void)state;
	ctx = SSL_CTX_new(TLS_method());
	assert_non_null(ctx);
	/* without a certificate; the rest as in tls.c */
	SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
	assert_int_equal(
	    SSL_CTX_set_cipher_list(ctx, "AECDH-AES128-SHA:@SECLEVEL=0"), 1);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(ctx, 1);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	SSL_CTX_free(ctx);
	return 0;
}

static SSL *
half(bool server)
{
	SSL *ssl = SSL_new(ctx);

	assert_non_null(ssl);
	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	BIO_set_mem_eof_return(SSL_get_rbio(ssl), -1);
	if (server)
		SSL_set_accept_state(ssl);
	else
		SSL_set_connect_state(ssl);
	return ssl;
}

/* What one wrote, of that up to max bytes, comes to the other. */
static void
carry(SSL *from, SSL *to, int max)
{
	char b[8192];
	int n = BIO_read(SSL_get_wbio(from), b, MIN(max, (int)sizeof(b)));

	if (n > 0)
		assert_int_equal(BIO_write(SSL_get_rbio(to), b, n), n);
}

/* A connection past its handshake. */
static void
pair(struct wire *x)
{
	*x = (struct wire){.w = &w, .ssl = half(true)};
	peer = half(false);
	for (int i = 0; i < 4; i++) {
		SSL_do_handshake(peer);
		carry(peer, x->ssl, INT32_MAX);
		SSL_do_handshake(x->ssl);
		carry(x->ssl, peer, INT32_MAX);
	}
	assert_true(SSL_is_init_finished(peer));
	assert_true(SSL_is_init_finished(x->ssl));
}

static void
unpair(struct wire *x)
{
	hot_leave(x);
	SSL_free(x->ssl);
	SSL_free(peer);
	assert_int_equal(w.hot.n, 0);
}

/* The peer's next record; all records have the same text. */
static void
say(char text[TEXT])
{
	memset(text, 'a', TEXT);
	assert_int_equal(SSL_write(peer, text, TEXT), TEXT);
}

static int
take(struct wire *x, char *text, int len)
{
	int n = SSL_read(x->ssl, text, len);

	hot_used(x);
	return n;
}

static void
cool(struct wire *x, bool empty)
{
	freed = false;
	assert_true(x->hot);
	hot_sweep(&w, true);
	assert_false(x->hot);
	assert_int_equal(freed, empty);
}

static void
test_record_in_part(void **state)
{
	struct wire x;
	char text[TEXT], got[TEXT];

	(void)state;
	pair(&x);
	say(text);
	carry(peer, x.ssl, INT32_MAX);
	assert_int_equal(take(&x, got, TEXT), TEXT);
	for (int cut = 1; cut < TEXT; cut++) {
		memset(got, 0, TEXT);
		say(text);
		carry(peer, x.ssl, cut);
		assert_int_equal(take(&x, got, TEXT), -1);
		assert_int_equal(SSL_get_error(x.ssl, -1), SSL_ERROR_WANT_READ);
		cool(&x, false);
		carry(peer, x.ssl, INT32_MAX);
		assert_int_equal(take(&x, got, TEXT), TEXT);
		assert_memory_equal(got, text, TEXT);
		cool(&x, true);
	}
	unpair(&x);
}

static void
test_read_in_part(void **state)
{
	struct wire x;
	char text[TEXT], got[TEXT];

	(void)state;
	pair(&x);
	for (int cut = 1; cut < TEXT; cut++) {
		memset(got, 0, TEXT);
		say(text);
		say(text); /* behind it, in the same buffer */
		carry(peer, x.ssl, INT32_MAX);
		assert_int_equal(take(&x, got, cut), cut);
		cool(&x, false);
		assert_int_equal(take(&x, got + cut, TEXT - cut), TEXT - cut);
		assert_memory_equal(got, text, TEXT);
		cool(&x, false);
		memset(got, 0, TEXT);
		assert_int_equal(take(&x, got, TEXT), TEXT);
		assert_memory_equal(got, text, TEXT);
		cool(&x, true);
	}
	unpair(&x);
}

static void
test_used_last(void **state)
{
	static struct wire x[HOT_MAX + 4];
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(x); i++) {
		x[i] = (struct wire){.w = &w, .ssl = half(true)};
		hot_used(&x[i]);
		if (i >= 4)
			hot_used(&x[4]); /* again and again */
	}
	assert_int_equal(w.hot.n, HOT_MAX);
	for (size_t i = 0; i < ARRAY_LEN(x); i++)
		assert_int_equal(x[i].hot, i >= 4);
	hot_leave(&x[4]);  /* the last */
	hot_leave(&x[5]);  /* the first */
	hot_leave(&x[50]); /* between */
	hot_leave(&x[50]); /* nothing */
	for (struct wire *y = w.hot.first, *before = NULL; y != NULL;
	     before = y, y = y->hot_next, n++)
		assert_ptr_equal(y->hot_prev, before);
	assert_int_equal(n, HOT_MAX - 3);
	assert_int_equal(w.hot.n, n);
	for (int i = 0; i < HOT_SWEEPS; i++)
		hot_sweep(&w, false);
	hot_used(&x[60]);
	assert_int_equal(w.hot.n, n);
	hot_sweep(&w, false);
	assert_int_equal(w.hot.n, 1);
	assert_ptr_equal(w.hot.first, &x[60]);
	hot_leave(&x[60]);
	assert_null(w.hot.first);
	assert_null(w.hot.last);
	for (size_t i = 0; i < ARRAY_LEN(x); i++)
		SSL_free(x[i].ssl);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_record_in_part),
	    cmocka_unit_test(test_read_in_part),
	    cmocka_unit_test(test_used_last),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
