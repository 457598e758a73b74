/*
 * lookup: what it costs to decide about an account with many groups.
 *
 *	lookup ENTRIES SIDS SECONDS
 *
 * Builds a table of so many groups, one of which the account is in (its last
 * SID), then decides again and again.  The SIDs differ at every turn, so that
 * no cache of the CPU knows them from the turn before.  Prints one line:
 *	entries= sids= decisions= us= build_ms=
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "shm/base/log.h"
#include "shm/table.h"

#define NOW	  UINT64_C(1800000000) /* seconds; nothing expires */
#define ACCOUNTS  64		       /* that take turns */
#define SID_TEXT  "S-1-5-21-1004336348-1177238915-682003330-%u"
#define FIRST_RID 1000u

static double
cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* rid as a SID's last part; 0 or the end. */
static size_t
make_sid(unsigned rid, uint8_t out[SID_BYTES_MAX])
{
	char text[SID_TEXT_MAX];
	int n;

	snprintf(text, sizeof(text), SID_TEXT, rid);
	n = sid_parse(slice_of(text), out);
	if (n <= 0)
		exit(2);
	return (size_t)n;
}

static struct table *
make_table(size_t entries)
{
	struct table_in *in = calloc(entries, sizeof(*in));
	uint8_t(*sid)[SID_BYTES_MAX] = calloc(entries, sizeof(*sid));
	const char *why = "out of memory";
	struct table *t = NULL;
	int fd;

	if (in == NULL || sid == NULL)
		exit(2);
	for (size_t i = 0; i < entries; i++)
		in[i] = (struct table_in){
		    .id = (uint32_t)i + 1,
		    .kind = SUBJECT_SID,
		    .key = {(const char *)sid[i],
			    make_sid(FIRST_RID + (unsigned)i, sid[i])},
		    .role = SERVER_SHAREPOINT,
		    .name = SLICE_LIT("a group"),
		};
	fd = table_build(in, entries, 1);
	if (fd >= 0)
		t = table_map(fd, &why);
	if (t == NULL) {
		fprintf(stderr, "lookup: %s\n", why);
		exit(2);
	}
	close(fd);
	free(in);
	free(sid);
	return t;
}

/* The last of its SIDs is an entry of the table, the others are not. */
static void
make_account(struct identity *id, size_t number, size_t sids, size_t entries)
{
	memset(id, 0, sizeof(*id));
	id->mech = MECH_KERBEROS;
	snprintf(id->principal, sizeof(id->principal), "host%zu$@BENCH.TEST",
		 number);
	id->nsids = sids;
	id->sids = calloc(sids, sizeof(*id->sids));
	if (id->sids == NULL)
		exit(2);
	for (size_t i = 0; i < sids; i++) {
		size_t rid = FIRST_RID + entries + number * sids + i;

		if (i + 1 == sids)
			rid = FIRST_RID + number * 977 % entries;
		id->sids[i].source = i == 0 ? SID_USER : SID_GROUP;
		id->sids[i].len =
		    (uint8_t)make_sid((unsigned)rid, id->sids[i].bytes);
	}
}

int
main(int argc, char **argv)
{
	static struct identity account[ACCOUNTS];
	size_t entries, sids, n = 0;
	double seconds, begin, build, used;
	struct table_hit hit;
	struct table *t;

	if (argc != 4) {
		fputs("lookup ENTRIES SIDS SECONDS\n", stderr);
		return 2;
	}
	entries = strtoul(argv[1], NULL, 10);
	sids = strtoul(argv[2], NULL, 10);
	seconds = strtod(argv[3], NULL);
	if (entries == 0 || sids == 0 || sids > IDENTITY_SIDS_MAX)
		return 2;
	begin = cpu_s();
	t = make_table(entries);
	build = cpu_s() - begin;
	for (size_t i = 0; i < ACCOUNTS; i++)
		make_account(&account[i], i, sids, entries);
	begin = cpu_s();
	do {
		for (size_t i = 0; i < ACCOUNTS; i++) {
			table_decide(t, &account[i], NOW, &hit);
			if (hit.verdict != VERDICT_ALLOW || hit.matches != 1) {
				fputs("lookup: a wrong decision\n", stderr);
				return 1;
			}
		}
		n += ACCOUNTS;
		used = cpu_s() - begin;
	} while (used < seconds);
	printf("entries=%zu sids=%zu decisions=%zu us=%.3f build_ms=%.1f\n",
	       entries, sids, n, used * 1e6 / (double)n, build * 1e3);
	table_unmap(&t);
	return 0;
}
