/*
 * probe: the steps of `rmsctl probe` and what each has to tell.
 *
 * The steps run one after the other; the first that fails decides what is
 * said at the end.  Nothing of an answer is trusted: bodies are bounded, and
 * what is printed goes through text_put().
 */
#ifndef RMS_CTL_PROBE_H
#define RMS_CTL_PROBE_H

#include <curl/curl.h>
#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"
#include "tools/ctl/ctl.h"

/* Whose fault it is. */
enum probe_at { AT_NONE, AT_CLIENT, AT_CONNECTOR, AT_NETWORK, AT_CLOUD };
/* "this server", "the connector" ... */
const char *probe_at_name(enum probe_at at);
/* As reasons.def writes it: "client", "connector" ...; AT_CONNECTOR for
 * anything else. */
enum probe_at probe_at_parse(const char *name);

struct probe_step {
	char name[64];
	enum probe_at at; /* AT_NONE: it came out as it should */
	long status;	  /* of HTTP; 0: none */
	uint64_t bytes;
	uint64_t us;
	char request_id[80];
	char verdict[512]; /* what was found, or what is wrong */
	char remedy[512];  /* what would do; "" when ok */
};

/* Fills a failed step. */
PRINTF(4, 5)
void step_fail(struct probe_step *s, enum probe_at at, const char *remedy,
	       const char *fmt, ...);
PRINTF(2, 3) void step_ok(struct probe_step *s, const char *fmt, ...);

#define PROBE_HOST_MAX 256

struct probe_url {
	bool https;
	char host[PROBE_HOST_MAX]; /* without the brackets of IPv6 */
	unsigned port;
	char base[PROBE_HOST_MAX + 32]; /* "https://host:port/_wmcs" */
};
/*
 * http(s)://HOST[:PORT], with anything that begins with /_wmcs behind it, as
 * people paste it.  0, or -EINVAL with a line in err.
 */
MUST_USE int probe_url_parse(struct probe_url *u_r, const char *text, char *err,
			     size_t err_size);

/* --- HTTP -------------------------------------------------------------- */
#define PROBE_BODY_MAX	 (16U << 20) /* as the connector's largest body */
#define PROBE_CONNECT_MS 10000
/* Above the connector's own longest wait for the cloud, so that its reason
 * arrives before we give up. */
#define PROBE_TOTAL_MS 120000

struct probe_reply {
	CURLcode code;
	char error[CURL_ERROR_SIZE];
	long os_errno;
	long verify; /* X509_V_ERR_..., 0: good */
	long status; /* 0: no reply */
	uint64_t us, connect_us, tls_us;
	char ip[64];
	bool negotiate; /* the last head offers it */
	char request_id[80];
	char *body; /* owned; NULL when len is 0 */
	size_t len;
	bool too_long;
};

/*
 * One request on h: GET of url, or POST of body with this SOAPAction.  With
 * auth, Negotiate with the caller's ticket.  *r_r is to be given to
 * probe_reply_fini() in any case.
 */
void probe_http(CURL *h, const char *url, const char *action, const char *body,
		bool auth, struct probe_reply *r_r);
void probe_reply_fini(struct probe_reply *r);

/* --- Kerberos ---------------------------------------------------------- */
/* Fetches a ticket for HTTP@host with the caller's credentials. */
void probe_ticket(struct probe_step *s, const char *host);

/* --- verdicts ---------------------------------------------------------- */
/* A transfer that failed below HTTP. */
void judge_transfer(struct probe_step *s, const struct probe_url *u,
		    const struct probe_reply *r);
/*
 * A reply that is not the one that was asked for: the connector's own error,
 * the cloud's fault, or somebody else's answer.
 */
void judge_error(struct probe_step *s, const struct probe_reply *r);

/* --- the whole --------------------------------------------------------- */
#define PROBE_STEPS 16
/* AcquireTemplates takes 0 to 25 (MS-RMPR 3.4.4). */
#define PROBE_GUIDS   25
#define PROBE_CONTENT 4096

struct probe {
	struct ctl *c;
	struct probe_url url;
	CURL *h;
	struct probe_step step[PROBE_STEPS];
	size_t n;
	char tenant[PROBE_HOST_MAX];
	char guids[PROBE_CONTENT]; /* as the content of AcquireTemplates */
	size_t nguids;
};

/* Heading, one finished step, what is to be said at the end.  With --json
 * only the last prints. */
void probe_print_head(const struct probe *p);
void probe_print_step(const struct probe *p, const struct probe_step *s);
void probe_print_end(const struct probe *p);
/* The first step that failed, or NULL. */
const struct probe_step *probe_failure(const struct probe *p);

#endif
