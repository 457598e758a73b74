/*
 * service: which path is which service, which operation a request asks for,
 * and the pages that a service shows to a browser.
 */
#ifndef RMS_SERVICE_H
#define RMS_SERVICE_H

#include <stdbool.h>

#include "shm/base/bug.h"
#include "shm/base/str.h"

enum service {
#define SERVICE(ident, path, title, kind, ns) SERVICE_##ident,
#define OP(kind, name, who)
#include "worker/relay/services.def"
#undef SERVICE
#undef OP
	SERVICE_MAX
};

enum op {
	OP_UNKNOWN,
#define SERVICE(ident, path, title, kind, ns)
#define OP(kind, name, who) OP_##name,
#include "worker/relay/services.def"
#undef SERVICE
#undef OP
	OP_MAX
};

enum path_kind {
	PATH_SERVICE,  /* *service_r */
	PATH_RMSO_URI, /* /_wmcs/GetRmsoUri.aspx */
	PATH_HEALTH,
	PATH_UNKNOWN,
	PATH_BAD, /* `..`, encoded slashes or dots, NUL */
};

/*
 * Classifies a path: ASCII case does not matter, runs of "/" count as one.
 * health is the configured health path (exact).
 */
enum path_kind service_find(struct slice path, struct slice health,
			    enum service *service_r);

/* Is it the path of a service (which takes POST)? */
bool service_takes_post(struct slice path);

const char *service_path(enum service s);  /* "licensing/license.asmx" */
const char *service_title(enum service s); /* "License" */

/*
 * Operation from SOAPAction ("ns/Name", quotes optional), else from the
 * action parameter of a SOAP 1.2 content type.  OP_UNKNOWN when it is none of
 * this service.
 */
enum op service_op(enum service s, struct slice soap_action,
		   struct slice content_type);
/* The operation of this name; OP_UNKNOWN likewise. */
enum op service_op_named(enum service s, struct slice name);
const char *op_name(enum op o); /* "" for OP_UNKNOWN */
/* Does only Exchange ask for it? */
bool op_is_of_exchange(enum op o);

/* The page for people and for the verification step of the installation:
 * HTML that names the service and its operations. */
void service_page(struct sbuf *out, enum service s);
/* A WSDL 1.1 description with the service's address `base`. */
void service_wsdl(struct sbuf *out, enum service s, struct slice base);

#endif
