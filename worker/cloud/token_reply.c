/*
 * Purpose: take the token service's answer apart.
 *
 * Runs in: cloud agent.
 * Trusts:  nobody: anything may have answered on that port.
 * Touches: memory; jansson's allocations are wiped when freed.
 * Failure: every answer becomes a token or a text for the operator.
 */
#include "worker/cloud/token_reply.h"

#include <jansson.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "shm/base/log.h"

/* What Microsoft's codes mean for the one who has to act. */
static const struct {
	uint64_t code;
	const char *hint;
} aadsts[] = {
    {7000215, "the client secret is wrong: rmsctl credentials add"},
    {7000222,
     "the client secret has expired: make one, rmsctl credentials add"},
    {700016, "the tenant has no such application: check client id, tenant_id"},
    {90002, "there is no such tenant: check tenant_id"},
    {70011, "the scope is wrong: check token_scope"},
    {500011, "the tenant does not know the service: check token_scope"},
    {65001, "an administrator must consent to the application's permissions"},
    {50105, "the application is not assigned to the service"},
    {53003, "blocked by Conditional Access"},
    {7000112, "the application is disabled in the tenant"},
};

static void
wipe_free(void *p)
{
	if (p == NULL)
		return;
	str_wipe(p, malloc_usable_size(p));
	free(p);
}

