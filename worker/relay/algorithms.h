/*
 * algorithms: what of OpenSSL a relay can use at all.
 *
 * A relay speaks TLS 1.3 and 1.2 with ECDHE and AEAD (tls.c) and verifies
 * certificates.  For that it needs a fifth of what OpenSSL brings; the rest
 * (MD5, DES, CBC modes for records, key wrapping, password-based derivation)
 * is then not there to be reached, whatever a peer or a later mistake asks for.
 *
 * It is also faster: for each key share OpenSSL 3 walks over every name that it
 * knows, some 700 of them, scattered in memory.
 */
#ifndef RMS_ALGORITHMS_H
#define RMS_ALGORITHMS_H

/*
 * Before OpenSSL is used for anything but tlsmem_init().  Reads openssl.cnf.
 * Where that chooses providers or properties (FIPS), all is left as it is.
 *
 * 0, or -ENOMEM; then OpenSSL cannot be used.
 */
int algorithms_init(void);

#endif
