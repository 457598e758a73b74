/*
 * Purpose: decode chunked bodies of either side.
 *
 * Runs in: relay.
 * Trusts:  nobody.
 * Touches: nothing but its arguments.
 * Failure: CHUNK_BAD; the caller refuses the message and closes.
 */
#include "worker/relay/chunk.h"

#include "shm/base/log.h"
#include "worker/relay/http.h"

enum {
	CH_SIZE = 0,   /* hex digits */
	CH_EXT,	       /* behind ";" of an extension: its name is next */
	CH_EXT_NAME,   /* within the name */
	CH_EXT_NEXT,   /* white space behind it: "=" or ";" is next */
	CH_EXT_IS,     /* behind "=": the value is next */
	CH_EXT_VALUE,  /* within one that is a token */
	CH_EXT_QUOTED, /* within one that is a quoted string */
	CH_EXT_PAIR,   /* behind a backslash in it */
	CH_EXT_DONE,   /* behind it: the next extension, or CR */
	CH_EXT_GAP,    /* white space there: the next extension */
	CH_SIZE_LF,    /* LF of the size line */
	CH_DATA,       /* c->left bytes */
	CH_DATA_CR,    /* CR LF behind them */
	CH_DATA_LF,
	CH_TRAILER,    /* first character of a trailer line */
	CH_FIELD_NAME, /* name of a trailer field */
	CH_FIELD,      /* its value */
	CH_FIELD_LF,
	CH_END_LF, /* LF of the empty line */
	CH_DONE,
};

static int
chunk_hex(char ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	if (ch >= 'a' && ch <= 'f')
		return ch - 'a' + 10;
	if (ch >= 'A' && ch <= 'F')
		return ch - 'A' + 10;
	return -1;
}

static bool
chunk_text(char ch)
{
	unsigned char u = (unsigned char)ch;

	return u == '\t' || (u >= 0x20 && u != 0x7f);
}

static bool
chunk_blank(char ch)
{
	return ch == ' ' || ch == '\t';
}

static bool
chunk_to(struct chunk *c, int state)
{
	c->state = state;
	return true;
}

/* Behind a name or a value: what may follow is the same but for "=". */
static bool
chunk_ext_ends(struct chunk *c, char ch, int blank)
{
	if (ch == ';')
		return chunk_to(c, CH_EXT);
	if (chunk_blank(ch))
		return chunk_to(c, blank);
	return ch == '\r' && chunk_to(c, CH_SIZE_LF);
}

/*
 * RFC 9112 7.1.1: *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted ) ] ),
 * but no white space between the size and the first ";", which is where
 * others were deceived about the size.
 */
static bool
chunk_ext_char(struct chunk *c, char ch)
{
	bool token = http_is_token((struct slice){&ch, 1});

	if (++c->line > CHUNK_LINE_MAX || ++c->exts > CHUNK_EXTS_MAX)
		return false;
	switch (c->state) {
	case CH_EXT:
		return token ? chunk_to(c, CH_EXT_NAME) : chunk_blank(ch);
	case CH_EXT_NAME:
		if (ch == '=')
			return chunk_to(c, CH_EXT_IS);
		return token || chunk_ext_ends(c, ch, CH_EXT_NEXT);
	case CH_EXT_NEXT:
		if (ch == '=')
			return chunk_to(c, CH_EXT_IS);
		return chunk_blank(ch) || (ch == ';' && chunk_to(c, CH_EXT));
	case CH_EXT_IS:
		if (ch == '"')
			return chunk_to(c, CH_EXT_QUOTED);
		return token ? chunk_to(c, CH_EXT_VALUE) : chunk_blank(ch);
	case CH_EXT_VALUE:
		return token || chunk_ext_ends(c, ch, CH_EXT_GAP);
	case CH_EXT_QUOTED:
		if (ch == '"')
			return chunk_to(c, CH_EXT_DONE);
		if (ch == '\\')
			return chunk_to(c, CH_EXT_PAIR);
		return chunk_text(ch);
	case CH_EXT_PAIR:
		return chunk_text(ch) && chunk_to(c, CH_EXT_QUOTED);
	case CH_EXT_DONE:
		return chunk_ext_ends(c, ch, CH_EXT_GAP);
	default: /* CH_EXT_GAP */
		return chunk_blank(ch) || (ch == ';' && chunk_to(c, CH_EXT));
	}
}

