/*
 * Purpose: requests of the load generator.
 *
 * Runs in: load.
 * Trusts:  the lab's KDC and credential cache.
 * Touches: the credential cache of KRB5CCNAME.
 * Failure: ends the process.
 */
#include "tests/bench/load_request.h"

#include <gssapi/gssapi.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
	char **line;
	size_t n, next;
} tokens;

static const char body_top[] =
    "<?xml version=\"1.0\" encoding=\"utf-8\"?><soap:Envelope "
    "xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"><soap:Body>"
    "<AcquireLicense xmlns=\"http://microsoft.com/DRM/LicensingService\">"
    "<RequestParams><x>";
static const char body_end[] =
    "</x></RequestParams></AcquireLicense></soap:Body></soap:Envelope>";

void
fatal(const char *format, ...)
{
	va_list ap;

	fputs("load: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

static void __attribute__((noreturn))
gss_fatal(const char *what, OM_uint32 minor)
{
	OM_uint32 more = 0, ignored;
	gss_buffer_desc text = GSS_C_EMPTY_BUFFER;

	gss_display_status(&ignored, minor, GSS_C_MECH_CODE, GSS_C_NO_OID,
			   &more, &text);
	fatal("%s: %.*s", what, (int)text.length, (const char *)text.value);
}

static gss_name_t
service_name(const char *service)
{
	static gss_name_t name = GSS_C_NO_NAME;
	gss_buffer_desc text = {strlen(service), (void *)(uintptr_t)service};
	OM_uint32 minor = 0;

	if (name == GSS_C_NO_NAME &&
	    GSS_ERROR(gss_import_name(&minor, &text, GSS_C_NT_HOSTBASED_SERVICE,
				      &name)))
		gss_fatal("import of the service's name", minor);
	return name;
}

/* "Authorization: Negotiate ..." of a new context; the caller owns it. */
static char *
negotiate_new(const char *service)
{
	static char oid[] = "\x2b\x06\x01\x05\x05\x02";
	static gss_OID_desc spnego = {6, oid};
	static const char field[] = "Authorization: Negotiate ";
	gss_buffer_desc token = GSS_C_EMPTY_BUFFER;
	gss_ctx_id_t context = GSS_C_NO_CONTEXT;
	OM_uint32 minor = 0;
	char *line, *p;

	if (GSS_ERROR(gss_init_sec_context(
		&minor, GSS_C_NO_CREDENTIAL, &context, service_name(service),
		&spnego, GSS_C_MUTUAL_FLAG, 0, GSS_C_NO_CHANNEL_BINDINGS,
		GSS_C_NO_BUFFER, NULL, &token, NULL, NULL)))
		gss_fatal("no token for the service", minor);
	line = malloc(sizeof(field) + token.length * 4 / 3 + 8);
	if (line == NULL)
		fatal("out of memory");
	p = stpcpy(line, field);
	p +=
	    EVP_EncodeBlock((unsigned char *)p, token.value, (int)token.length);
	stpcpy(p, "\r\n");
	gss_release_buffer(&minor, &token);
	gss_delete_sec_context(&minor, &context, GSS_C_NO_BUFFER);
	return line;
}

void
request_tokens_make(const struct request_conf *conf, size_t n)
{
	tokens.line = calloc(n, sizeof(*tokens.line));
	if (tokens.line == NULL)
		fatal("out of memory");
	for (tokens.n = 0; tokens.n < n; tokens.n++)
		tokens.line[tokens.n] = negotiate_new(conf->service);
}

static char *
token_line(const struct request_conf *conf)
{
	if (tokens.next < tokens.n)
		return tokens.line[tokens.next++];
	return negotiate_new(conf->service);
}

char *
request_new(const struct request_conf *conf, int with_token, size_t *len_r)
{
	size_t size = conf->bytes, top = sizeof(body_top) - 1,
	       end = sizeof(body_end) - 1;
	char *auth = with_token ? token_line(conf) : NULL, *text = NULL;
	int n =
	    asprintf(&text,
		     "POST %s HTTP/1.1\r\nHost: %s\r\n"
		     "User-Agent: bench\r\n"
		     "Content-Type: text/xml; charset=utf-8\r\n"
		     "SOAPAction: \"http://microsoft.com/DRM/"
		     "LicensingService/AcquireLicense\"\r\n"
		     "%sContent-Length: %zu\r\n\r\n",
		     conf->path, conf->host, auth != NULL ? auth : "", size);
	char *grown = n < 0 ? NULL : realloc(text, (size_t)n + size);

	if (grown == NULL)
		fatal("out of memory");
	memset(grown + n, 'A', size);
	if (size >= top + end) {
		memcpy(grown + n, body_top, top);
		memcpy(grown + (size_t)n + size - end, body_end, end);
	}
	free(auth);
	*len_r = (size_t)n + size;
	return grown;
}
