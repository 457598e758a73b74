/*
 * Purpose: choose a certificate by what a client's first message says.
 *
 * Runs in: relay.
 * Trusts:  the certificates, which the master read; no byte of a hello.
 * Touches: TLS contexts; public data only.
 * Failure: the first certificate, or that of the name; never none.
 */
#include "worker/relay/sni.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/obj_mac.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "shm/base/log.h"

/* A name of one or several certificates. */
struct sni_entry {
	char *name;    /* lower case; "*.example.com" */
	uint8_t certs; /* bit n: that of place n */
};

_Static_assert(CONF_CERTS_MAX <= 8, "a bit for each");

struct sni {
	size_t n;
	SSL_CTX *ctx[CONF_CERTS_MAX]; /* [0] is whose we are: not a reference */
	uint8_t key[CONF_CERTS_MAX];  /* enum sni_key */
	char first[SNI_NAME_MAX + 1]; /* name of the first; "" none */
	struct sni_entry *entry;      /* by name */
	size_t nentries;
};

/* Index of a context's sni; made once. */
static int sni_index = -1;

/* ---- names ----------------------------------------------------------- */

/* Lower case, as a certificate and a client may write it.  false: longer than
 * a name can be, or with bytes that are none of a name. */
static bool
name_take(const char *p, size_t len, char name_r[SNI_NAME_MAX + 1])
{
	if (len > 0 && p[len - 1] == '.')
		len--;
	if (len == 0 || len > SNI_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (p[i] <= ' ' || p[i] > '~')
			return false;
		name_r[i] = ascii_lower(p[i]);
	}
	name_r[len] = '\0';
	return true;
}

static int
entry_order(const void *a, const void *b)
{
	return strcmp(((const struct sni_entry *)a)->name,
		      ((const struct sni_entry *)b)->name);
}

static const struct sni_entry *
entry_find(const struct sni *s, const char *name)
{
	union {
		const char *ro;
		char *rw;
	} u = {.ro = name}; /* bsearch() only reads it */
	struct sni_entry key = {.name = u.rw};

	return s->nentries == 0 ? NULL
				: bsearch(&key, s->entry, s->nentries,
					  sizeof(key), entry_order);
}

static int
entry_add(struct sni *s, const char *name, size_t place)
{
	struct sni_entry *e = NULL;

	for (size_t i = 0; e == NULL && i < s->nentries; i++)
		if (strcmp(s->entry[i].name, name) == 0)
			e = &s->entry[i];
	if (e == NULL) {
		e = realloc(s->entry, (s->nentries + 1) * sizeof(*e));
		if (e == NULL)
			return -ENOMEM;
		s->entry = e;
		e += s->nentries;
		*e = (struct sni_entry){.name = strdup(name)};
		if (e->name == NULL)
			return -ENOMEM;
		s->nentries++;
	}
	e->certs |= (uint8_t)(1U << place);
	return 0;
}

/* A wildcard is the whole of the first label, or none (RFC 9525 6.3). */
static bool
is_usable(const char *name)
{
	const char *star = strchr(name, '*');

	return star == NULL ||
	       (star == name && name[1] == '.' && name[2] != '\0' &&
		strchr(name + 1, '*') == NULL);
}

static int
add_names(struct sni *s, X509 *cert, size_t place)
{
	GENERAL_NAMES *all =
	    X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	char name[SNI_NAME_MAX + 1];
	int r = 0;

	for (int i = 0; r == 0 && i < sk_GENERAL_NAME_num(all); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(all, i);
		const ASN1_STRING *t;

		if (g->type != GEN_DNS)
			continue;
		t = g->d.dNSName;
		if (!name_take((const char *)ASN1_STRING_get0_data(t),
			       (size_t)ASN1_STRING_length(t), name) ||
		    !is_usable(name))
			continue;
		r = entry_add(s, name, place);
		if (place == 0 && s->first[0] == '\0')
			memcpy(s->first, name, sizeof(name));
	}
	GENERAL_NAMES_free(all);
	ERR_clear_error();
	return r;
}

/* ---- making ---------------------------------------------------------- */

struct sni *
sni_new(void)
{
	return calloc(1, sizeof(struct sni));
}

void
sni_free(struct sni **sp)
{
	struct sni *s = *sp;

	if (s == NULL)
		return;
	for (size_t i = 1; i < s->n; i++)
		SSL_CTX_free(s->ctx[i]);
	for (size_t i = 0; i < s->nentries; i++)
		free(s->entry[i].name);
	free(s->entry);
	free(s);
	*sp = NULL;
}

