/*
 * store: what the organisation shares, durable, in LMDB.  Master only.
 *
 * Every change is one transaction that is on disk when the call returns
 * (MDB_NOSYNC and friends are off), with a generation that grows by one, the
 * author, the time and what is needed to undo it (history).  kill -9 at any
 * moment leaves the last committed generation.  The map grows by itself; a
 * full disk is -ENOSPC with nothing changed.
 *
 * One process has the store at a time: store_open() takes a lock on a file in
 * the directory and refuses with -EBUSY, naming the holder's pid.  LMDB itself
 * must never be opened twice in a process.
 *
 * On failure a call that takes err has written one line into it: what, why,
 * what would do.  A change that changes nothing (a setting to the value it
 * has) makes no generation.
 */
#ifndef RMS_STORE_H
#define RMS_STORE_H

#include <stdbool.h>

#include "conf/conf.h"
#include "shm/base/bug.h"
#include "shm/base/str.h"
#include "shm/msg.h"
#include "shm/table.h"

struct seal;
struct store;

#define STORE_SCHEMA 1
#define STORE_ERR    512 /* room for an error line */

/* Who asks for a change, for the history. */
struct store_author {
	char name[128]; /* "uid 0 (root)" */
};

/*
 * Opens or makes the store in dir (made 0700 when missing; refused when
 * others may enter).  s is borrowed for the store's life.  0 or -errno with a
 * line in err: -EBUSY (second master), -EPROTO (written by a newer schema;
 * nothing is touched), -EACCES, -ENOSPC, -EBADMSG (the sealing key is not the
 * one that the secrets were sealed with), -EUCLEAN (damaged, or gone: a store
 * was made here and data.mdb is missing or empty) ...  A store without secrets
 * opens under any key, which is its key from then on.
 *
 * With s NULL no store is made (-ENOENT) and all but secrets can be read and
 * changed: store_cred_put() and store_creds_open() may not be called.
 */
MUST_USE int store_open(struct store **st_r, const char *dir, struct seal *s,
			char err[STORE_ERR]);
void store_close(struct store **st);

uint64_t store_generation(struct store *st);
/* Bytes of the file in use, and size of the map, which grows by itself. */
void store_space(struct store *st, uint64_t *used_r, uint64_t *size_r);

/* --- settings (conf/settings.def) ------------------------------------ */
/* Puts the stored settings into c (others keep their values), and the
 * credential numbers of the roles into c->role_credential.  A stored value
 * that this version does not accept is logged and left out. */
MUST_USE int store_settings_get(struct store *st, struct conf *c);
/* Checks and stores one.  -ENOENT, -EINVAL, -ERANGE with err. */
MUST_USE int store_setting_set(struct store *st, const char *name,
			       const char *text, const struct store_author *who,
			       char err[STORE_ERR]);

/* --- credentials ----------------------------------------------------- */
struct store_cred {
	uint32_t id;
	enum cred_kind kind;
	char name[64];
	char client_id[256];
	uint64_t changed; /* CLOCK_REALTIME ns */
};
/* Adds, or replaces the one of that name (same id), which must be of the same
 * kind: -EEXIST.  A proxy's user has no colon (RFC 7617 2).  secret is sealed;
 * the caller wipes its own.  It is taken as it is: without the line break at
 * the end of a file.  -EINVAL, -ENOSPC (more than MSG_CREDS_MAX) ... */
MUST_USE int store_cred_put(struct store *st, enum cred_kind kind,
			    const char *name, const char *client_id,
			    struct slice secret, const struct store_author *who,
			    char err[STORE_ERR]);
MUST_USE int store_cred_remove(struct store *st, const char *name,
			       const struct store_author *who,
			       char err[STORE_ERR]);
/* Without secrets.  Number of them (<= MSG_CREDS_MAX) or -errno. */
MUST_USE int store_creds_list(struct store *st,
			      struct store_cred out_r[MSG_CREDS_MAX]);
/* With secrets, for the cloud agent; the caller wipes *out_r.  -EBADMSG when
 * one does not open (logged); *out_r is then zeros. */
MUST_USE int store_creds_open(struct store *st, struct msg_creds *out_r);

/* --- authorized servers ---------------------------------------------- */
/* 2553-12-31T23:59:59Z: as nanoseconds it is still a uint64_t. */
#define STORE_EXPIRES_MAX UINT64_C(18429292799)

struct store_server {
	uint32_t id;
	enum subject_kind kind;
	enum server_role role;
	uint64_t expires; /* CLOCK_REALTIME s, <= STORE_EXPIRES_MAX; 0 never */
	uint64_t added;	  /* CLOCK_REALTIME ns */
	char subject[TABLE_KEY_MAX]; /* text: S-1-..., principal, cert */
	char name[TABLE_NAME_MAX];   /* for people; may be empty */
	char note[TABLE_NAME_MAX];
};
/*
 * Adds one; in->id and in->added are ignored.  The kind follows from the
 * subject: "S-1-..." is a SID, else a Kerberos principal (with a realm) or
 * DOMAIN\name, both exact in case; "cert:SUBJECT" a certificate.  It is kept
 * in its one form (store_subject.c) and is at most 510 bytes.  -EEXIST when
 * the subject is there already (err names its entry and role), -EINVAL.
 */
MUST_USE int store_server_add(struct store *st, const struct store_server *in,
			      const struct store_author *who, uint32_t *id_r,
			      char err[STORE_ERR]);
