/*
 * Purpose: what comes in from people and files: dates, secrets, URLs, and
 *          text that must not drive a terminal.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "tools/ctl/date.h"
#include "tools/ctl/probe.h"
#include "tools/ctl/secret.h"
#include "tools/ctl/soap.h"
#include "tools/ctl/text.h"

/* --- dates ------------------------------------------------------------- */

static void
test_dates(void **state)
{
	static const struct {
		const char *text;
		uint64_t seconds;
	} good[] = {
	    {"1970-01-01", 0},
	    {"2000-02-29", 951782400},
	    {"2027-01-31", 1801353600},
	    {"2027-01-31T18:00:00Z", 1801418400},
	    {"2027-01-31t18:00:00z", 1801418400},
	    {"2027-01-31 18:00:00.123456Z", 1801418400},
	    {"2027-01-31T18:00:00+02:00", 1801411200},
	    {"2027-01-31T18:00:00-05:30", 1801438200},
	    {"2100-03-01", 4107542400},
	    {"9999-12-31", 253402214400},
	};
	uint64_t t;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(date_parse(good[i].text, &t), 0);
		assert_int_equal(t, good[i].seconds);
	}
}

static void
test_what_is_no_date(void **state)
{
	static const char *const bad[] = {"",
					  "tomorrow",
					  "2027",
					  "2027-1-1",
					  "2027-13-01",
					  "2027-00-10",
					  "2027-02-29",
					  "2100-02-29",
					  "2027-04-31",
					  "1969-12-31",
					  "2027-01-31T",
					  "2027-01-31T18:00",
					  "2027-01-31T18:00:00",
					  "2027-01-31T24:00:00Z",
					  "2027-01-31T18:60:00Z",
					  "2027-01-31T18:00:61Z",
					  "2027-01-31T18:00:00.Z",
					  "2027-01-31T18:00:00Zx",
					  "2027-01-31T18:00:00+0200",
					  "2027-01-31x",
					  " 2027-01-31",
					  "1970-01-01T00:00:00+01:00",
					  "20270131"};
	uint64_t t;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (date_parse(bad[i], &t) != -EINVAL)
			fail_msg("\"%s\" was taken for a date", bad[i]);
}

/* --- secrets ----------------------------------------------------------- */

static char dir[] = "/tmp/rmsctl-test-XXXXXX";
static char path[64];
static char err[SECRET_ERR];

static void
file(const void *data, size_t len, mode_t mode)
{
	int fd;

	(void)unlink(path);
	fd = open(path, O_CREAT | O_WRONLY | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), (ssize_t)len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void
test_secret_from_file(void **state)
{
	struct secret s;

	(void)state;
	file("s3cret\n", 7, 0600);
	assert_int_equal(secret_from_file(&s, path, err), 0);
	assert_string_equal(s.s, "s3cret");
	file("s3cret\r\n", 8, 0400);
	assert_int_equal(secret_from_file(&s, path, err), 0);
	assert_string_equal(s.s, "s3cret");
	file(" with blanks ", 13, 0600);
	assert_int_equal(secret_from_file(&s, path, err), 0);
	assert_string_equal(s.s, " with blanks ");
	secret_wipe(&s);
	assert_int_equal(s.s[1], 0);
}

static void
test_secret_file_open_to_others(void **state)
{
	static const mode_t open_modes[] = {0640, 0604, 0620, 0601, 0666};
	struct secret s;

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		file("s3cret\n", 7, open_modes[i]);
		assert_int_equal(secret_from_file(&s, path, err), -EACCES);
		assert_non_null(strstr(err, "chmod 600"));
		assert_int_equal(s.len, 0);
	}
}

