/*
 * differ: the same bytes read by our HTTP parser and by another, llhttp
 * (Debian's node-llhttp), and what becomes of them in each.
 *
 * Two parsers that take the same bytes for different messages are what request
 * smuggling is made of.  differ.def explains each way in which ours is not of
 * llhttp's opinion; whatever it does not explain is a fault.
 */
#ifndef RMS_DIFFER_H
#define RMS_DIFFER_H

#include <stdbool.h>
#include <stddef.h>

enum differ_kind { DIFFER_REQUEST, DIFFER_REPLY };

enum differ_outcome {
	DIFFER_MORE,  /* no whole message */
	DIFFER_TAKEN, /* one, and what may be behind it */
	DIFFER_REFUSED,
};

struct differ_text {
	char *p; /* owned */
	size_t len, size;
};

/* The first message of some bytes, as one parser sees it. */
struct differ_msg {
	enum differ_outcome outcome;
	const char *why; /* of DIFFER_REFUSED: a name or a text, static */
	size_t used;	 /* bytes that belong to the message */
	bool keep_alive;
	bool blank;	 /* ours: white space between the chunks */
	bool tab;	 /* ours: a tab beside a value about framing */
	bool no_body;	 /* ours: 1xx, 204 and 304, whatever the fields say */
	bool head_done;	 /* theirs: what follows is body and trailers */
	bool in_trailer; /* theirs: one of the trailers is about framing */
	struct differ_text start;  /* method, target, version; or status */
	struct differ_text fields; /* "lower-case name:value\n", no trailers */
	struct differ_text body;
};

/* Reads p[0..len), then the end of the connection.  Free m in any case. */
void differ_ours(struct differ_msg *m, enum differ_kind kind, const char *p,
		 size_t len);
void differ_theirs(struct differ_msg *m, enum differ_kind kind, const char *p,
		   size_t len);
void differ_free(struct differ_msg *m);

/*
 * In what way the two are not of one opinion: NULL when they are, else a key
 * that differ.def may have a row for (static, or in one of the two).
 */
const char *differ_way(const struct differ_msg *ours,
		       const struct differ_msg *theirs);

struct differ_row {
	bool stricter;	 /* we refuse what llhttp takes */
	const char *way; /* what differ_way() says of the example */
	enum differ_kind kind;
	const char *example;
	size_t len;
	const char *why;
};
const struct differ_row *differ_rows(size_t *n_r);

/* The row that explains a way, or NULL. */
const struct differ_row *differ_explain(enum differ_kind kind,
					const struct differ_msg *ours,
					const struct differ_msg *theirs);

/* --- for ours.c and theirs.c -------------------------------------------- */
void differ_init(struct differ_msg *m, size_t len);
void differ_add(struct differ_text *t, const char *p, size_t len);
/* A name in lower case and a value without white space around it. */
void differ_add_name(struct differ_text *t, const char *p, size_t len);
void differ_add_value(struct differ_text *t, const char *p, size_t len);

#endif
