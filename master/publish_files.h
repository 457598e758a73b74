/*
 * publish_files: the inside of struct publish_files, for publish.c alone.
 */
#ifndef RMS_PUBLISH_FILES_H
#define RMS_PUBLISH_FILES_H

#include "master/publish.h"

/* A CERT message is at most 65,536 bytes with its other fields. */
#define FILES_CERT_MAX 65000

struct publish_files {
	char *cert[CONF_LISTENERS_MAX]; /* PEM, NULL without tls */
	size_t cert_len[CONF_LISTENERS_MAX];
	int key_fd[CONF_LISTENERS_MAX]; /* -1 without tls */
	int keytab_fd;			/* sealed memfd, -1 none */
	int ca_fd;			/* sealed memfd, -1 none */
};

#endif
