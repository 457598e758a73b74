/*
 * Purpose: whole runs of rmsctl against a control server that answers what
 *          the test says: what is sent, what is printed, the exit status.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/ctl/ctl.h"

#define ARGV_MAX 16

static char dir[] = "/tmp/rmsctl-test-XXXXXX";
static char sock[64];

/* What the server got, shared with its process. */
static struct request {
	uint32_t len;
	char bytes[4096];
} * request;

static char *out_text, *err_text;

/* --- the server -------------------------------------------------------- */

static int
listen_at(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)unlink(path);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

static void
read_request(int fd)
{
	uint32_t le;

	if (recv(fd, &le, 4, MSG_WAITALL) != 4)
		_exit(1);
	request->len = le32toh(le);
	if (request->len > sizeof(request->bytes) ||
	    recv(fd, request->bytes, request->len, MSG_WAITALL) !=
		(ssize_t)request->len)
		_exit(1);
}

/* A process that takes one request, answers these bytes and closes. */
static pid_t
serve(const void *bytes, size_t len)
{
	int fd = listen_at(sock), c;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		c = accept(fd, NULL, NULL);
		if (c < 0)
			_exit(1);
		read_request(c);
		_exit(send(c, bytes, len, MSG_NOSIGNAL) < 0);
	}
	close(fd);
	return pid;
}

/* The framed form of JSON texts, one after the other. */
static size_t
frame(char *to, const char *json)
{
	uint32_t le = htole32((uint32_t)strlen(json));

	memcpy(to, &le, 4);
	memcpy(to + 4, json, strlen(json));
	return 4 + strlen(json);
}

/* --- the client -------------------------------------------------------- */

static int
run_words(char **argv, int argc)
{
	size_t n;
	FILE *out, *err;
	int status;

	free(out_text);
	free(err_text);
	out = open_memstream(&out_text, &n);
	err = open_memstream(&err_text, &n);
	status = ctl_main(argc, argv, out, err);
	fclose(out);
	fclose(err);
	return status;
}

static int
run(const char *first, ...)
{
	static char storage[ARGV_MAX][256];
	char *argv[ARGV_MAX];
	int argc = 0;
	va_list ap;

	va_start(ap, first);
	for (const char *w = "rmsctl"; w != NULL;
	     w = argc == 1 ? first : va_arg(ap, const char *)) {
		assert_true(argc < ARGV_MAX);
		snprintf(storage[argc], sizeof(storage[0]), "%s", w);
		argv[argc] = storage[argc];
		argc++;
	}
	va_end(ap);
	return run_words(argv, argc);
}

/* Runs with the server answering this object. */
#define RUN(json, ...)                                             \
	({                                                         \
		static char reply_[16384];                         \
		pid_t pid_ = serve(reply_, frame(reply_, (json))); \
		int status_ = run(__VA_ARGS__, NULL);              \
		waitpid(pid_, NULL, 0);                            \
		status_;                                           \
	})

/* Runs with the server answering these bytes as they are. */
#define RUN_RAW(bytes, len, ...)                      \
	({                                            \
		pid_t pid_ = serve((bytes), (len));   \
		int status_ = run(__VA_ARGS__, NULL); \
		waitpid(pid_, NULL, 0);               \
		status_;                              \
	})

