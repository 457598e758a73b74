/*
 * version: what rms-connectord -V, `rmsctl status` and the User-Agent of
 * token requests say.
 */
#ifndef RMS_SHM_VERSION_H
#define RMS_SHM_VERSION_H

#define RMS_VERSION "0.2.0"

#endif
