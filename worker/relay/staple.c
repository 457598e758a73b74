/*
 * Purpose: hand a certificate's OCSP response to clients that ask for it.
 *
 * Runs in: relay.
 * Trusts:  the master, which verified the response.
 * Touches: TLS contexts; public data only.
 * Failure: none is handed out.
 */
#include "worker/relay/staple.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"

struct staple {
	char *der; /* owned; NULL none */
	size_t len;
	uint64_t until_s;
};

/* Of a context's staple; made once. */
static int staple_index = -1;

static void
on_ctx_free(void *parent UNUSED, void *ptr, CRYPTO_EX_DATA *ad UNUSED,
	    int index UNUSED, long argl UNUSED, void *argp UNUSED)
{
	struct staple *s = ptr;

	if (s != NULL)
		free(s->der);
	free(s);
}

static int
on_status(SSL *ssl, void *arg UNUSED)
{
	const struct staple *s =
	    SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), staple_index);
	unsigned char *copy;

	if (s == NULL || s->der == NULL ||
	    clock_real_ns() / NS_PER_S >= s->until_s)
		return SSL_TLSEXT_ERR_NOACK;
	copy = OPENSSL_memdup(s->der, s->len);
	if (copy == NULL)
		return SSL_TLSEXT_ERR_NOACK;
	SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)s->len); /* takes it */
	return SSL_TLSEXT_ERR_OK;
}

int
staple_install(SSL_CTX *ctx)
{
	struct staple *s = calloc(1, sizeof(*s));

	if (staple_index < 0)
		staple_index =
		    SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, on_ctx_free);
	if (s == NULL || staple_index < 0 ||
	    SSL_CTX_set_ex_data(ctx, staple_index, s) != 1) {
		free(s);
		return -ENOMEM;
	}
	SSL_CTX_set_tlsext_status_cb(ctx, on_status);
	return 0;
}

void
staple_set(SSL_CTX *ctx, char **der, size_t len, uint64_t until_s)
{
	struct staple *s = SSL_CTX_get_ex_data(ctx, staple_index);

	free(s->der);
	*s = (struct staple){.der = *der, .len = len, .until_s = until_s};
	*der = NULL;
}