static void
assert_says(const char *text, const char *what)
{
	if (strstr(text, what) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", text, what);
}

/* Arguments as sent, with "|" for the NUL. */
static void
assert_sent(const char *args)
{
	char got[sizeof(request->bytes) + 1];

	memcpy(got, request->bytes, request->len);
	got[request->len] = '\0';
	for (size_t i = 0; i < request->len; i++)
		if (got[i] == '\0')
			got[i] = '|';
	assert_string_equal(got, args);
}

/* --- the way there and back -------------------------------------------- */

static void
test_socket_missing(void **state)
{
	(void)state;
	(void)unlink(sock);
	assert_int_equal(run("status", NULL), CTL_UNREACHABLE);
	assert_says(err_text, "is the connector running?");
	assert_string_equal(out_text, "");
}

static void
test_socket_refuses(void **state)
{
	(void)state;
	close(listen_at(sock));
	assert_int_equal(run("status", NULL), CTL_UNREACHABLE);
	assert_says(err_text, "nobody answers at");
}

static void
test_socket_path_too_long(void **state)
{
	char path[200];

	(void)state;
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(run("-s", path, "status", NULL), CTL_UNREACHABLE);
	assert_says(err_text, "longer than 107 bytes");
}

static void
test_bad_replies(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *says;
	} bad[] = {
	    {"", 0, "closed without an answer"},
	    {"\x02", 1, "in the middle"},
	    {"\x20\0\0\0{\"ok\":true", 13, "in the middle"},
	    {"\xff\xff\xff\xff", 4, "claims 4294967295 bytes"},
	    {"\x01\0\0\x04", 4, "claims 67108865 bytes"},
	    {"\x04\0\0\0oops", 8, "is not JSON"},
	    {"\0\0\0\0", 4, "is not JSON"},
	    {"\x02\0\0\0[]", 6, "not one of a connector"},
	    {"\x02\0\0\0{}", 6, "not one of a connector"},
	    {"\x0b\0\0\0{\"ok\":true}HTTP", 15, NULL},
	    {"HTTP/1.1 400 Bad Request", 24, "claims 1347703880 bytes"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int r = RUN_RAW(bad[i].bytes, bad[i].len, "reload");

		assert_int_equal(r, bad[i].says == NULL ? CTL_OK
							: CTL_UNREACHABLE);
		if (bad[i].says != NULL)
			assert_says(err_text, bad[i].says);
	}
}

static void
test_deep_json_is_refused(void **state)
{
	char bytes[8192];
	uint32_t le = htole32(8000);

	(void)state;
	memcpy(bytes, &le, 4);
	memset(bytes + 4, '[', 8000);
	assert_int_equal(RUN_RAW(bytes, 8004, "reload"), CTL_UNREACHABLE);
	assert_says(err_text, "is not JSON");
}

static void
test_refused_by_the_connector(void **state)
{
	static const char reply[] =
	    "{\"ok\":false,\"error\":\"no such setting: fo\\u001bo\","
	    "\"code\":\"ENOENT\"}";

	(void)state;
	assert_int_equal(RUN(reply, "get", "foo"), CTL_REFUSED);
	assert_string_equal(err_text, "rmsctl: no such setting: fo\\x1bo\n");
	assert_int_equal(RUN(reply, "get", "foo", "--json"), CTL_REFUSED);
	assert_says(out_text, "\"code\": \"ENOENT\"");
	assert_string_equal(err_text, "");
}

static void
test_json_is_the_object_as_it_came(void **state)
{
	(void)state;
	assert_int_equal(RUN("{\"ok\":true,\"set\":7,\"new\":[1,\"ä\"]}",
			     "--json", "reload"),
			 CTL_OK);
	assert_string_equal(out_text, "{\n  \"ok\": true,\n  \"set\": 7,\n"
				      "  \"new\": [\n    1,\n    \"ä\"\n  ]\n"
				      "}\n");
}

/* --- verbs ------------------------------------------------------------- */

static void
test_servers_add(void **state)
{
	static const char reply[] =
	    "{\"ok\":true,\"entry\":3,\"subject\":\"S-1-5-21-1-2-3-1105\","
	    "\"kind\":\"sid\",\"role\":\"fci\",\"generation\":9,\"relays\":2,"
	    "\"warning\":null}";

	(void)state;
	assert_int_equal(RUN(reply, "servers", "add", "-r", "fci", "--note",
			     "file server", "--expires",
			     "2999-01-31T01:00:00+01:00",
			     "S-1-5-21-1-2-3-1105"),
			 CTL_OK);
	assert_sent("servers add|subject=S-1-5-21-1-2-3-1105|role=fci|"
		    "note=file server|expires=2999-01-31T00:00:00Z|");
	assert_string_equal(out_text,
			    "Entry 3: S-1-5-21-1-2-3-1105 may use the "
			    "connector with the role fci.\n"
			    "In force in 2 relays (list 9).\n");
	assert_string_equal(err_text, "");
}

static void
test_servers_add_checks_before_it_sends(void **state)
{
	(void)state;
	(void)unlink(sock);
	assert_int_equal(run("servers", "add", "-r", "boss", "x", NULL),
			 CTL_USAGE);
	assert_says(err_text, "no role boss");
	assert_int_equal(
	    run("servers", "add", "-r", "fci", "--expires", "soon", "x", NULL),
	    CTL_USAGE);
	assert_says(err_text, "YYYY-MM-DD");
	assert_int_equal(run("servers", "add", "-r", "fci", "--expires",
			     "2020-01-01", "x", NULL),
			 CTL_USAGE);
	assert_says(err_text, "in the past");
}

static void
test_exchange_for_a_single_account_warns_and_is_done(void **state)
{
	static const char reply[] =
	    "{\"ok\":true,\"entry\":1,\"subject\":\"exch01$@LAB.TEST\","
	    "\"role\":\"exchange\",\"generation\":2,\"relays\":0,"
	    "\"warning\":\"look\"}";

	(void)state;
	assert_int_equal(RUN(reply, "servers", "add", "--role", "exchange",
			     "exch01$@LAB.TEST"),
			 CTL_OK);
	assert_says(err_text, "Microsoft asks for a group");
	assert_says(out_text, "Warning: look\n");
	assert_says(out_text, "No relay runs at the moment");
	assert_int_equal(RUN(reply, "servers", "add", "--role", "exchange",
			     "S-1-5-21-1-2-3-1105"),
			 CTL_OK);
	assert_string_equal(err_text, "");
}

static void
test_servers_list(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN("{\"ok\":true,\"generation\":4,\"servers\":["
		"{\"entry\":1,\"subject\":\"exch01$@LAB.TEST\",\"role\":"
		"\"exchange\",\"name\":\"Größe\",\"note\":\"\",\"expires\":"
		"null,\"expired\":false,\"last_seen\":"
		"\"2026-11-22T14:17:00.000Z\"},"
		"{\"entry\":12,\"subject\":\"S-1-5-32\",\"role\":\"fci\","
		"\"name\":\"\",\"note\":\"old\",\"expires\":"
		"\"2026-01-01T00:00:00.000Z\",\"expired\":true,"
		"\"last_seen\":null}]}",
		"servers", "list"),
	    CTL_OK);
	assert_string_equal(
	    out_text,
	    "ENTRY  ROLE      SUBJECT           NAME   EXPIRES (UTC)  LAST "
	    "SEEN (UTC)      NOTE\n"
	    "    1  exchange  exch01$@LAB.TEST  Größe  -              "
	    "2026-11-22T14:17:00  -\n"
	    "   12  fci       S-1-5-32          -      EXPIRED        -       "
	    "             old\n");
	assert_int_equal(RUN("{\"ok\":true,\"servers\":[]}", "servers", "list"),
			 CTL_OK);
	assert_says(out_text, "No server is authorized");
}

