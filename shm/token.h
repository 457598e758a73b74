/*
 * token: what the cloud agent knows and the relays need: bearer tokens and
 * the addresses of the tenant's service.  A value in a struct pub.
 */
#ifndef RMS_TOKEN_H
#define RMS_TOKEN_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/pub.h"

#define TOKEN_CREDS_MAX 8
#define TOKEN_BYTES_MAX 8192
#define TOKEN_ADDRS_MAX 16
/* (255 + 1 + 1023) bytes in base64 and a NUL, a multiple of 8 */
#define TOKEN_BASIC_MAX 1712
/* a tenant's base URL and a NUL, a multiple of 8 */
#define TOKEN_TENANT_MAX 320

enum token_state {
	TOKEN_NONE = 0, /* none was ever fetched */
	TOKEN_OK = 1,
	TOKEN_FAILED = 2, /* the last fetch failed; may still be valid */
};

struct token_slot {
	uint32_t credential; /* the store's number of it; 0: slot unused */
	uint32_t state;	     /* enum token_state */
	uint64_t serial;     /* grows with every token fetched */
	uint64_t expires;    /* CLOCK_BOOTTIME ns; past it never sent */
	uint64_t retry;	     /* CLOCK_BOOTTIME ns of the next fetch */
	uint32_t len;	     /* of bytes; 0: none */
	uint32_t pad;
	char bytes[TOKEN_BYTES_MAX];
};

struct token_addr {
	uint8_t family; /* 4 or 6; 0: unused */
	uint8_t pad[3];
	uint32_t scope;
	uint8_t bytes[16];
};

/*
 * What relays have reported of the cloud, bounded by the cloud agent, for all
 * of them (worker/relay/health.h).  CLOCK_BOOTTIME ns; 0: nothing.
 */
struct token_health {
	uint64_t wait_all;		     /* Retry-After, for all requests */
	uint64_t wait[TOKEN_CREDS_MAX];	     /* for a credential's */
	uint32_t wait_cred[TOKEN_CREDS_MAX]; /* 0: unused */
	uint64_t down_since, down_until;     /* some relay's circuit is open */
	uint64_t bad[TOKEN_ADDRS_MAX];	     /* of the address there */
};

struct token_value {
	struct token_slot slot[TOKEN_CREDS_MAX];
	/* The tenant that the tokens are for, and no other: its base URL
	 * (conf_tenant_base()). */
	char tenant[TOKEN_TENANT_MAX];
	struct token_addr addr[TOKEN_ADDRS_MAX];
	uint32_t naddr;	     /* 0: the name was never resolved */
	uint32_t dns_failed; /* 1: the last look-up failed, addresses are old */
	uint64_t addr_serial; /* grows when the addresses change */
	/* The name that they belong to: of the tenant, or of the web proxy
	 * through which the tenant is reached. */
	char host[256];
	uint32_t proxy_port; /* that proxy's; 0: none, host is the tenant */
	uint32_t proxy_tls;  /* 1: it is an https proxy */
	/* Basic credentials (RFC 7617) in base64, or "": for the very proxy
	 * that host, proxy_port and proxy_tls name, and for no other. */
	char proxy_basic[TOKEN_BASIC_MAX];
	struct token_health health;
};

_Static_assert(offsetof(struct token_value, health) ==
		   offsetof(struct token_value, proxy_basic) + TOKEN_BASIC_MAX,
	       "no padding: values are compared as bytes");

#define TOKEN_LAYOUT UINT64_C(0x746f6b656e000005)

#endif
