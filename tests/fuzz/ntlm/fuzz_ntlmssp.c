/*
 * The reader of NTLM messages: reads nothing outside of them, and what it says
 * hangs together.
 */
#include "shm/base/log.h"
#include "worker/ntlm/ntlmssp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t none[NTLMSSP_BINDING_BYTES];
	struct ntlmssp r;

	ntlmssp_read(&r, (struct slice){(const char *)data, size});
	BUG_ON((r.kind == NTLMSSP_BAD) != (r.why != NULL));
	BUG_ON(r.kind != NTLMSSP_AUTHENTICATE &&
	       (r.v2 || r.anonymous || r.has_binding || r.account[0] != '\0'));
	BUG_ON(r.has_binding && memcmp(r.binding, none, sizeof(none)) == 0);
	BUG_ON(r.has_binding && !r.v2);
	BUG_ON(memchr(r.account, '\0', sizeof(r.account)) == NULL);
	BUG_ON(memchr(r.target, '\0', sizeof(r.target)) == NULL);
	for (const char *p = r.account; *p != '\0'; p++)
		BUG_ON((unsigned char)*p < 0x20);
	return 0;
}