static void
test_servers_remove(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN("{\"ok\":true,\"entry\":1,\"subject\":\"a@B\",\"role\":\"fci\","
		"\"generation\":5,\"servers_left\":0,\"relays\":1}",
		"servers", "remove", "--force", "1"),
	    CTL_OK);
	assert_sent("servers remove|subject=1|force=1|");
	assert_string_equal(out_text,
			    "Entry 1 (a@B, fci) is removed; its next request "
			    "is refused.\nIn force in 1 relay (list 5).\n"
			    "The list is empty now: no server can use the "
			    "connector.\n");
}

static void
test_credentials_add_sends_the_secret_only_to_the_connector(void **state)
{
	char path[80];
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/secret", dir);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(write(fd, "hunter=2\n", 9), 9);
	close(fd);
	assert_int_equal(RUN("{\"ok\":true,\"credential\":1,\"name\":\"main\","
			     "\"replaced\":true,\"generation\":3}",
			     "credentials", "add", "main", "--client-id", "app",
			     "--secret-file", path),
			 CTL_OK);
	assert_sent("credentials add|name=main|client_id=app|"
		    "secret=hunter=2|");
	assert_says(out_text, "Credential main is replaced");
	assert_null(strstr(out_text, "hunter"));
	(void)unlink(sock);
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(run("credentials", "add", "main", "--client-id", "app",
			     "--secret-file", path, NULL),
			 CTL_USAGE);
	assert_says(err_text, "chmod 600");
	(void)unlink(path);
}

static void
test_credentials_list(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN("{\"ok\":true,\"credentials\":["
		"{\"credential\":1,\"name\":\"a\",\"client_id\":\"i\","
		"\"changed\":\"2026-11-22T14:17:00.000Z\",\"roles\":"
		"[\"exchange\",\"fci\"],\"state\":\"ok\",\"expires_in_s\":60,"
		"\"error\":null},"
		"{\"credential\":2,\"name\":\"b\",\"client_id\":\"j\","
		"\"changed\":\"2026-11-22T14:17:00.000Z\",\"roles\":[],"
		"\"state\":\"failed\",\"expires_in_s\":0,\"error\":\"401\"}]}",
		"credentials", "list"),
	    CTL_OK);
	assert_string_equal(
	    out_text,
	    "NAME  CLIENT ID  USED FOR       CHANGED (UTC)        TOKEN       "
	    "          LAST ERROR\n"
	    "a     i          exchange, fci  2026-11-22T14:17:00  valid, for "
	    "1 min 0 s  -\n"
	    "b     j          -              2026-11-22T14:17:00  failed      "
	    "          401\n");
}

static void
test_settings(void **state)
{
	static const char one[] =
	    "{\"ok\":true,\"settings\":[{\"name\":\"cloud\",\"value\":"
	    "\"AzureCloud\",\"default\":\"AzureCloud\",\"text\":\"which\"}]}";

	(void)state;
	assert_int_equal(RUN(one, "get", "cloud"), CTL_OK);
	assert_sent("get|name=cloud|");
	assert_string_equal(out_text, "AzureCloud\n");
	assert_int_equal(RUN(one, "get"), CTL_OK);
	assert_sent("get|");
	assert_string_equal(out_text, "SETTING  VALUE       MEANING\n"
				      "cloud    AzureCloud  which\n");
	assert_int_equal(
	    RUN("{\"ok\":true,\"name\":\"cloud\",\"old\":\"\",\"value\":\"x\","
		"\"generation\":2,\"warning\":null}",
		"set", "cloud", "x"),
	    CTL_OK);
	assert_sent("set|name=cloud|value=x|");
	assert_string_equal(out_text, "cloud: (not set) -> x\n");
}

static void
test_reload(void **state)
{
	(void)state;
	assert_int_equal(RUN("{\"ok\":true,\"set\":4,\"restart_needed\":["
			     "\"workers\",\"user\"]}",
			     "reload"),
			 CTL_OK);
	assert_string_equal(out_text,
			    "The configuration is in force (set 4).\n"
			    "Changed, but in force only after a restart: "
			    "workers, user\n");
	assert_int_equal(
	    RUN("{\"ok\":false,\"error\":\"not reloaded\",\"code\":\"EINVAL\","
		"\"lines\":[\"f:1: a\",\"f:2: b\"]}",
		"reload"),
	    CTL_REFUSED);
	assert_string_equal(err_text, "f:1: a\nf:2: b\nrmsctl: not reloaded\n");
}

