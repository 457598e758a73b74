/*
 * publish_files: the inside of struct publish_files, for publish*.c alone.
 */
#ifndef RMS_PUBLISH_FILES_H
#define RMS_PUBLISH_FILES_H

#include "master/publish.h"
#include "master/ticket_ring.h"
#include "shm/msg.h"

struct publish_files {
	int pem_fd[CONF_LISTENERS_MAX][PEM_MAX]; /* sealed memfds, -1 none */
	/* Likewise, of each certificate; PEM_CHAIN above is not used. */
	int chain_fd[CONF_LISTENERS_MAX][CONF_CERTS_MAX];
	int key_fd[CONF_LISTENERS_MAX][CONF_CERTS_MAX];
	int ocsp_fd[CONF_LISTENERS_MAX][CONF_CERTS_MAX];
	uint64_t ocsp_until_s[CONF_LISTENERS_MAX][CONF_CERTS_MAX];
	size_t ocsp_left_out; /* files of responses that are no certificate's */
	int keytab_fd;	      /* sealed memfd, -1 none */
	int ntlm_users_fd;    /* -1 none */
	int ca_fd;	      /* sealed memfd, -1 none */
	int proxy_ca_fd;      /* the same; -1: those of ca_fd */
	bool has_ticket_secret;
	uint8_t ticket_secret[TICKET_SECRET_BYTES]; /* wiped */
};

/* Whether a file is at path that holds something else than its copy. */
MUST_USE bool publish_files_differ(const char *path, int copy_fd);

#endif
