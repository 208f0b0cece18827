/* version.h - the version of the library. */
#ifndef NH_BASE_VERSION_H
#define NH_BASE_VERSION_H

#ifdef __cplusplus
extern "C" {
#endif

/* "0.1.0". Valid for ever. */
const char *nh_version(void);

#ifdef __cplusplus
}
#endif

#endif
