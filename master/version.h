/*
 * version: what rms-connectord -V and `rmsctl status` say.
 */
#ifndef RMS_VERSION_H
#define RMS_VERSION_H

#include "shm/version.h" /* IWYU pragma: export */

#endif
