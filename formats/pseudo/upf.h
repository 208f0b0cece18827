/* upf.h - norm-conserving pseudopotentials from UPF files, version 2 (docs/h0.md 2). */
#ifndef NH_FORMATS_PSEUDO_UPF_H
#define NH_FORMATS_PSEUDO_UPF_H

#include "lcao/species.h"

/* `element`: the symbol that the file must be of; NULL takes any. `spin_orbit`: one without j of its projectors is an
 * error. Refused by name: ultrasoft, PAW, all-electron (1/r) potentials, version 1, functionals that are not PBE.
 * Free with nh_pseudo_free. */
int nh_upf_read(const char *path, const char *element, bool spin_orbit, nh_pseudo *out, nh_error *err);

#endif