static void
test_secret_that_is_none(void **state)
{
	char big[SECRET_MAX + 3];
	struct secret s;

	(void)state;
	memset(big, 'a', sizeof(big));
	file("", 0, 0600);
	assert_int_equal(secret_from_file(&s, path, err), -EINVAL);
	file("\n", 1, 0600);
	assert_int_equal(secret_from_file(&s, path, err), -EINVAL);
	file("two\nlines\n", 10, 0600);
	assert_int_equal(secret_from_file(&s, path, err), -EINVAL);
	assert_int_equal(s.s[0], 0);
	file("nul\0byte", 8, 0600);
	assert_int_equal(secret_from_file(&s, path, err), -EINVAL);
	file(big, SECRET_MAX, 0600);
	assert_int_equal(secret_from_file(&s, path, err), 0);
	assert_int_equal(s.len, SECRET_MAX);
	big[SECRET_MAX] = '\n';
	file(big, SECRET_MAX + 1, 0600);
	assert_int_equal(secret_from_file(&s, path, err), 0);
	assert_int_equal(s.len, SECRET_MAX);
	big[SECRET_MAX] = 'a';
	file(big, SECRET_MAX + 1, 0600);
	assert_int_equal(secret_from_file(&s, path, err), -EFBIG);
	file(big, SECRET_MAX + 3, 0600);
	assert_int_equal(secret_from_file(&s, path, err), -EFBIG);
	assert_int_equal(secret_from_file(&s, dir, err), -EINVAL);
	assert_int_equal(secret_from_file(&s, "/nowhere", err), -ENOENT);
}

static void
test_secret_from_a_pipe(void **state)
{
	struct secret s;
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	assert_int_equal(write(p[1], "pi", 2), 2);
	assert_int_equal(write(p[1], "ped\n", 4), 4);
	close(p[1]);
	assert_int_equal(secret_from_fd(&s, p[0], "", err), 0);
	assert_string_equal(s.s, "piped");
	close(p[0]);
}

/* In a child: types once the echo is off (keys typed before are dropped). */
static void
type_when_quiet(int master, const char *keys)
{
	struct termios t;

	do {
		sched_yield();
		if (tcgetattr(master, &t) < 0)
			_exit(1);
	} while ((t.c_lflag & ECHO) != 0);
	_exit(write(master, keys, strlen(keys)) < 0);
}

/* Types `keys` at a terminal; seen_r gets what the terminal showed. */
static int
type(const char *keys, struct secret *s, char *seen_r, size_t size)
{
	int master, slave, r;
	ssize_t n;
	pid_t pid;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		type_when_quiet(master, keys);
	r = secret_from_fd(s, slave, "", err);
	waitpid(pid, NULL, 0);
	assert_int_equal(fcntl(master, F_SETFL, O_NONBLOCK), 0);
	n = read(master, seen_r, size - 1);
	seen_r[n < 0 ? 0 : n] = '\0';
	close(master);
	close(slave);
	return r;
}

static void
test_secret_at_a_terminal_is_not_echoed(void **state)
{
	struct secret s;
	char seen[64];

	(void)state;
	assert_int_equal(
	    type("wrong\025pas\177assword\r", &s, seen, sizeof(seen)), 0);
	assert_string_equal(s.s, "paassword");
	assert_string_equal(seen, "");
	assert_int_equal(type("half\003", &s, seen, sizeof(seen)), -ECANCELED);
	assert_int_equal(s.len, 0);
}

static void
test_secret_at_a_terminal_has_a_limit(void **state)
{
	char keys[SECRET_MAX + 3], seen[64];
	struct secret s;

	(void)state;
	memset(keys, 'a', sizeof(keys) - 1);
	keys[sizeof(keys) - 1] = '\0';
	keys[SECRET_MAX] = '\r';
	assert_int_equal(type(keys, &s, seen, sizeof(seen)), 0);
	assert_int_equal(s.len, SECRET_MAX);
	keys[SECRET_MAX] = 'a';
	keys[SECRET_MAX + 1] = '\r';
	assert_int_equal(type(keys, &s, seen, sizeof(seen)), -EFBIG);
	assert_int_equal(s.len, 0);
}

/* --- URLs -------------------------------------------------------------- */

