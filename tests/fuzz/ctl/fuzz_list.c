/*
 * Feeds arbitrary bytes to the reader of files of servers, as CSV and as
 * JSON: what it gives on keeps the bounds of a record, and every fault has a
 * line.  A CSV record that was read is read the same when it is written again.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/ctl/csv.h"
#include "tools/ctl/listfile.h"

#include "shm/base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
on_row(void *arg, const struct bulk_row *row)
{
	(void)arg;
	if (row->line == 0 || row->subject[0] == '\0' || row->role[0] == '\0' ||
	    memchr(row->subject, '\0', sizeof(row->subject)) == NULL ||
	    memchr(row->name, '\0', sizeof(row->name)) == NULL ||
	    memchr(row->note, '\0', sizeof(row->note)) == NULL ||
	    strpbrk(row->name, "\r\n") != NULL)
		abort();
	return 0;
}

static void
on_bad(void *arg, uint32_t line, const char *why)
{
	(void)arg;
	if (line == 0 || why[0] == '\0')
		abort();
}

static void
read_list(const uint8_t *data, size_t size, enum listfile_format format)
{
	struct listfile l = {
	    .in = fmemopen((void *)(uintptr_t)data, size, "r"),
	    .format = format,
	    .row = on_row,
	    .bad = on_bad,
	};

	if (l.in == NULL)
		return;
	if (listfile_read(&l) != 0)
		abort();
	fclose(l.in);
}

static void
write_again(const struct csv *c)
{
	char *mem = NULL, err[CSV_ERR_MAX];
	size_t len;
	FILE *f = open_memstream(&mem, &len);
	struct csv *back = malloc(sizeof(*back));

	for (size_t i = 0; i < c->n; i++) {
		if (i > 0)
			putc(',', f);
		csv_put(f, c->field[i]);
	}
	putc('\n', f);
	fclose(f);
	f = fmemopen(mem, len, "r");
	csv_init(back, f);
	back->started = true; /* fields may begin like a byte order mark */
	/* An only field that is empty makes an empty line. */
	if (c->n > 1 || c->field[0].len > 0) {
		if (csv_next(back, err) != 1 || back->n != c->n)
			abort();
		for (size_t i = 0; i < c->n; i++)
			/* CR CR LF is read as CR LF, and that as LF */
			if (memmem(c->field[i].p, c->field[i].len, "\r\n", 2) ==
				NULL &&
			    !slice_eq(back->field[i], c->field[i]))
				abort();
	}
	fclose(f);
	free(back);
	free(mem);
}

static void
read_csv(const uint8_t *data, size_t size)
{
	FILE *f = fmemopen((void *)(uintptr_t)data, size, "r");
	struct csv *c = malloc(sizeof(*c));
	char err[CSV_ERR_MAX];
	int r;

	if (f != NULL) {
		csv_init(c, f);
		while ((r = csv_next(c, err)) != 0) {
			if (r == 1)
				write_again(c);
			else if (r == -EIO)
				break;
		}
		fclose(f);
	}
	free(c);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	read_list(data, size, LISTFILE_AUTO);
	read_list(data, size, LISTFILE_JSON);
	read_csv(data, size);
	return 0;
}