static void
test_events(void **state)
{
	static const char past[] =
	    "{\"ok\":true,\"events\":["
	    "{\"time\":\"T1\",\"id\":2001,\"level\":\"warning\",\"text\":"
	    "\"Unauthorized access attempt to the RMS connector.\",\"node\":"
	    "\"n\",\"account\":\"a\\u0007@B\",\"address\":\"10.0.0.1\","
	    "\"reason\":\"no entry\"},"
	    "{\"time\":\"T2\",\"id\":2001,\"level\":\"warning\",\"text\":"
	    "\"U\",\"node\":\"n\",\"count\":3},"
	    "{\"time\":\"T3\",\"id\":1000,\"level\":\"info\",\"text\":\"S\","
	    "\"node\":\"n\"}]}";

	(void)state;
	assert_int_equal(RUN(past, "events", "-n", "3"), CTL_OK);
	assert_sent("events|count=3|");
	assert_string_equal(
	    out_text,
	    "T1 warning 2001 Unauthorized access attempt to the RMS "
	    "connector account=a\\x07@B address=10.0.0.1: no entry\n"
	    "T2 warning 2001 U (and 3 more like it)\n"
	    "    -> If the server should be let in: `rmsctl servers add`; "
	    "`rmsctl explain ACCOUNT` tells why it was refused.\n"
	    "T3 info    1000 S\n");
	assert_int_equal(run("events", "-n", "many", NULL), CTL_USAGE);
}

static void
test_events_follow_until_the_connector_closes(void **state)
{
	char bytes[1024];
	size_t n;

	(void)state;
	n = frame(bytes, "{\"ok\":true,\"events\":[]}");
	n += frame(bytes + n, "{\"ok\":true,\"event\":{\"time\":\"T\",\"id\":"
			      "1000,\"level\":\"info\",\"text\":\"S\"}}");
	assert_int_equal(RUN_RAW(bytes, n, "events", "--follow"),
			 CTL_UNREACHABLE);
	assert_sent("events|follow=1|");
	assert_string_equal(out_text, "T info    1000 S\n");
	assert_int_equal(RUN_RAW(bytes, n, "events", "-f", "--json"),
			 CTL_UNREACHABLE);
	assert_string_equal(out_text, "{\"time\":\"T\",\"id\":1000,\"level\":"
				      "\"info\",\"text\":\"S\"}\n");
}

static void
test_explain(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN("{\"ok\":true,\"about\":\"account\",\"account\":\"sp01$@LAB."
		"TEST\",\"verdict\":"
		"\"allow\",\"verdict_text\":\"allowed\",\"role\":"
		"\"sharepoint\",\"entry\":2,\"conflict\":false,\"overlap\":"
		"true,\"decided_why\":\"its number is the lowest\","
		"\"matches\":["
		"{\"entry\":2,\"subject\":\"sp01$@LAB.TEST\",\"kind\":"
		"\"principal\",\"role\":\"sharepoint\",\"name\":\"\","
		"\"by_source\":\"name\","
		"\"expires\":null,\"expired\":false,\"decides\":true}],"
		"\"credential\":{\"name\":\"default\",\"credential\":null},"
		"\"table\":{\"generation\":3,\"entries\":2,\"age_s\":61},"
		"\"seen\":null,\"groups_known\":false,\"advice\":\"Add it.\"}",
		"explain", "sp01$@LAB.TEST"),
	    CTL_OK);
	assert_sent("explain|account=sp01$@LAB.TEST|");
	assert_string_equal(
	    out_text,
	    "Account:     sp01$@LAB.TEST\n"
	    "Now:         let in: allowed\n"
	    "Decided by:  entry 2, role sharepoint: its number is the "
	    "lowest\n"
	    "Overlap:     several entries of this role match\n"
	    "Credential:  default (NOT STORED: rmsctl credentials add)\n"
	    "List:        3, 2 entries, in force for 1 min 1 s\n"
	    "\nEntries that match:\n"
	    "ENTRY  ROLE        SUBJECT         NAME  MATCHES BY  EXPIRES "
	    "(UTC)  \n"
	    "    2  sharepoint  sp01$@LAB.TEST  -     name        -            "
	    " "
	    " decides\n"
	    "\nNo connection of it is known.\n"
	    "\nWhat to do:  Add it.\n");
}

static void
test_explain_of_a_request(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN("{\"ok\":true,\"about\":\"account\",\"account\":\"a@B\","
		"\"verdict\":\"no_match\",\"verdict_text\":\"no entry\","
		"\"then\":\"let in by entry 2\",\"now\":\"REFUSED: gone\","
		"\"matches\":[],\"credential\":null,\"table\":null,"
		"\"seen\":null,\"advice\":\"Add it.\"}",
		"explain", "00ff-1"),
	    CTL_OK);
	assert_string_equal(out_text, "Account:     a@B\n"
				      "Then:        let in by entry 2\n"
				      "Now:         REFUSED: gone\n"
				      "\nNo connection of it is known.\n"
				      "\nWhat to do:  Add it.\n");
}

