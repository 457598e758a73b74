/*
 * ares_glue: a c-ares channel on the event loop.
 */
#ifndef RMS_ARES_GLUE_H
#define RMS_ARES_GLUE_H

#include <ares.h>

#include "shm/base/bug.h"

struct ares_glue;
struct loop;

/*
 * servers: "ADDRESS[:PORT], ..." or "" for resolv.conf.  0, or -EINVAL with
 * the servers refused, -EIO when resolv.conf cannot be read, -ENOMEM.
 */
MUST_USE int ares_glue_new(struct loop *l, const char *servers,
			   struct ares_glue **g_r);
/* Look-ups under way end with ARES_EDESTRUCTION. */
void ares_glue_free(struct ares_glue **g);

/* Other servers, or resolv.conf anew.  On error the old ones stay; else
 * look-ups under way end with ARES_EDESTRUCTION. */
MUST_USE int ares_glue_servers(struct ares_glue *g, const char *servers);

/* IPv4 and IPv6.  fn is called once, perhaps at once.  It must not call any
 * of these. */
void ares_glue_look_up(struct ares_glue *g, const char *host,
		       ares_addrinfo_callback fn, void *arg);

#endif
