/*
 * Purpose: the part of a configuration that a role sees, as a message body.
 *
 * Runs in: master (pack), children (unpack).
 * Trusts:  the tables; a body is checked field by field and bound by bound,
 *          though only the master sends one.
 * Touches: memory of its callers.
 * Failure: 0 bytes, or -EPROTO with everything at its default.
 *
 * Body:
 *	u64	hash of the names and types that follow, so that a master and
 *		a child of different builds do not misread each other
 *	rows	of conf.def, then of settings.def, those with the role's bit:
 *		numbers u64, booleans u8, texts as strings
 *	relays only: u32 number of listeners, and of each its name and rows
 *		that are no PATH; role_credential[] as u32
 */
#include <errno.h>

#include "conf/conf.h"
#include "shm/base/hash.h"
#include "shm/base/log.h"
#include "shm/base/pack.h"

/* A table and the mask of its rows that belong to a view. */
struct part {
	const struct conf_row *row;
	size_t n;
	unsigned roles;
	bool paths; /* PATH rows too */
};

static struct part
part_node(enum role role)
{
	struct part p = {.roles = ROLE_BIT(role), .paths = true};

	p.row = conf_rows(&p.n);
	return p;
}

static struct part
part_settings(enum role role)
{
	struct part p = {.roles = ROLE_BIT(role), .paths = true};

	p.row = conf_settings(&p.n);
	return p;
}

static struct part
part_listener(enum role role)
{
	struct part p = {.roles = ROLE_BIT(role), .paths = false};

	p.row = conf_listener_rows(&p.n);
	return p;
}

static bool
is_in(const struct part *p, size_t i)
{
	return (p->row[i].roles & p->roles) != 0 &&
	       (p->paths || p->row[i].type != CONF_T_PATH);
}

/* Not against malice: the key may be known. */
static uint64_t
part_hash(const struct part *p, uint64_t h)
{
	for (size_t i = 0; i < p->n; i++) {
		struct hash_key key = {h, (uint64_t)p->row[i].type};

		if (is_in(p, i))
			h = hash_bytes(&key, p->row[i].name,
				       strlen(p->row[i].name));
	}
	return h;
}

static uint64_t
layout(enum role role)
{
	struct part node = part_node(role), set = part_settings(role),
		    lis = part_listener(role);

	return part_hash(&lis, part_hash(&set, part_hash(&node, 1)));
}

static void
pack_row(struct pack *k, const struct conf_row *row, const void *base)
{
	const void *m = (const char *)base + row->offset;

	switch (row->type) {
	case CONF_T_INT:
	case CONF_T_SIZE:
	case CONF_T_TIME:
		pack_u64(k, (uint64_t) * (const int64_t *)m);
		break;
	case CONF_T_BOOL:
		pack_u8(k, *(const bool *)m);
		break;
	case CONF_T_STR:
	case CONF_T_PATH:
	case CONF_T_ENUM:
		pack_str(k, ((const struct conf_text *)m)->s);
		break;
	}
}

static void
pack_part(struct pack *k, const struct part *p, const void *base)
{
	for (size_t i = 0; i < p->n; i++)
		if (is_in(p, i))
			pack_row(k, &p->row[i], base);
}

size_t
conf_view_pack(const struct conf *c, enum role role, void *body, size_t size)
{
	struct part node = part_node(role), set = part_settings(role),
		    lis = part_listener(role);
	struct pack k;

	BUG_ON(c->nlisteners > CONF_LISTENERS_MAX);
	pack_init(&k, body, size);
	pack_u64(&k, layout(role));
	pack_part(&k, &node, c);
	pack_part(&k, &set, c);
	if (role == ROLE_RELAY) {
		pack_u32(&k, (uint32_t)c->nlisteners);
		for (size_t i = 0; i < c->nlisteners; i++) {
			pack_str(&k, c->listener[i].name);
			pack_part(&k, &lis, &c->listener[i]);
		}
		for (size_t i = 0; i < SERVER_ROLE_MAX; i++)
			pack_u32(&k, c->role_credential[i]);
	}
	return k.full ? 0 : k.len;
}

static void
unpack_row(struct unpack *u, const struct conf_row *row, void *base)
{
	void *m = (char *)base + row->offset;
	struct conf_text *t = m;
	uint8_t flag;

	switch (row->type) {
	case CONF_T_INT:
	case CONF_T_SIZE:
	case CONF_T_TIME:
		*(int64_t *)m = (int64_t)unpack_u64(u);
		break;
	case CONF_T_BOOL:
		flag = unpack_u8(u);
		*(bool *)m = flag == 1;
		u->bad |= flag > 1;
		break;
	case CONF_T_STR:
	case CONF_T_PATH:
	case CONF_T_ENUM:
		memset(t, 0, sizeof(*t));
		unpack_str(u, t->s, sizeof(t->s));
		break;
	}
	u->bad |= !conf_row_ok(row, base);
}

static void
unpack_part(struct unpack *u, const struct part *p, void *base)
{
	for (size_t i = 0; i < p->n && !u->bad; i++)
		if (is_in(p, i))
			unpack_row(u, &p->row[i], base);
}

static void
unpack_relay(struct unpack *u, struct conf *c)
{
	struct part lis = part_listener(ROLE_RELAY);
	uint32_t n = unpack_u32(u);

	if (n > CONF_LISTENERS_MAX)
		u->bad = true;
	for (uint32_t i = 0; i < n && !u->bad; i++) {
		struct conf_listener *l = &c->listener[i];

		conf_listener_defaults(l);
		unpack_str(u, l->name, sizeof(l->name));
		unpack_part(u, &lis, l);
	}
	c->nlisteners = n;
	for (size_t i = 0; i < SERVER_ROLE_MAX; i++)
		c->role_credential[i] = unpack_u32(u);
}

int
conf_view_unpack(struct conf *c_r, enum role role, const void *body, size_t len)
{
	struct part node = part_node(role), set = part_settings(role);
	struct unpack u;

	conf_defaults(c_r);
	unpack_init(&u, body, len);
	u.bad |= unpack_u64(&u) != layout(role);
	unpack_part(&u, &node, c_r);
	unpack_part(&u, &set, c_r);
	if (role == ROLE_RELAY)
		unpack_relay(&u, c_r);
	if (unpack_done(&u))
		return 0;
	conf_defaults(c_r);
	return -EPROTO;
}