static void
test_urls(void **state)
{
	static const struct {
		const char *text, *host, *base;
		unsigned port;
	} good[] = {
	    {"https://rms.contoso.test", "rms.contoso.test",
	     "https://rms.contoso.test:443/_wmcs", 443},
	    {"http://rms.contoso.test/", "rms.contoso.test",
	     "http://rms.contoso.test:80/_wmcs", 80},
	    {"HTTPS://h:8443/_wmcs", "h", "https://h:8443/_wmcs", 8443},
	    {"https://h/_WMCS/Licensing", "h", "https://h:443/_wmcs", 443},
	    {"https://[::1]:8443", "::1", "https://[::1]:8443/_wmcs", 8443},
	};
	struct probe_url u;
	char line[256];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(
		    probe_url_parse(&u, good[i].text, line, sizeof(line)), 0);
		assert_string_equal(u.host, good[i].host);
		assert_string_equal(u.base, good[i].base);
		assert_int_equal(u.port, good[i].port);
	}
}

static void
test_what_is_no_url_of_a_connector(void **state)
{
	static const char *const bad[] = {"",
					  "rms.contoso.test",
					  "ftp://h/_wmcs",
					  "https://",
					  "https://user:pw@h/",
					  "https://h/other",
					  "https://h/_wmcsx",
					  "https://h:0",
					  "https://h:70000",
					  "file:///etc/passwd",
					  "https://h h/"};
	struct probe_url u;
	char line[256];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (probe_url_parse(&u, bad[i], line, sizeof(line)) != -EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
}

/* --- SOAP -------------------------------------------------------------- */

static void
test_soap_elements(void **state)
{
	struct slice xml = SLICE_LIT(
	    "<?xml version=\"1.0\"?><!-- <Guid>no</Guid> -->"
	    "<s:Envelope><s:Body a='>'><x:Guid n=\"1\">{a}</x:Guid>"
	    "<Guid/><GuidHash>h</GuidHash>\n<Guid\t>b</Guid ></s:Body>");
	struct slice v, tag;
	size_t pos = 0;

	(void)state;
	assert_int_equal(soap_count(xml, "Guid"), 3);
	assert_true(soap_element(xml, "Guid", &pos, &v, &tag));
	assert_true(slice_is(v, "{a}"));
	assert_true(slice_is(soap_attr(tag, "n"), "1"));
	assert_int_equal(soap_attr(tag, "m").len, 0);
	assert_true(soap_element(xml, "Guid", &pos, &v, NULL));
	assert_int_equal(v.len, 0);
	assert_true(soap_element(xml, "Guid", &pos, &v, NULL));
	assert_true(slice_is(v, "b"));
	assert_false(soap_element(xml, "Guid", &pos, &v, NULL));
	assert_int_equal(soap_first(xml, "Envelope").len, 0); /* cut short */
	assert_int_equal(soap_count(SLICE_LIT("<b/x"), "b"), 0);
}

/* Every cut of an answer, in memory of exactly its size: ASan watches. */
static void
test_soap_cut_anywhere(void **state)
{
	static const char whole[] =
	    "<a><!-- c --><![CDATA[<b>]]><p:b x='y' z=\"<\">t</p:b><b/>"
	    "<?pi?></a>";

	(void)state;
	for (size_t n = 0; n < sizeof(whole); n++) {
		char *copy = malloc(n + (n == 0));
		struct slice xml = {copy, n}, tag, v;
		size_t pos = 0;

		assert_non_null(copy);
		memcpy(copy, whole, n);
		(void)soap_count(xml, "b");
		if (soap_element(xml, "b", &pos, &v, &tag))
			(void)soap_attr(tag, "z");
		free(copy);
	}
}

static void
test_soap_text_and_envelope(void **state)
{
	char mem[1024];
	struct sbuf b;

	(void)state;
	sbuf_init(&b, mem, sizeof(mem));
	soap_text(&b, SLICE_LIT("a &lt;b&gt; &amp;amp; &unknown; &"));
	assert_string_equal(mem, "a <b> &amp; &unknown; &");
	sbuf_init(&b, mem, sizeof(mem));
	soap_envelope(&b, "ServerService", "GetServerInfo", "<r/>", false);
	assert_false(b.cut);
	assert_non_null(strstr(mem, "<soap:Body><GetServerInfo xmlns=\"http://"
				    "microsoft.com/DRM/ServerService\"><r/>"));
	assert_null(strstr(mem, "VersionData"));
	sbuf_init(&b, mem, 64);
	soap_envelope(&b, "ServerService", "GetServerInfo", "", true);
	assert_true(b.cut);
}

/* --- text -------------------------------------------------------------- */

static void
assert_printed(const char *in, const char *out)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	text_put(f, in);
	fclose(f);
	assert_string_equal(text, out);
	free(text);
}