/* By number or by subject.  -ENOENT; -EINVAL when it can be neither. */
MUST_USE int store_server_remove(struct store *st, const char *subject_or_id,
				 const struct store_author *who,
				 char err[STORE_ERR]);
/* Visits in order of number until fn returns non-zero, which is returned.  fn
 * may read the store but not change it. */
MUST_USE int store_servers_each(struct store *st,
				int (*fn)(void *arg,
					  const struct store_server *s),
				void *arg);
MUST_USE int store_server_find(struct store *st, const char *subject_or_id,
			       struct store_server *out_r);
size_t store_servers_count(struct store *st);

/* The same from the first number above `after` on. */
MUST_USE int store_servers_from(struct store *st, uint32_t after,
				int (*fn)(void *arg,
					  const struct store_server *s),
				void *arg);

/* The snapshot of the present generation.  Descriptor (caller's) or -errno. */
MUST_USE int store_table_build(struct store *st);

/* --- edits of the list, which somebody may object to ------------------ */
/* How the records of an import meet the entries that are there. */
enum store_merge {
	STORE_MERGE_ADD,     /* one that differs from its entry is an error */
	STORE_MERGE_UPDATE,  /* its entry becomes like it */
	STORE_MERGE_REPLACE, /* and an entry that no record names goes */
};

/* What an edit comes to, known before it is committed. */
struct store_effect {
	size_t added, changed, removed;
	size_t same;	/* records of an import that change nothing */
	size_t expired; /* of them, records whose end has passed already */
	size_t before, after;	      /* entries */
	bool live_before, live_after; /* one that has not expired */
	size_t wide;		      /* see below */
	struct store_server first_wide;
};
/*
 * wide counts the entries that this edit gives a well-known wide group
 * (wide.h) the role exchange by, or for longer than before; one that has it
 * already and keeps it, whatever else is changed, does not count.
 */

/* Where an import's records come from and its faults go to.  All are called
 * again from the start when the transaction has to run again. */
struct store_import {
	enum store_merge merge;
	const char *from; /* for the history: name of a file */
	size_t bytes;	  /* about as large as the records are; may be 0 */
	/* To the first record.  No fault is known yet. */
	void (*rewind)(void *arg);
	/* 1 with the next one and its line, 0 after the last, -errno. */
	int (*next)(void *arg, struct store_server *s_r, uint32_t *line_r);
	/* A record that cannot be taken: the import fails with -EINVAL when
	 * all have been looked at. */
	void (*bad)(void *arg, uint32_t line, const char *why);
	/* A change that is made; was NULL: added, now NULL: removed.  May be
	 * NULL. */
	void (*note)(void *arg, const struct store_server *was,
		     const struct store_server *now);
	void *arg;
};

enum store_edit_kind {
	STORE_EDIT_ADD,	   /* in */
	STORE_EDIT_UPDATE, /* which; those of in that `fields` names */
	STORE_EDIT_REMOVE, /* which */
	STORE_EDIT_IMPORT, /* import */
};
enum store_field {
	STORE_FIELD_ROLE = 1,
	STORE_FIELD_NAME = 2,
	STORE_FIELD_NOTE = 4,
	STORE_FIELD_EXPIRES = 8,
};

struct store_edit {
	enum store_edit_kind kind;
	const struct store_server *in;
	unsigned fields;
	const char *which; /* number or subject */
	const struct store_import *import;
	bool dry_run; /* everything but the commit */
	/*
	 * Asked when all is known and nothing committed.  Not 0: -errno with
	 * a line in err, and nothing is changed.
	 */
	int (*judge)(void *arg, const struct store_edit *e,
		     char err[STORE_ERR]);
	void *arg;
	/* results, valid from judge() on */
	struct store_effect effect;
	struct store_server server; /* added, updated or removed */
};
/*
 * One edit, whole or not at all: 0 or -errno with a line in err.  -ENOENT and
 * -EEXIST as for the single calls above; -EINVAL when records are bad;
 * -ENOSPC above TABLE_ENTRIES_MAX; what judge() said.
 */
MUST_USE int store_edit(struct store *st, struct store_edit *e,
			const struct store_author *who, char err[STORE_ERR]);

/* --- what was seen ----------------------------------------------------- */
/*
 * Rows that are nobody's change: they make no generation and no history, and
 * losing them costs nobody access.  What is in them is their owner's matter
 * (seen_record.c); a row is at most 8 kB.
 */
struct seen_key;
struct store_seen; /* a batch under way */
/*
 * One durable transaction: fill() puts the rows.  It runs again after the map
 * had to grow.  0, or -errno with a line in err, and no row is there then.
 */
MUST_USE int store_seen_put(struct store *st,
			    int (*fill)(void *arg, struct store_seen *w),
			    void *arg, char err[STORE_ERR]);
MUST_USE int store_seen_row(struct store_seen *w, struct seen_key key,
			    struct slice record);
/* Visits all until fn returns non-zero, which is returned. */
MUST_USE int store_seen_each(struct store *st,
			     int (*fn)(void *arg, struct seen_key key,
				       struct slice record),
			     void *arg);

/* --- history --------------------------------------------------------- */
/* The last 10,000 changes are kept, each with all that undoing it needs. */
struct store_change {
	uint64_t generation;
	uint64_t when; /* CLOCK_REALTIME ns */
	char author[128];
	char what[512]; /* "set tenant_url: "" -> "https://..."", no secret */
};
/* Newest first, at most max.  Number of them or -errno. */
MUST_USE int store_history(struct store *st, struct store_change *out_r,
			   size_t max);

#endif
