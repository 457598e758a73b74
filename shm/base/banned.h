/*
 * banned: functions whose use is a mistake here.  log.h includes this file
 * last, so nearly every source has it; tools/lint looks for the rest.
 */
#ifndef RMS_BANNED_H
#define RMS_BANNED_H

/* The headers that declare them come first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Macros where the compiler (clang) has no inline varargs to fortify. */
#undef sprintf
#undef vsprintf

#pragma GCC poison strcpy strcat sprintf vsprintf strtok gets
#pragma GCC poison atoi atol atoll strncpy strncat

#endif
