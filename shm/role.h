/*
 * role: the kinds of process.  The number is used in messages, in masks
 * (ROLE_BIT) and as the row order of the stats segment.
 */
#ifndef RMS_ROLE_H
#define RMS_ROLE_H

enum role {
	ROLE_MASTER = 0,
	ROLE_RELAY = 1,
	ROLE_KEEPER = 2,
	ROLE_CLOUD = 3,
	ROLE_CONSOLE = 4, /* not built yet; its number is taken */
	ROLE_NTLM = 5,
	ROLE_MAX = 6,
};

#define ROLE_BIT(r) (1U << (r))

/* Most relay workers of one node (rows, listeners and peers are per slot). */
#define RELAY_MAX 64
/* Most processes for NTLM. */
#define NTLM_MAX 8

/* "master", "relay" ...; "?" for anything else. */
static inline const char *
role_name(enum role r)
{
	static const char *const name[ROLE_MAX] = {
	    "master", "relay", "keeper", "cloud", "console", "ntlm"};

	return (unsigned)r < ROLE_MAX ? name[r] : "?";
}

#endif
