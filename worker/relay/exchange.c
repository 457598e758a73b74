/*
 * Purpose: one request and its reply: made, counted, ended.
 *
 * Runs in: relay.
 * Trusts:  nobody.
 * Touches: counters, the access log.
 * Failure: NULL without memory.
 */
#include "worker/relay/client_priv.h"

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/relay/alog.h"
#include "worker/relay/note.h"
#include "worker/relay/gunzip.h"
#include "worker/relay/upstream.h"

/* Freed exchanges, for the next requests. */
#define EXCHANGE_SPARE_MAX 64
static struct exchange *exchange_spare;
static size_t exchange_nspare;

struct exchange *
exchange_new(struct relay *w)
{
	struct exchange *x = exchange_spare;
	struct sbuf id;

	if (x != NULL) {
		exchange_spare = x->next_free;
		exchange_nspare--;
	} else if ((x = malloc(sizeof(*x))) == NULL) {
		return NULL;
	}
	memset(x, 0, offsetof(struct exchange, id));
	x->path[0] = x->trace[0] = x->auth_detail[0] = '\0';
	x->entry_name[0] = x->upstream_addr[0] = '\0';
	/* req is cleared by its parser, up to the fields it fills */
	memset(&x->req, 0, offsetof(struct http_req, field));
	sbuf_init(&id, x->id, sizeof(x->id));
	sbuf_hex(&id, w->boot_id, 16);
	sbuf_char(&id, '-');
	x->number = ++w->next_id;
	sbuf_hex(&id, x->number, 1);
	w->nexchanges++;
	stat_add(w->row, STAT_requests_open, 1);
	return x;
}

void
exchange_rest(void)
{
	while (exchange_spare != NULL) {
		struct exchange *x = exchange_spare;

		exchange_spare = x->next_free;
		free(x);
	}
	exchange_nspare = 0;
}

static void
exchange_count(struct relay *w, const struct exchange *x)
{
	if (x->status >= 200 && x->status < 300)
		stat_add(w->row, STAT_status_2xx, 1);
	else if (x->status >= 400 && x->status < 500)
		stat_add(w->row, STAT_status_4xx, 1);
	else if (x->status >= 500)
		stat_add(w->row, STAT_status_5xx, 1);
	stat_add(w->row, STAT_bytes_in, x->bytes_in);
	stat_add(w->row, STAT_bytes_out, x->bytes_out);
	stat_sub(w->row, STAT_requests_open, 1);
}

/* The request is over in every respect. */
void
exchange_end(struct client *c)
{
	struct exchange *x = c->x;
	struct relay *w = c->w;

	if (x == NULL)
		return;
	if (x->t_reply_end == 0)
		x->t_reply_end = clock_mono_ns();
	if (x->up != NULL)
		upstream_drop(&x->up);
	upstream_cancel(c);
	health_over(c);
	admit_leave(c);
	operation_end(c);
	alog_write(w->alog, c);
	note_request(w, c);
	exchange_count(w, x);
	if (x->ident_owned)
		identity_free(&x->ident);
	free(x->auth_out);
	free(x->late_detail);
	gunzip_free(&x->gz);
	c->x = NULL;
	w->nexchanges--;
	if (exchange_nspare >= EXCHANGE_SPARE_MAX) {
		free(x);
		return;
	}
	x->next_free = exchange_spare;
	exchange_spare = x;
	exchange_nspare++;
}

static void
exchange_put_ms(struct sbuf *out, const char *name, uint64_t ns)
{
	sbuf_str(out, name);
	sbuf_str(out, ";dur=");
	sbuf_u64(out, ns / NS_PER_MS);
	sbuf_char(out, '.');
	sbuf_u64(out, ns / (NS_PER_MS / 10) % 10);
}

void
exchange_put_timing(struct client *c, struct sbuf *out)
{
	const struct exchange *x = c->x;
	uint64_t service = 0;

	if (!c->w->c->conf.server_timing)
		return;
	if (x->t_sent != 0)
		service = clock_mono_ns() - x->t_sent;
	sbuf_str(out, "Server-Timing: ");
	exchange_put_ms(out, "auth", x->auth_ns);
	exchange_put_ms(out, ", queue", x->queue_ns);
	exchange_put_ms(out, ", connect", x->connect_ns);
	exchange_put_ms(out, ", service", service);
	sbuf_str(out, "\r\n");
}
