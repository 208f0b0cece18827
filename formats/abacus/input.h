/* input.h - writes INPUT, KPT and STRU of an ABACUS run. */
#ifndef NH_FORMATS_ABACUS_INPUT_H
#define NH_FORMATS_ABACUS_INPUT_H

#include "base/options.h"
#include "formats/structure/parser.h"

typedef struct nh_abacus_input {
    bool zeroth;            /* one step from superposed atomic densities: H0; otherwise to self-consistency */
    const char *pseudo_dir; /* folder with one pseudopotential El*.upf an element */
    const char *orbital_dir; /* folder with one orbital file El_*.orb an element */
    int nspin;               /* 4: spin-orbit coupling; 1 */
    int mesh[3];             /* Gamma-centred; 0: from `spacing` */
    double spacing;          /* of k-points, at most: 1/Å, with the factor 2 pi */
    nh_list set;             /* KEY=VALUE: keywords of INPUT that replace or follow the usual ones */
} nh_abacus_input;

/* Writes FOLDER/INPUT, KPT, STRU; the folder is made where it is missing. Errors: a missing or ambiguous file
 * of an element, an element without symbol, "KEY=VALUE" without '='. */
int nh_abacus_input_write(const nh_abacus_input *in, const nh_structure_file *file, const char *folder,
                          nh_error *err);

#endif