static void
test_explain_of_an_account_that_came(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN("{\"ok\":true,\"about\":\"account\",\"account\":\"a@B\","
		"\"verdict\":\"no_match\","
		"\"verdict_text\":\"no entry\",\"matches\":[],\"credential\":"
		"null,\"table\":null,\"seen\":{\"account\":\"a@B\",\"sid\":"
		"\"S-1-5-21\",\"first\":\"T0\",\"last\":\"T1\",\"allowed\":0,"
		"\"refused\":2,\"verdict_text\":\"no entry\",\"generation\":7,"
		"\"address\":\"10.0.0.5\",\"mech\":\"kerberos\",\"tls\":false,"
		"\"bound\":false,\"spn\":\"HTTP/x@B\",\"request_id\":\"i-1\","
		"\"listener\":\"plain\",\"enctype_name\":\"arcfour-hmac\","
		"\"weak\":true,\"kvno\":3},\"sids\":{\"count\":2,\"lack\":"
		"null,\"age_s\":61,\"later_s\":5,\"list\":[{\"sid\":\"S-1-5-"
		"21\",\"source\":"
		"\"user\",\"entry\":null},{\"sid\":\"S-1-5-32\",\"source\":"
		"\"group\",\"entry\":4}]},"
		"\"groups_known\":true,\"advice\":\"Add it.\"}",
		"explain", "a@B"),
	    CTL_OK);
	assert_string_equal(
	    out_text,
	    "Account:     a@B\n"
	    "Now:         REFUSED: no entry\n"
	    "\nIts last connection:\n"
	    "  at         T1\n"
	    "  as         a@B\n"
	    "  SID        S-1-5-21\n"
	    "  from       10.0.0.5 to listener plain, HTTP (not secure): give "
	    "the server the https URL\n"
	    "  with       kerberos HTTP/x@B\n"
	    "  key        kvno 3, arcfour-hmac (WEAK: let its service account "
	    "use AES)\n"
	    "  outcome    no entry (list 7)\n"
	    "  request    i-1\n"
	    "  reported   let in 0 times, refused 2 times, since T0 (repeats "
	    "within a minute may be left out)\n"
	    "\nIts 2 SIDs, as of 1 min 1 s ago:\n"
	    "(So it was with a later connection, 5 s after the request, which "
	    "may have come with others.)\n"
	    "  SID       SOURCE  ENTRY\n"
	    "  S-1-5-32  group       4\n"
	    "  S-1-5-21  user        -\n"
	    "\nWhat to do:  Add it.\n");
}

#define STATUS(state, table, url, tokens, cloud, keeper)                       \
	"{\"ok\":true,\"node\":\"n1\",\"version\":\"0.2.0\",\"pid\":7,"        \
	"\"user\":\"rms\",\"state\":\"" state "\",\"uptime_s\":3661,"          \
	"\"configuration\":{\"file\":\"/etc/x.conf\",\"set\":1,\"loaded\":"    \
	"\"T0\",\"restart_needed\":[]},"                                       \
	"\"listeners\":[{\"name\":\"a\",\"address\":\"127.0.0.1\",\"port\":"   \
	"8443,\"tls\":true}],"                                                 \
	"\"processes\":[{\"role\":\"relay\",\"slot\":0,\"pid\":8,\"state\":"   \
	"\"ready\",\"ready\":true,\"uptime_s\":3600,\"restarts\":0,"           \
	"\"heartbeat_age_ms\":4,\"last_end\":null},{\"role\":\"keeper\","      \
	"\"slot\":0,\"pid\":null,\"state\":\"waiting\",\"ready\":false,"       \
	"\"restarts\":2,\"retry_in_ms\":1500,\"last_end\":\"signal 9\"}],"     \
	"\"table\":" table ",\"tenant\":{\"url\":" url "},\"tokens\":[" tokens \
	"],\"cloud\":{" cloud "},\"keeper\":{\"entries\":" keeper              \
	",\"principals\":[\"HTTP/x@R kvno 2 aes\"]},\"counters\":"             \
	"{\"requests\":5,\"bytes_in\":1500},\"store\":{\"generation\":3,"      \
	"\"used_bytes\":4096,\"size_bytes\":1048576}}"

#define ACCOUNT                                                                \
	"{\"account\":\"a\\u0007@B\",\"entry\":7,\"role\":\"fci\",\"last\":"   \
	"\"2026-11-22T14:17:00.000Z\",\"asked\":"                              \
	"\"2026-11-20T01:02:03.000Z\",\"first\":\"2026-11-01T00:00:00.000Z\"," \
	"\"address\":\"10.0.0.5\",\"mech\":\"kerberos\",\"enctype_name\":"     \
	"\"arcfour-hmac\",\"weak\":true,\"tls\":true,\"bound\":false,"         \
	"\"allowed\":3,\"refused\":0}"

static void
test_explain_of_an_address(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN("{\"ok\":true,\"about\":\"address\",\"requests\":[{"
		"\"request_id\":\"00ff-1\",\"time\":"
		"\"2026-11-22T14:17:00.000Z\",\"address\":\"10.0.0.5\",\"tls\":"
		"true,\"account\":null,\"detail\":\"skew\\u0007\",\"status\":"
		"401,\"end\":\"AUTH_FAILED\",\"cause_text\":\"clocks "
		"differ\",\"op\":null},{\"request_id\":\"00ff-0\",\"time\":"
		"\"2026-11-22T14:16:00.000Z\",\"address\":\"10.0.0.5\",\"tls\":"
		"false,\"account\":\"a\\u001b@B\",\"status\":403,\"end\":"
		"\"AUTH_DENIED\",\"cause_text\":null,\"op\":\"Certify\"}],"
		"\"advice\":\"Set the clock.\"}",
		"explain", "10.0.0.5"),
	    CTL_OK);
	assert_sent("explain|account=10.0.0.5|");
	assert_says(out_text, "clocks differ: skew\\x07\n");
	assert_says(out_text, "a\\x1b@B");
	assert_says(out_text, "the account is not in the authorization table");
	assert_says(out_text, "\nWhat to do:  Set the clock.\n");
}

