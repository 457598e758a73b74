/*
 * check: what a text must look like beyond its length.
 *
 * Each takes a text that is not empty and returns NULL when it is as it
 * should be, else static text "why, what would do" for the error message.
 */
#ifndef RMS_CONF_CHECK_H
#define RMS_CONF_CHECK_H

#include "shm/base/str.h"

/* https://host[:port][/path]: no user, query or fragment. */
const char *check_https_url(const char *s);
/* "/x/y": starts with a slash, no empty or dot segment, no slash at the end
 * unless it is alone. */
const char *check_path_prefix(const char *s);
/* RFC 9110 token, which is also all that a directory id or domain needs. */
const char *check_token(const char *s);
/* Name of a header field that we may add to a request: a token, and none
 * that frames, routes or authenticates it. */
const char *check_header(const char *s);
/* Lower-case letters, digits, - and _. */
const char *check_credential_name(const char *s);
/* One IPv4 or IPv6 address, without brackets. */
const char *check_address(const char *s);
/* Addresses separated by commas. */
const char *check_addresses(const char *s);
/* Addresses and networks (ADDRESS/BITS) separated by commas, at most
 * CONF_NETS_MAX. */
const char *check_networks(const char *s);
/* ADDRESS, ADDRESS:PORT or [V6]:PORT, separated by commas. */
const char *check_servers(const char *s);
/* http://host:port or https://host:port, nothing behind it but a slash. */
const char *check_proxy_url(const char *s);
/* Hosts, domains, addresses and networks, separated by commas. */
const char *check_no_proxy(const char *s);
/* Names, or sha256:HEX, separated by semicolons. */
const char *check_issuers(const char *s);
/* Name of a Unix account or group. */
const char *check_account(const char *s);
/* Absolute paths separated by commas, at most CONF_CERTS_MAX. */
const char *check_paths(const char *s);
/* Letters, digits, dot, - and _. */
const char *check_node_name(const char *s);

/* An element of a list, without the blanks around it. */
struct slice check_trim(struct slice s);

#endif
