/*
 * Purpose: print what the keeper does.
 *
 * Runs in: keeper_driver.
 * Trusts:  whoever runs the test.
 * Touches: standard output.
 * Failure: what cannot be done ends the driver.
 */
#include <stdio.h>

#include "shm/identity.h"
#include "shm/msg.h"
#include "tests/fault/keeper_driver.h"

static char text[1 << 18];
static struct sbuf out;
struct json js;

void
say_begin(const char *what)
{
	sbuf_init(&out, text, sizeof(text));
	json_init(&js, &out);
	json_object(&js, NULL);
	json_str(&js, "what", what);
}

void
say_end(void)
{
	json_object_end(&js);
	NEED(!out.cut);
	puts(text);
	fflush(stdout);
}

void
say_hex(const char *key, struct slice s)
{
	static char hex[1 << 18];
	struct sbuf b;

	sbuf_init(&b, hex, sizeof(hex));
	for (size_t i = 0; i < s.len; i++)
		sbuf_fmt(&b, "%02x", (unsigned char)s.p[i]);
	json_str(&js, key, hex);
}

/* ["user S-1-…", "group S-1-…"] in their order. */
static void
put_sids(const struct identity *id)
{
	char sid[SID_TEXT_MAX], line[SID_TEXT_MAX + 16];
	struct sbuf b;

	json_array(&js, "sids");
	for (size_t i = 0; i < id->nsids; i++) {
		NEED(sid_text(id->sids[i].bytes, id->sids[i].len, sid) == 0);
		sbuf_init(&b, line, sizeof(line));
		sbuf_str(&b, sid_source_name(id->sids[i].source));
		sbuf_char(&b, ' ');
		sbuf_str(&b, sid);
		json_str(&js, NULL, line);
	}
	json_array_end(&js);
}

void
say_identity(struct slice packed)
{
	struct identity *id;
	struct unpack u;

	unpack_init(&u, packed.p, packed.len);
	id = identity_unpack(&u);
	NEED(id != NULL && unpack_done(&u));
	json_str(&js, "mech", mech_name(id->mech));
	json_str(&js, "principal", id->principal);
	json_str(&js, "spn", id->spn);
	json_u64(&js, "kvno", id->kvno);
	json_i64(&js, "enctype", id->enctype);
	json_bool(&js, "bound", id->bound);
	json_bool(&js, "bound_before", id->bound_before);
	json_bool(&js, "bound_before", id->bound_before);
	json_u64(&js, "expires", id->expires);
	json_u64(&js, "nsids", id->nsids);
	json_u64(&js, "lack", id->lack);
	put_sids(id);
	identity_free(&id);
}

struct slice
get_hex(const char *hex)
{
	static char mem[MSG_BINDINGS_MAX + 1][1 << 17];
	static unsigned turn;
	char *p = mem[turn++ % ARRAY_LEN(mem)];
	size_t n = 0;
	unsigned v;

	for (; hex[0] != '-' && sscanf(hex, "%2x", &v) == 1; hex += 2) {
		NEED(n < sizeof(mem[0]));
		p[n++] = (char)v;
	}
	return (struct slice){p, n};
}