static void
test_servers_seen(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN("{\"ok\":true,\"since\":\"2026-10-01T00:00:00.000Z\","
		"\"accounts_total\":9,\"counts\":{\"http\":4,\"unbound\":3,"
		"\"ntlm\":2,\"rc4\":1,\"certificate\":0},\"accounts\":[" ACCOUNT
		"],\"entries\":[],\"entries_total\":5,"
		"\"entries_unused\":2,\"entries_left_off\":0}",
		"servers", "seen"),
	    CTL_OK);
	assert_sent("servers seen|");
	assert_string_equal(
	    out_text,
	    "ACCOUNT  ENTRY  ROLE  LAST (UTC)           FROM      WITH        "
	    "                  OVER   LET IN  REFUSED  FIRST (UTC)\n"
	    "a\\x07@B      7  fci   2026-11-22T14:17:00  10.0.0.5  kerberos "
	    "arcfour-hmac (WEAK)  HTTPS       3        -  "
	    "2026-11-01T00:00:00\n"
	    "\n9 accounts are remembered, since 2026-10-01T00:00:00 UTC.\n"
	    "Of them came over HTTP 4, unbound over TLS 3, with NTLM 2, with "
	    "RC4 or DES 1, with a certificate 0.\n"
	    "2 of 5 entries let nobody in: rmsctl servers seen --never\n");
	assert_int_equal(RUN("{\"ok\":true,\"accounts\":[" ACCOUNT "]}",
			     "servers", "seen", "--unbound", "--since",
			     "2026-11-01"),
			 CTL_OK);
	assert_sent("servers seen|way=unbound|since=2026-11-01T00:00:00Z|");
	assert_says(out_text, "LAST UNBOUND (UTC)");
	assert_says(out_text, "2026-11-20T01:02:03");
	assert_int_equal(
	    RUN("{\"ok\":true,\"accounts\":[]}", "servers", "seen", "--rc4"),
	    CTL_OK);
	assert_string_equal(
	    out_text, "No account is known to have come with RC4 or DES.\n");
}

static void
test_servers_seen_by_entry(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN("{\"ok\":true,\"since\":\"2026-10-01T00:00:00.000Z\","
		"\"entries\":[{\"entry\":3,\"subject\":\"S-1-5-21\",\"role\":"
		"\"fci\",\"name\":\"X\\u001b\",\"added\":"
		"\"2026-09-01T00:00:00.000Z\",\"last\":null,\"accounts\":0,"
		"\"expired\":true}],\"entries_left_off\":4}",
		"servers", "seen", "--never"),
	    CTL_OK);
	assert_sent("servers seen|never=1|");
	assert_string_equal(
	    out_text,
	    "ENTRY  ROLE  SUBJECT   NAME   LAST USED (UTC)  ACCOUNTS  ADDED "
	    "(UTC)          \n"
	    "    3  fci   S-1-5-21  X\\x1b  never                   -  "
	    "2026-09-01T00:00:00  EXPIRED\n"
	    "and 4 more\n"
	    "\nRemembered since 2026-10-01T00:00:00 UTC, on this node.\n");
	assert_int_equal(run("servers", "seen", "--never", "--http", NULL),
			 CTL_USAGE);
	assert_says(err_text, "one thing at a time");
	assert_int_equal(run("servers", "seen", "--since", "9q", NULL),
			 CTL_USAGE);
	assert_says(err_text, "90d");
}

static void
test_servers_conflicts(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN("{\"ok\":true,\"accounts\":[{\"account\":\"a\\u0007@B\","
		"\"conflict\":true,\"decided_why\":\"its number is the "
		"lowest\",\"matches\":[{\"entry\":3,\"role\":\"fci\",\"name\":"
		"\"\",\"subject\":\"S-1-5\",\"by_source\":\"group\","
		"\"expired\":false},{\"entry\":9,\"role\":\"exchange\","
		"\"name\":\"N\",\"subject\":\"S-1-6\",\"by_source\":\"extra\","
		"\"expired\":false},{\"entry\":1,\"role\":\"fci\",\"expired\":"
		"true}]}],\"conflicts\":1,\"overlaps\":0,\"accounts_total\":4,"
		"\"groups_unknown\":2,\"requests\":17}",
		"servers", "conflicts"),
	    CTL_OK);
	assert_sent("servers conflicts|");
	assert_string_equal(
	    out_text,
	    "ACCOUNT            ENTRY  ROLE      NAME   MATCHES BY  \n"
	    "a\\x07@B  CONFLICT      3  fci       S-1-5  group       "
	    "decides: its number is the lowest\n"
	    "                       9  exchange  N      extra        \n"
	    "\nOf 4 accounts 1 match entries of different roles, 0 several of "
	    "one role.\n"
	    "17 requests were decided among entries that disagree, since the "
	    "start.\n"
	    "The groups of 2 accounts are not known until they connect "
	    "again.\n");
}