static uint8_t
key_of(X509 *cert)
{
	const EVP_PKEY *key = X509_get0_pubkey(cert);

	if (key == NULL || EVP_PKEY_get_base_id(key) != EVP_PKEY_EC)
		return SNI_RSA;
	switch (EVP_PKEY_get_bits(key)) {
	case 384:
		return SNI_P384;
	case 521:
		return SNI_P521;
	default:
		return SNI_P256;
	}
}

int
sni_add(struct sni *s, SSL_CTX *ctx)
{
	X509 *cert = SSL_CTX_get0_certificate(ctx);
	size_t place = s->n;

	BUG_ON(place >= CONF_CERTS_MAX || cert == NULL);
	s->ctx[s->n++] = ctx;
	s->key[place] = key_of(cert);
	if (add_names(s, cert, place) != 0)
		return -ENOMEM;
	if (s->nentries > 0)
		qsort(s->entry, s->nentries, sizeof(s->entry[0]), entry_order);
	return 0;
}

/* ---- choosing --------------------------------------------------------- */

/* Of these certificates, those that are for the name. */
static unsigned
certs_of(const struct sni *s, const char *name)
{
	const struct sni_entry *e = entry_find(s, name);

	return e == NULL ? 0 : e->certs;
}

static unsigned
certs_by_wildcard(const struct sni *s, const char *name)
{
	const char *dot = strchr(name, '.');
	char wild[SNI_NAME_MAX + 2];

	if (dot == NULL || dot == name)
		return 0;
	snprintf(wild, sizeof(wild), "*%s", dot);
	return certs_of(s, wild);
}

bool
sni_knows(const struct sni *s, const char *name)
{
	return (certs_of(s, name) | certs_by_wildcard(s, name)) != 0;
}

static unsigned
certs_with(const struct sni *s, unsigned keys)
{
	unsigned certs = 0;

	for (size_t i = 0; i < s->n; i++)
		if ((s->key[i] & keys) != 0)
			certs |= 1U << i;
	return certs;
}

static size_t
lowest(unsigned certs)
{
	return (size_t)__builtin_ctz(certs);
}

size_t
sni_choose(const struct sni *s, const char *name, unsigned keys)
{
	unsigned full = certs_of(s, name), wild = certs_by_wildcard(s, name);
	unsigned usable = certs_with(s, keys);

	if ((full | wild) == 0)
		full = certs_of(s, s->first) | 1; /* with or without a name */
	if ((full & usable) != 0)
		return lowest(full & usable);
	if ((wild & usable) != 0)
		return lowest(wild & usable);
	/* It cannot come to anything; the right name says best why. */
	return lowest(full != 0 ? full : wild);
}

/* ---- a client's first message ------------------------------------------ */

size_t
sni_name(const uint8_t *ext, size_t len, char name_r[SNI_NAME_MAX + 1])
{
	name_r[0] = '\0';
	/* length of the list, kind of the name, length of the name */
	if (len < 5 || (size_t)(ext[0] << 8 | ext[1]) != len - 2 ||
	    ext[2] != TLSEXT_NAMETYPE_host_name ||
	    (size_t)(ext[3] << 8 | ext[4]) != len - 5 ||
	    !name_take((const char *)ext + 5, len - 5, name_r) ||
	    strchr(name_r, '*') != NULL) {
		name_r[0] = '\0';
		return 0;
	}
	return strlen(name_r);
}

/* Is a number in a list of 16-bit numbers? */
static bool
has_u16(const uint8_t *list, size_t len, unsigned number)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		if ((unsigned)(list[i] << 8 | list[i + 1]) == number)
			return true;
	return false;
}

static bool
has_any(const uint8_t *list, size_t len, const uint16_t *of, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (has_u16(list, len, of[i]))
			return true;
	return false;
}

/* The body of an extension behind a length of `prefix` bytes; *len_r 0 when it
 * is not there. */
static const uint8_t *
ext_of(SSL *ssl, unsigned type, size_t prefix, size_t *len_r)
{
	const unsigned char *p = NULL;

	*len_r = 0;
	if (SSL_client_hello_get0_ext(ssl, type, &p, len_r) != 1 ||
	    *len_r < prefix) {
		*len_r = 0;
		return NULL;
	}
	*len_r -= prefix;
	return p + prefix;
}

/* RFC 8446 4.2.3: the signature says the curve. */
static const struct {
	uint16_t alg, group;
	enum sni_key key;
} curves[] = {
    {0x0403, 23, SNI_P256},
    {0x0503, 24, SNI_P384},
    {0x0603, 25, SNI_P521},
};
static const uint16_t rsa_algs[] = {0x0804, 0x0805, 0x0806,
				    0x0401, 0x0501, 0x0601};
