/*
 * soap: looks into an envelope while it passes: which element its Body begins
 * with, and how many of one kind there are below.
 *
 * Not an XML parser: nothing is decided by its answer, and the text travels on
 * as it came.  Fed with a text in any pieces it says the same of it.  Constant
 * memory, no allocation.  Of a text that is not well-formed it says something,
 * or that it is not to be read.
 */
#ifndef RMS_SOAP_H
#define RMS_SOAP_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/base/str.h"

/* Names and values that are compared; longer ones are none of ours. */
#define SOAP_TOKEN_MAX 64
/* Prefix of a namespace that is, likewise. */
#define SOAP_PREFIX_MAX 15
/* Declarations in Envelope, Body and first element that matter. */
#define SOAP_NS_MAX 4
/* Elements within each other.  XrML of a licence has a dozen. */
#define SOAP_DEPTH_MAX 128
/* Elements of a path. */
#define SOAP_PATH_MAX 4

enum soap_state {
	SOAP_READING,
	SOAP_FIRST, /* soap_first() is known: soap_count() or soap_stop() */
	SOAP_DONE,  /* the rest is not looked at */
};

/* Why it is not looked at. */
enum soap_unread {
	SOAP_READ,	 /* it was */
	SOAP_CODED,	 /* Content-Encoding (said by the caller) */
	SOAP_ENCODING,	 /* not UTF-8 */
	SOAP_DOCTYPE,	 /* forbidden in SOAP; entities could mean anything */
	SOAP_MALFORMED,	 /* no XML */
	SOAP_NO_SOAP,	 /* XML, and no envelope that we know */
	SOAP_LIMIT,	 /* deeper or longer than a bound of ours */
	SOAP_UNEXPECTED, /* an envelope of something else (the caller) */
	SOAP_UNREAD_MAX,
};
const char *soap_unread_name(enum soap_unread u); /* "" for SOAP_READ */

enum soap_ns {
	SOAP_NS_OTHER,
	SOAP_NS_11,
	SOAP_NS_12,
	SOAP_NS_DRM, /* below http://microsoft.com/DRM/ */
};

/*
 * What is counted below the first element: elements at a path ("A/B": B's that
 * are children of an A that is a child of it).  With a mark those are counted
 * too that have an element of this name somewhere within, with nil one that is
 * null (xsi:nil).  By local names.
 */
struct soap_path {
	const char *path, *mark;
	bool nil;
};

struct soap {
	/* answers */
	uint8_t state;	/* enum soap_state */
	uint8_t unread; /* enum soap_unread */
	uint8_t ns;	/* enum soap_ns of the Envelope */
	uint8_t first_ns;
	uint32_t items, marked;

	/* where in the text, and what of the present tag is known */
	uint8_t at, stage, quote;
	char last[2]; /* bytes before, where they matter */
	bool fresh, slash, hit, mark_hit, want, nil, over;
	uint32_t depth; /* elements that are open */

	/* counting */
	const struct soap_path *what;
	uint8_t matched, npath; /* open elements of the path; its length */
	uint8_t path[SOAP_PATH_MAX + 1]; /* where its names start */
	bool marking;			 /* in an item that has no mark yet */

	uint8_t nns;
	struct {
		uint8_t ns, depth, len;
		char prefix[SOAP_PREFIX_MAX];
	} decl[SOAP_NS_MAX];

	/* the part of a token that came in earlier pieces; the element's name,
	 * while its attributes are read */
	uint8_t token_len, name_len;
	char token[SOAP_TOKEN_MAX], name[SOAP_TOKEN_MAX];
};

void soap_init(struct soap *s);
/*
 * Looks at the next bytes.  Returns how many it took: fewer than n only when
 * it is not SOAP_READING any more.
 */
size_t soap_feed(struct soap *s, const char *p, size_t n);

/* Nothing was fed yet. */
bool soap_is_new(const struct soap *s);

/* SOAP_FIRST: the local name of the Body's first element; its namespace is
 * first_ns.  Valid until the next call. */
struct slice soap_first(const struct soap *s);
/* SOAP_FIRST: go on, and count.  what is borrowed for good. */
void soap_count(struct soap *s, const struct soap_path *what);
/* The rest is not of interest, or with a reason not to be read. */
void soap_stop(struct soap *s, enum soap_unread why);

#endif
