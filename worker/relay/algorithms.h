/*
 * algorithms: what of OpenSSL a relay can ask for.
 *
 * A relay speaks TLS 1.3 and 1.2 with ECDHE and AEAD (tls.c) and verifies
 * certificates.  For that it needs a fifth of what OpenSSL brings; it cannot
 * fetch the rest (MD5, DES, RSA key transport, key wrapping, password-based
 * derivation), whatever a peer or a later mistake asks for.
 *
 * It is also faster: for each key share OpenSSL 3 walks over every name that it
 * knows, some 700 of them, scattered in memory.
 */
#ifndef RMS_ALGORITHMS_H
#define RMS_ALGORITHMS_H

/*
 * Before OpenSSL is used for anything but tlsmem_init().  Reads openssl.cnf.
 * Where that chooses providers or demands FIPS, all is left as it is; other
 * properties and its random numbers are not taken over.  For the calling
 * thread: a relay has no other.
 *
 * 0; -EINVAL: openssl.cnf is refused, OpenSSL's queue of errors says why;
 * -ENOMEM.  After an error OpenSSL cannot be used.
 */
int algorithms_init(void);

#endif
