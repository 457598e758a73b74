/*
 * curl_glue: libcurl's multi interface on the event loop.
 */
#ifndef RMS_CURL_GLUE_H
#define RMS_CURL_GLUE_H

#include <curl/curl.h>

#include "shm/base/bug.h"

struct curl_glue;
struct loop;

/* NULL when out of memory.  loop is borrowed. */
MUST_USE struct curl_glue *curl_glue_new(struct loop *l);
/* No transfer may be in it. */
void curl_glue_free(struct curl_glue **g);

/*
 * Runs the transfer; done(arg, result) is called once, from the loop, with
 * easy taken out again.  The caller keeps easy, and its CURLOPT_PRIVATE is
 * ours.  0 or -ENOMEM.
 */
MUST_USE int curl_glue_add(struct curl_glue *g, CURL *easy,
			   void (*done)(void *arg, CURLcode rc), void *arg);
/* Takes a transfer out before its end; done is not called.  Not from done. */
void curl_glue_remove(struct curl_glue *g, CURL *easy);

#endif