static void
test_status_with_one_thing_wrong(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN(STATUS(
		    "running", "{\"generation\":3,\"entries\":1,\"age_s\":5}",
		    "\"https://t\"",
		    "{\"name\":\"default\",\"state\":\"ok\",\"valid\":true,"
		    "\"expires_in_s\":3000}",
		    "\"addresses\":[\"10.0.0.1\"],\"dns_failed\":false", "2"),
		"status"),
	    CTL_WRONG);
	assert_string_equal(
	    out_text,
	    "Node n1: running for 1 h 1 min, version 0.2.0, pid 7 as rms\n"
	    "Configuration: /etc/x.conf, read T0\n"
	    "Listens on: 127.0.0.1:8443 (HTTPS)\n"
	    "\n"
	    "PROCESS  PID  STATE    UP         RESTARTS  LAST END\n"
	    "relay 0    8  ready    1 h 0 min         0  -\n"
	    "keeper     -  waiting  -                 2  signal 9\n"
	    "\n"
	    "Authorized:  1 entry (list 3, in force for 5 s)\n"
	    "Store:       generation 3, 4.0 kB of 1.0 MB\n"
	    "Cloud:       https://t\n"
	    "  addresses  10.0.0.1\n"
	    "  token      default: valid for 50 min 0 s\n"
	    "Keytab:      HTTP/x@R kvno 2 aes\n"
	    "Requests:    5 (0 relayed, 0 answered here, 0 under way), 1.5 kB "
	    "in, 0 B out\n"
	    "Replies:     0 done (2xx), 0 refused (4xx), 0 failed (5xx)\n"
	    "Items:       0 asked for, 0 failed; 0 batches, 0 of them with "
	    "items "
	    "that failed\n"
	    "Identity:    0 accepted, 0 refused (0 of them replays), 0 too "
	    "busy; by the list 0 "
	    "allowed, 0 refused\n"
	    "Connections: 0 of clients open; to the cloud 0 opened, 0 idle, 0 "
	    "requests failed there\n"
	    "\n"
	    "What is wrong:\n"
	    "  * keeper 0 does not run (signal 9); it is started again in 2 "
	    "s. If it goes on: the log says why\n");
}

static void
test_status_names_everything_that_is_wrong(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN(STATUS("draining", "null", "null",
		       "{\"name\":\"default\",\"state\":\"failed\",\"valid\":"
		       "false,\"expires_in_s\":0,\"retry_in_s\":9,\"error\":"
		       "\"AADSTS7000215\"}",
		       "\"addresses\":[],\"dns_failed\":true,\"dns_error\":"
		       "\"NXDOMAIN\"",
		       "0"),
		"status"),
	    CTL_WRONG);
	assert_says(out_text, "the connector is ending (draining)");
	assert_says(out_text, "no tenant is set: rmsctl set tenant_url");
	assert_says(out_text, "(event 3001)");
	assert_says(out_text, "no key is loaded from the keytab");
	assert_says(out_text, "answered 503 (next try in 9 s): AADSTS7000215");
	assert_says(out_text, "cannot be resolved (NXDOMAIN): check the DNS");
	assert_int_equal(RUN(STATUS("running", "{\"entries\":0}", "\"u\"", "",
				    "\"addresses\":[\"x\"]", "1"),
			     "status", "--json"),
			 CTL_WRONG);
	assert_int_equal(out_text[0], '{');
	/* an answer of another version: nothing is known, so nothing is well */
	assert_int_equal(RUN("{\"ok\":true}", "status"), CTL_WRONG);
}

/* All processes stand, and yet no request gets through. */
static void
test_status_names_what_the_connector_remembers(void **state)
{
	(void)state;
	assert_int_equal(
	    RUN("{\"ok\":true,\"state\":\"running\",\"processes\":[{\"role\":"
		"\"relay\",\"slot\":0,\"state\":\"ready\",\"ready\":true}],"
		"\"tenant\":{\"url\":\"https://t\"},\"table\":{\"entries\":1},"
		"\"keeper\":{\"entries\":1},\"tokens\":[{\"name\":\"d\","
		"\"state\":\"ok\",\"valid\":true}],\"cloud\":{\"addresses\":"
		"[\"10.0.0.1\"]},\"problems\":[{\"event\":3107,\"text\":\"The "
		"cloud cannot be reached.\",\"remedy\":\"Check routes.\","
		"\"processes\":[\"relay 0\",\"relay 3\"],\"first\":\"T1\","
		"\"last\":\"T2\",\"count\":12,\"reason\":\"timed out\"},"
		"{\"event\":3101,\"text\":\"A process ended.\",\"remedy\":"
		"\"Nothing.\",\"processes\":[\"keeper 0\"],\"first\":\"T3\","
		"\"last\":\"T3\",\"count\":1,\"reason\":null}]}",
		"status"),
	    CTL_WRONG);
	assert_says(out_text,
		    "What is wrong:\n"
		    "  * The cloud cannot be reached. Event 3107 of relay 0, "
		    "relay 3, 12 times since T1, last T2: timed out. Check "
		    "routes.\n"
		    "  * A process ended. Event 3101 of keeper 0, 1 time since "
		    "T3, last T3. Nothing.\n");
}

static void
test_output_that_cannot_be_written_is_no_success(void **state)
{
	static char reply[256];
	char *argv[] = {(char[]){"rmsctl"}, (char[]){"get"}, (char[]){"cloud"},
			NULL};
	FILE *full = fopen("/dev/full", "w"), *err = fopen("/dev/null", "w");
	pid_t pid;

	(void)state;
	assert_non_null(full);
	pid = serve(reply, frame(reply, "{\"ok\":true,\"settings\":[{\"value\":"
					"\"x\"}]}"));
	assert_int_equal(ctl_main(3, argv, full, err), CTL_REFUSED);
	waitpid(pid, NULL, 0);
	fclose(full);
	fclose(err);
}

