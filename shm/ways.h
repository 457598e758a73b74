/*
 * ways: how an account comes (ways.def), as bits.
 */
#ifndef RMS_WAYS_H
#define RMS_WAYS_H

#include <stdbool.h>

#include "shm/identity.h"

enum way {
#define WAY(name, member, meaning) WAY_##name,
#include "shm/ways.def"
#undef WAY
	WAY_MAX
};
#define WAY_BIT(w) (1U << (w))

const char *way_name(enum way w); /* "http" ... */
unsigned ways_of(bool tls, bool bound, enum auth_mech mech, int32_t enctype);

#endif
