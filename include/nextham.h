/* nextham.h - the library of NextHAM: crystals with their Hamiltonians in a basis of atomic orbitals, bands from them, and the
 * correction that a model makes to H0.
 *
 * Functions that can fail return 0, or -1 and one line about what is wrong in their last argument (base/error.h). Who
 * allocates frees, unless a comment says otherwise; nh_X_free(NULL) is fine. Nothing prints, but for the bar of
 * base/progress.h. eV, Angstrom, fractional k-points; arrays are row-major, their shapes are in the comments.
 *
 *   files, models        formats/library.h
 *   crystals             crystal/graph.h: structure, pairs, H and S in real space
 *   H(k), bands          crystal/fourier.h, spectrum.h, kpoints.h, kpath.h, bands.h */
#ifndef NEXTHAM_H
#define NEXTHAM_H

#include "base/error.h"
#include "base/progress.h"
#include "base/threads.h"
#include "base/version.h"
#include "crystal/bands.h"
#include "crystal/condition.h"
#include "crystal/eigen.h"
#include "crystal/fourier.h"
#include "crystal/graph.h"
#include "crystal/kpath.h"
#include "crystal/kpoints.h"
#include "crystal/neighbours.h"
#include "crystal/pairs.h"
#include "crystal/spectrum.h"
#include "crystal/structure.h"
#include "formats/library.h"

#endif
