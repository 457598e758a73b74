/*
 * Purpose: leave OpenSSL's buffers with the connections that are at work.
 *
 * Runs in: relay.
 * Trusts:  nobody.
 * Touches: the heap, through OpenSSL.
 * Failure: none; a buffer that still holds bytes stays until its next use.
 */
#include "worker/relay/hot.h"

#include <malloc.h>
#include <openssl/ssl.h>
#include <string.h>

#include "worker/relay/relay.h"
#include "worker/relay/wire.h"

void
hot_leave(struct wire *x)
{
	struct hot_list *l;

	if (!x->hot)
		return;
	l = &x->w->hot;
	if (x->hot_prev != NULL)
		x->hot_prev->hot_next = x->hot_next;
	else
		l->first = x->hot_next;
	if (x->hot_next != NULL)
		x->hot_next->hot_prev = x->hot_prev;
	else
		l->last = x->hot_prev;
	x->hot = false;
	l->n--;
}

/*
 * SSL_free_buffers() is to refuse a buffer in use.  Before OpenSSL 3.0.14 it
 * did not see a record that came in part ("RB", its body is awaited) or was
 * read in part, and the rest went to freed memory: CVE-2024-4741.
 */
static void
hot_free(SSL *ssl)
{
	if (ssl != NULL && !SSL_has_pending(ssl) &&
	    strcmp(SSL_rstate_string(ssl), "RH") == 0)
		SSL_free_buffers(ssl);
}

static void
hot_cool(struct wire *x)
{
	hot_leave(x);
	hot_free(x->ssl);
	hot_free(x->outer);
}

void
hot_used(struct wire *x)
{
	struct hot_list *l = &x->w->hot;

	x->hot_sweep = l->sweep;
	if (l->last == x)
		return;
	if (x->hot) {
		hot_leave(x);
	} else {
		SSL_clear_mode(x->ssl, SSL_MODE_RELEASE_BUFFERS);
		if (l->n >= HOT_MAX)
			hot_cool(l->first);
	}
	x->hot = true;
	x->hot_next = NULL;
	x->hot_prev = l->last;
	if (l->last != NULL)
		l->last->hot_next = x;
	else
		l->first = x;
	l->last = x;
	l->n++;
}

void
hot_sweep(struct relay *w, bool all)
{
	struct hot_list *l = &w->hot;
	size_t before = l->n;

	l->sweep++;
	while (l->first != NULL &&
	       (all || l->sweep - l->first->hot_sweep > HOT_SWEEPS))
		hot_cool(l->first);
	if (before > 0 && l->n == 0)
		malloc_trim(0);
}