static bool
chunk_size_char(struct chunk *c, char ch)
{
	int d = chunk_hex(ch);

	if (d >= 0) {
		/* 15 digits: below 2^60, so sums never overflow */
		if (++c->digits > 15)
			return false;
		c->left = c->left << 4 | (uint64_t)d;
		return true;
	}
	if (c->digits == 0)
		return false;
	if (ch == '\r')
		c->state = CH_SIZE_LF;
	else if (ch == ';')
		c->state = CH_EXT;
	else
		return false; /* no white space after the size: smuggling */
	return true;
}

/* Trailer lines; false for what is not one. */
static bool
chunk_trailer_char(struct chunk *c, char ch)
{
	bool name = http_is_token((struct slice){&ch, 1});

	if (c->state == CH_TRAILER && ch == '\r') {
		c->state = CH_END_LF;
		return true;
	}
	if (c->state == CH_TRAILER) {
		c->state = CH_FIELD_NAME;
		return name;
	}
	if (c->state == CH_FIELD_NAME) {
		if (ch == ':')
			c->state = CH_FIELD;
		return name || ch == ':';
	}
	if (ch == '\r') {
		c->state = CH_FIELD_LF;
		return true;
	}
	return chunk_text(ch);
}

/* One character outside of chunk data; false when it is not allowed. */
static bool
chunk_step(struct chunk *c, char ch)
{
	switch (c->state) {
	case CH_SIZE:
		return ++c->line <= CHUNK_LINE_MAX && chunk_size_char(c, ch);
	case CH_EXT:
	case CH_EXT_NAME:
	case CH_EXT_NEXT:
	case CH_EXT_IS:
	case CH_EXT_VALUE:
	case CH_EXT_QUOTED:
	case CH_EXT_PAIR:
	case CH_EXT_DONE:
	case CH_EXT_GAP:
		return chunk_ext_char(c, ch);
	case CH_SIZE_LF:
		c->state = c->left > 0 ? CH_DATA : CH_TRAILER;
		c->line = 0;
		c->digits = 0;
		return ch == '\n';
	case CH_DATA_CR:
		c->state = CH_DATA_LF;
		return ch == '\r';
	case CH_DATA_LF:
		c->state = CH_SIZE;
		return ch == '\n';
	case CH_FIELD_LF:
		c->state = CH_TRAILER;
		return ch == '\n';
	case CH_END_LF:
		c->state = CH_DONE;
		return ch == '\n';
	default:
		return ++c->line <= CHUNK_TRAILER_MAX &&
		       chunk_trailer_char(c, ch);
	}
}

enum chunk_result
chunk_read(struct chunk *c, const char *p, size_t len, size_t *used_r,
	   const char **data_r, size_t *ndata_r)
{
	size_t i = 0, n;

	BUG_ON(c->state == CH_DONE);
	while (i < len) {
		if (c->state == CH_DATA) {
			n = (size_t)MIN(c->left, (uint64_t)(len - i));
			*data_r = p + i;
			*ndata_r = n;
			c->left -= n;
			if (c->left == 0)
				c->state = CH_DATA_CR;
			*used_r = i + n;
			return CHUNK_DATA;
		}
		if (!chunk_step(c, p[i++])) {
			*used_r = i;
			return CHUNK_BAD;
		}
		if (c->state == CH_DONE) {
			*used_r = i;
			return CHUNK_END;
		}
	}
	*used_r = i;
	return CHUNK_MORE;
}

size_t
chunk_head(char *out, uint64_t len)
{
	static const char hex[] = "0123456789abcdef";
	char t[16];
	size_t n = 0, k = 0;

	BUG_ON(len == 0);
	for (; len > 0; len >>= 4)
		t[n++] = hex[len & 15];
	while (n > 0)
		out[k++] = t[--n];
	out[k++] = '\r';
	out[k++] = '\n';
	return k;
}
