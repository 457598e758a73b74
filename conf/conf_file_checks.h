/*
 * conf_file_checks: what conf_file_check.c and conf_file_certs.c share, no
 * others.
 */
#ifndef RMS_CONF_FILE_CHECKS_H
#define RMS_CONF_FILE_CHECKS_H

#include "conf/conf_file_parts.h"

struct check {
	const char *path;
	const struct conf *c;
	struct conf_errors *e;
	struct conf_lines lines;
};

/* What an error is about: a row and the line that gave it its value. */
struct spot {
	struct check *k;
	const char *what; /* "keytab", or "listener web: key" */
	unsigned line;
};

/* Where a row of the node, or of listener i, has its value from; text holds
 * what the spot points to. */
void check_node_spot(struct check *k, const char *name, struct spot *s_r);
void check_listener_spot(struct check *k, size_t i, const char *name,
			 char *text, size_t size, struct spot *s_r);

/* Adds an error; why is "why, what would do", value may be empty. */
void check_fault(const struct spot *s, const char *value, const char *why);
/* Likewise a warning. */
void check_warn(const struct spot *s, const char *value, const char *why);

/*
 * Reads a file that the directive names; private: nobody but its owner may
 * reach it.  NULL after a report.  The caller frees, and wipes len bytes.
 */
char *check_read(const struct spot *s, const char *file, size_t max,
		 bool private, size_t *len_r);
void check_wipe_free(char *data, size_t len);

/* --- conf_file_certs.c ------------------------------------------------- */
/* Certificates, keys and what else a listener's file names hold. */
void check_certs(struct check *k, size_t i);
void check_cloud_ca(struct check *k);

/* --- conf_file_ocsp.c -------------------------------------------------- */
/* The responses of certificate_ocsp, of listener i. */
void check_ocsp(struct check *k, size_t i);

#endif