/* Bytes of the UTF-8 character at p, 0 when there is none. */
static size_t
utf8_len(const unsigned char *p, size_t left)
{
	size_t n = p[0] < 0x80			 ? 1
		   : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
		   : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
		   : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
						 : 0;

	if (n == 0 || n > left)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

void
token_text_clean(char *dst, size_t size, struct slice text, struct slice hide)
{
	struct sbuf b;
	bool blank = true; /* none at the start */

	sbuf_init(&b, dst, size);
	for (size_t i = 0; i < text.len && !b.cut;) {
		const unsigned char *p = (const unsigned char *)text.p + i;
		size_t left = text.len - i, n = utf8_len(p, left);

		if (hide.len > 0 && left >= hide.len &&
		    memcmp(p, hide.p, hide.len) == 0) {
			sbuf_str(&b, "***");
			i += hide.len;
			blank = false;
			continue;
		}
		/* C0, DEL, C1 and what is no UTF-8 count as blanks. */
		if (n == 0 || p[0] <= 0x20 || p[0] == 0x7f ||
		    (n == 2 && p[0] == 0xc2 && p[1] < 0xa0)) {
			if (!blank)
				sbuf_char(&b, ' ');
			blank = true;
			i += n == 0 ? 1 : n;
			continue;
		}
		sbuf_put(&b, p, n);
		blank = false;
		i += n;
	}
	while (b.len > 0 && dst[b.len - 1] == ' ')
		dst[--b.len] = '\0';
}

void
token_result_fail(struct token_result *r_r, enum token_outcome outcome,
		  const char *cause, const char *text)
{
	struct slice none = {0};

	BUG_ON(outcome == TOKEN_GOT);
	str_wipe(r_r->token, r_r->len);
	r_r->len = 0;
	r_r->outcome = outcome;
	token_text_clean(r_r->cause, sizeof(r_r->cause), slice_of(cause), none);
	token_text_clean(r_r->text, sizeof(r_r->text), slice_of(text), none);
}

/* A number, or digits in a string as the older endpoints write it. */
static bool
reply_number(const json_t *root, const char *key, uint64_t *v_r)
{
	const json_t *v = json_object_get(root, key);

	if (json_is_integer(v) && json_integer_value(v) >= 0) {
		*v_r = (uint64_t)json_integer_value(v);
		return true;
	}
	return json_is_string(v) &&
	       str_u64(
		   (struct slice){json_string_value(v), json_string_length(v)},
		   INT64_MAX, v_r) == 0;
}

static struct slice
reply_text(const json_t *root, const char *key)
{
	const json_t *v = json_object_get(root, key);

	if (!json_is_string(v))
		return (struct slice){0};
	return (struct slice){json_string_value(v), json_string_length(v)};
}

/* b64token of RFC 6750: letters, digits, -._~+/ and then only "=". */
static bool
is_b64token(struct slice t)
{
	static const char *const set = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "abcdefghijklmnopqrstuvwxyz"
				       "0123456789-._~+/";
	size_t i = 0;

	while (i < t.len && t.p[i] != '\0' && strchr(set, t.p[i]) != NULL)
		i++;
	if (i == 0)
		return false;
	while (i < t.len && t.p[i] == '=')
		i++;
	return i == t.len;
}

/* NULL, or what is wrong with a reply of status 200. */
static const char *
reply_take(const json_t *root, struct token_result *r)
{
	struct slice token = reply_text(root, "access_token");
	struct slice type = reply_text(root, "token_type");

	if (token.p == NULL)
		return "there is no access_token in it";
	if (!slice_iis(type, "Bearer"))
		return "its token_type is not Bearer";
	if (json_object_get(root, "expires_in") == NULL)
		return "there is no expires_in in it";
	if (!reply_number(root, "expires_in", &r->expires_in_s) ||
	    r->expires_in_s == 0)
		return "its expires_in is not a positive number";
	if (r->expires_in_s > TOKEN_EXPIRES_MAX_S)
		return "its expires_in is longer than 30 days";
	if (token.len > TOKEN_BYTES_MAX)
		return "its access_token is longer than 8192 bytes";
	if (!is_b64token(token))
		return "its access_token is empty or has characters that no "
		       "token has";
	if (!reply_number(root, "refresh_in", &r->refresh_in_s))
		r->refresh_in_s = 0;
	memcpy(r->token, token.p, token.len);
	r->len = (uint32_t)token.len;
	return NULL;
}

/* The service's number of the error: of error_codes, else of the text. */
static uint64_t
reply_aadsts(const json_t *root, struct slice text)
{
	const json_t *v = json_object_get(root, "error_codes");
	const char *at;
	size_t n = 0;
	uint64_t code = 0;

	v = json_array_get(v, 0);
	if (json_is_integer(v) && json_integer_value(v) > 0)
		return (uint64_t)json_integer_value(v);
	at = text.p == NULL ? NULL : memmem(text.p, text.len, "AADSTS", 6);
	if (at == NULL)
		return 0;
	at += 6;
	while (at + n < text.p + text.len && at[n] >= '0' && at[n] <= '9')
		n++;
	if (str_u64((struct slice){at, n}, 99999999, &code) != 0)
		return 0;
	return code;
}

static const char *
aadsts_hint(uint64_t code)
{
	for (size_t i = 0; i < ARRAY_LEN(aadsts); i++)
		if (aadsts[i].code == code)
			return aadsts[i].hint;
	return NULL;
}

/* RFC 6749 section 5.2: error, error_description. */
static void
reply_error(const struct token_reply *in, const json_t *root,
	    struct token_result *r)
{
	struct slice words = reply_text(root, "error_description");
	uint64_t code = reply_aadsts(root, words);
	const char *hint = aadsts_hint(code);
	char error[48], text[TOKEN_TEXT_MAX];
	struct sbuf cause, all;

	token_text_clean(error, sizeof(error), reply_text(root, "error"),
			 in->secret);
	token_text_clean(text, sizeof(text), words, in->secret);
	sbuf_init(&cause, r->cause, sizeof(r->cause));
	sbuf_fmt(&cause, "HTTP %ld %s", in->status, error);
	if (code != 0)
		sbuf_fmt(&cause, " AADSTS%llu", (unsigned long long)code);
	sbuf_init(&all, r->text, sizeof(r->text));
	sbuf_fmt(&all, "the token service refused: %s", r->cause);
	if (hint != NULL)
		sbuf_fmt(&all, "; %s", hint);
	if (text[0] != '\0' && all.size - all.len > 8) {
		char cut[TOKEN_TEXT_MAX];

		/* The service's words fill what is left. */
		sbuf_str(&all, ": ");
		token_text_clean(cut, all.size - all.len, slice_of(text),
				 in->secret);
		sbuf_str(&all, cut);
	}
}

/* A page for people, where a program was expected. */
static bool
looks_like_html(struct slice body)
{
	while (body.len > 0 && (unsigned char)body.p[0] <= ' ') {
		body.p++;
		body.len--;
	}
	return body.len > 0 && body.p[0] == '<';
}

static void
reply_odd(const struct token_reply *in, const char *what,
	  struct token_result *r)
{
	char cause[96], text[TOKEN_TEXT_MAX];
	enum token_outcome keep = r->outcome;

	snprintf(cause, sizeof(cause), "HTTP %ld, %s", in->status, what);
	snprintf(text, sizeof(text), "%s answered HTTP %ld: %s",
		 keep == TOKEN_THROTTLED ? "the token service is throttling and"
					 : "the token service",
		 in->status, what);
	token_result_fail(r, keep, cause, text);
}

static enum token_outcome
outcome_of(long status)
{
	if (status == 400 || status == 401 || status == 403)
		return TOKEN_DENIED;
	return status == 429 ? TOKEN_THROTTLED : TOKEN_TROUBLE;
}

/* NULL when the reply was dealt with, else what is odd about it. */
static const char *
reply_read(const struct token_reply *in, const json_t *root,
	   struct token_result *r)
{
	const char *why;

	if (in->status >= 300 && in->status < 400)
		return "a redirect, which is not followed; check token_url";
	if (in->body.len == 0)
		return "the reply is empty";
	if (looks_like_html(in->body))
		return "a page for people (HTML), not a token; a proxy or a "
		       "wrong token_url?";
	if (!json_is_object(root))
		return "the reply is not JSON";
	if (in->status != 200) {
		if (reply_text(root, "error").p == NULL)
			return "JSON without an error code";
		reply_error(in, root, r);
		return NULL;
	}
	why = reply_take(root, r);
	if (why == NULL)
		r->outcome = TOKEN_GOT;
	return why;
}

void
token_reply_parse(const struct token_reply *in, struct token_result *r_r)
{
	json_error_t err;
	json_t *root = NULL;
	const char *odd;

	json_set_alloc_funcs(malloc, wipe_free);
	memset(r_r, 0, sizeof(*r_r));
	r_r->outcome = outcome_of(in->status);
	r_r->retry_after_s = token_retry_after(in->retry_after, in->now_s);
	if (in->body.len > 0 && in->body.len <= TOKEN_REPLY_MAX)
		root = json_loadb(in->body.p, in->body.len,
				  JSON_REJECT_DUPLICATES, &err);
	odd = reply_read(in, root, r_r);
	if (odd != NULL)
		reply_odd(in, odd, r_r);
	json_decref(root);
}