static void
test_text_cannot_drive_a_terminal(void **state)
{
	(void)state;
	assert_printed("Größe 木", "Größe 木");
	assert_printed("a\x1b[2Jb\n", "a\\x1b[2Jb\\x0a");
	assert_printed("\x7f\xc2\x9b!", "\\x7f\\xc2\\x9b!");
	assert_printed("x\xe2\x80\xaey", "x\\xe2\\x80\\xaey");
}

static void
test_durations_and_sizes(void **state)
{
	char t[TEXT_MAX];

	(void)state;
	text_duration(t, 0);
	assert_string_equal(t, "0 s");
	text_duration(t, 3599);
	assert_string_equal(t, "59 min 59 s");
	text_duration(t, 90000);
	assert_string_equal(t, "1 d 1 h");
	text_bytes(t, 999);
	assert_string_equal(t, "999 B");
	text_bytes(t, 1550);
	assert_string_equal(t, "1.5 kB");
	text_bytes(t, 999999);
	assert_string_equal(t, "999.9 kB");
	text_bytes(t, UINT64_MAX);
	assert_string_equal(t, "18.4 EB");
	text_time(t, 0);
	assert_string_equal(t, "-");
	text_time(t, 1801418400);
	assert_string_equal(t, "2027-01-31T18:00:00Z");
}

static int
setup(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/secret", dir);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	(void)unlink(path);
	return rmdir(dir);
}

static void
test_dates_so_long_ago(void **state)
{
	static const char *const bad[] = {
	    "",	   "d",	  "9",	 "9q",		"9dd",
	    "-9d", " 9d", "9 d", "4294967296m", "2000d"};
	uint64_t t;

	(void)state;
	assert_int_equal(date_ago("90d", 100 * 86400, &t), 0);
	assert_int_equal(t, 10 * 86400);
	assert_int_equal(date_ago("12h", 100 * 86400, &t), 0);
	assert_int_equal(t, 100 * 86400 - 12 * 3600);
	assert_int_equal(date_ago("0m", 60, &t), 0);
	assert_int_equal(t, 60);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(date_ago(bad[i], 1000 * 86400, &t), -EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_dates),
	    cmocka_unit_test(test_what_is_no_date),
	    cmocka_unit_test(test_secret_from_file),
	    cmocka_unit_test(test_secret_file_open_to_others),
	    cmocka_unit_test(test_secret_that_is_none),
	    cmocka_unit_test(test_secret_from_a_pipe),
	    cmocka_unit_test(test_secret_at_a_terminal_is_not_echoed),
	    cmocka_unit_test(test_secret_at_a_terminal_has_a_limit),
	    cmocka_unit_test(test_urls),
	    cmocka_unit_test(test_what_is_no_url_of_a_connector),
	    cmocka_unit_test(test_soap_elements),
	    cmocka_unit_test(test_soap_cut_anywhere),
	    cmocka_unit_test(test_soap_text_and_envelope),
	    cmocka_unit_test(test_text_cannot_drive_a_terminal),
	    cmocka_unit_test(test_durations_and_sizes),
	    cmocka_unit_test(test_dates_so_long_ago),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
