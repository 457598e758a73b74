/*
 * Purpose: Kerberos encryption types, by one table.
 *
 * Runs in: every process, and rmsctl.
 * Trusts:  its callers.
 * Touches: nothing.
 * Failure: none.
 */
#include "shm/base/enctype.h"

#include <stddef.h>

#include "shm/base/bug.h"

const char *
enctype_name(int32_t enctype)
{
	static const struct {
		int32_t number;
		const char *name;
	} known[] = {
	    {1, "des-cbc-crc"},
	    {2, "des-cbc-md4"},
	    {3, "des-cbc-md5"},
	    {16, "des3-cbc-sha1"},
	    {17, "aes128-cts-hmac-sha1-96"},
	    {18, "aes256-cts-hmac-sha1-96"},
	    {19, "aes128-cts-hmac-sha256-128"},
	    {20, "aes256-cts-hmac-sha384-192"},
	    {23, "arcfour-hmac"},
	    {24, "arcfour-hmac-exp"},
	    {25, "camellia128-cts-cmac"},
	    {26, "camellia256-cts-cmac"},
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (known[i].number == enctype)
			return known[i].name;
	}
	return NULL;
}

bool
enctype_is_weak(int32_t enctype)
{
	return (enctype >= 1 && enctype <= 3) || enctype == 16 ||
	       enctype == 23 || enctype == 24;
}