static int
setup(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(sock, sizeof(sock), "%s/control.sock", dir);
	request = mmap(NULL, sizeof(*request), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return request == MAP_FAILED ? -1 : setenv("RMSCTL_SOCKET", sock, 1);
}

static int
teardown(void **state)
{
	(void)state;
	(void)unlink(sock);
	free(out_text);
	free(err_text);
	munmap(request, sizeof(*request));
	return rmdir(dir);
}

/* --- the list in pages --------------------------------------------------- */

/* Serves one request after the other from a single socket. */
static pid_t
serve_all(const char *const *json, size_t n)
{
	static char bytes[8192];
	int fd = listen_at(sock), c;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		for (size_t i = 0; i < n; i++) {
			c = accept(fd, NULL, NULL);
			if (c < 0)
				_exit(1);
			read_request(c);
			if (send(c, bytes, frame(bytes, json[i]),
				 MSG_NOSIGNAL) < 0)
				_exit(1);
			close(c);
		}
		_exit(0);
	}
	close(fd);
	return pid;
}

#define PAGE1                                                                 \
	"{\"ok\":true,\"generation\":7,\"next\":3,\"servers\":[{\"entry\":3," \
	"\"subject\":\"a@R\",\"role\":\"fci\"}]}"
#define PAGE2                                                        \
	"{\"ok\":true,\"generation\":7,\"next\":null,\"servers\":[{" \
	"\"entry\":9,\"subject\":\"b@R\",\"role\":\"exchange\"}]}"

static int
run_pages(const char *const *json, size_t n, const char *format)
{
	pid_t pid = serve_all(json, n);
	int r = format != NULL ? run(format, "servers", "list", NULL)
			       : run("servers", "list", NULL);

	waitpid(pid, NULL, 0);
	return r;
}

static void
test_list_in_pages(void **state)
{
	static const char *const two[] = {PAGE1, PAGE2};
	json_t *v;

	(void)state;
	assert_int_equal(run_pages(two, 2, NULL), CTL_OK);
	assert_sent("servers list|after=3|limit=2000|");
	assert_says(out_text, "a@R");
	assert_says(out_text, "b@R");
	assert_int_equal(run_pages(two, 2, "--json"), CTL_OK);
	v = json_loads(out_text, 0, NULL);
	assert_non_null(v);
	assert_int_equal(json_integer_value(json_object_get(v, "generation")),
			 7);
	assert_int_equal(json_array_size(json_object_get(v, "servers")), 2);
	json_decref(v);
}

static void
test_list_that_goes_in_circles(void **state)
{
	static const char *const circle[] = {PAGE1, PAGE1};

	(void)state;
	assert_int_equal(run_pages(circle, 2, NULL), CTL_UNREACHABLE);
	assert_says(err_text, "in circles");
}

static void
test_servers_update(void **state)
{
	static const char reply[] =
	    "{\"ok\":true,\"entry\":4,\"subject\":\"a@R\",\"role\":\"fci\","
	    "\"changed\":true,\"relays\":2,\"generation\":8,\"expires\":null}";

	(void)state;
	assert_int_equal(RUN(reply, "servers", "update", "4", "-r", "fci",
			     "--expires", "never", "--note", ""),
			 CTL_OK);
	assert_sent("servers update|subject=4|role=fci|note=|expires=|");
	assert_says(out_text, "Entry 4: a@R has the role fci.\n");
	assert_int_equal(run("servers", "update", "4", NULL), CTL_USAGE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_socket_missing),
	    cmocka_unit_test(test_socket_refuses),
	    cmocka_unit_test(test_socket_path_too_long),
	    cmocka_unit_test(test_bad_replies),
	    cmocka_unit_test(test_deep_json_is_refused),
	    cmocka_unit_test(test_refused_by_the_connector),
	    cmocka_unit_test(test_json_is_the_object_as_it_came),
	    cmocka_unit_test(test_servers_add),
	    cmocka_unit_test(test_servers_add_checks_before_it_sends),
	    cmocka_unit_test(
		test_exchange_for_a_single_account_warns_and_is_done),
	    cmocka_unit_test(test_servers_list),
	    cmocka_unit_test(test_servers_remove),
	    cmocka_unit_test(
		test_credentials_add_sends_the_secret_only_to_the_connector),
	    cmocka_unit_test(test_credentials_list),
	    cmocka_unit_test(test_settings),
	    cmocka_unit_test(test_reload),
	    cmocka_unit_test(test_events),
	    cmocka_unit_test(test_events_follow_until_the_connector_closes),
	    cmocka_unit_test(test_explain),
	    cmocka_unit_test(test_explain_of_a_request),
	    cmocka_unit_test(test_explain_of_an_account_that_came),
	    cmocka_unit_test(test_explain_of_an_address),
	    cmocka_unit_test(test_servers_seen),
	    cmocka_unit_test(test_servers_seen_by_entry),
	    cmocka_unit_test(test_servers_conflicts),
	    cmocka_unit_test(test_status_with_one_thing_wrong),
	    cmocka_unit_test(test_status_names_everything_that_is_wrong),
	    cmocka_unit_test(test_status_names_what_the_connector_remembers),
	    cmocka_unit_test(test_output_that_cannot_be_written_is_no_success),
	    cmocka_unit_test(test_list_in_pages),
	    cmocka_unit_test(test_list_that_goes_in_circles),
	    cmocka_unit_test(test_servers_update),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