/* Suites of TLS 1.2 that we speak (tls.c), by kind of key. */
static const uint16_t rsa_suites[] = {0xc02f, 0xc030, 0xcca8};
static const uint16_t ec_suites[] = {0xc02b, 0xc02c, 0xcca9};

/* In TLS 1.2 the suite says the kind of key, and the groups say the curve,
 * whatever the hash. */
static unsigned
keys_of_tls12(SSL *ssl, unsigned keys)
{
	const unsigned char *suites = NULL;
	const uint8_t *groups;
	size_t n = SSL_client_hello_get0_ciphers(ssl, &suites), ngroups;
	unsigned ec = 0;

	groups = ext_of(ssl, TLSEXT_TYPE_supported_groups, 2, &ngroups);
	for (size_t i = 0; i < ARRAY_LEN(curves); i++)
		if ((keys & ~(unsigned)SNI_RSA) != 0 &&
		    (ngroups == 0 || has_u16(groups, ngroups, curves[i].group)))
			ec |= curves[i].key;
	if (!has_any(suites, n, ec_suites, ARRAY_LEN(ec_suites)))
		ec = 0;
	if (!has_any(suites, n, rsa_suites, ARRAY_LEN(rsa_suites)))
		keys &= ~(unsigned)SNI_RSA;
	return ec | (keys & SNI_RSA);
}

/* What keys the client knows. */
static unsigned
keys_of(SSL *ssl)
{
	size_t len;
	const uint8_t *p =
	    ext_of(ssl, TLSEXT_TYPE_signature_algorithms, 2, &len);
	unsigned keys = 0;

	if (len == 0 || has_any(p, len, rsa_algs, ARRAY_LEN(rsa_algs)))
		keys = SNI_RSA;
	for (size_t i = 0; i < ARRAY_LEN(curves); i++)
		if (has_u16(p, len, curves[i].alg))
			keys |= curves[i].key;
	p = ext_of(ssl, TLSEXT_TYPE_supported_versions, 1, &len);
	return has_u16(p, len, TLS1_3_VERSION) ? keys
					       : keys_of_tls12(ssl, keys);
}

static int
on_hello(SSL *ssl, int *alert, void *arg)
{
	const struct sni *s = arg;
	char name[SNI_NAME_MAX + 1];
	size_t len, place;
	const uint8_t *p = ext_of(ssl, TLSEXT_TYPE_server_name, 0, &len);

	(void)!sni_name(p, len, name);
	place = sni_choose(s, name, keys_of(ssl));
	if (place > 0 && SSL_set_SSL_CTX(ssl, s->ctx[place]) == NULL) {
		*alert = SSL_AD_INTERNAL_ERROR;
		return SSL_CLIENT_HELLO_ERROR;
	}
	return SSL_CLIENT_HELLO_SUCCESS;
}

/* The choice is made; what is left is to say whether the name was used. */
static int
on_servername(SSL *ssl, int *alert UNUSED, void *arg)
{
	const char *p = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	char name[SNI_NAME_MAX + 1];

	return p != NULL && name_take(p, strlen(p), name) &&
		       sni_knows(arg, name)
		   ? SSL_TLSEXT_ERR_OK
		   : SSL_TLSEXT_ERR_NOACK;
}

/* ---- on a context ------------------------------------------------------ */

static void
on_ctx_free(void *parent UNUSED, void *ptr, CRYPTO_EX_DATA *ad UNUSED,
	    int index UNUSED, long argl UNUSED, void *argp UNUSED)
{
	struct sni *s = ptr;

	sni_free(&s);
}

int
sni_install(SSL_CTX *ctx, struct sni **s)
{
	BUG_ON((*s)->n == 0 || (*s)->ctx[0] != ctx);
	if (sni_index < 0)
		sni_index =
		    SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, on_ctx_free);
	if (sni_index < 0 || SSL_CTX_set_ex_data(ctx, sni_index, *s) != 1)
		return -ENOMEM;
	SSL_CTX_set_client_hello_cb(ctx, on_hello, *s);
	SSL_CTX_set_tlsext_servername_callback(ctx, on_servername);
	SSL_CTX_set_tlsext_servername_arg(ctx, *s);
	*s = NULL;
	return 0;
}

SSL_CTX *
sni_at(SSL_CTX *ctx, size_t place)
{
	const struct sni *s =
	    sni_index < 0 ? NULL : SSL_CTX_get_ex_data(ctx, sni_index);

	if (place == 0)
		return ctx;
	return s != NULL && place < s->n ? s->ctx[place] : NULL;
}
