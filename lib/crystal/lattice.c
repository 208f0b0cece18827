#include "crystal/lattice.h"

static void cross(const double a[3], const double b[3], double out[3])
{
    out[0] = a[1] * b[2] - a[2] * b[1];
    out[1] = a[2] * b[0] - a[0] * b[2];
    out[2] = a[0] * b[1] - a[1] * b[0];
}

double nh_lattice_volume(const double a[9])
{
    double normal[3];
    cross(a + 3, a + 6, normal);
    return a[0] * normal[0] + a[1] * normal[1] + a[2] * normal[2];
}

void nh_lattice_inverse(const double a[9], double inverse[9])
{
    const double volume = nh_lattice_volume(a);
    for (int d = 0; d < 3; d++) {
        double normal[3];
        cross(a + 3 * ((d + 1) % 3), a + 3 * ((d + 2) % 3), normal);
        for (int k = 0; k < 3; k++)
            inverse[3 * k + d] = normal[k] / volume;
    }
}

void nh_lattice_apply(const double x[3], const double a[9], double out[3])
{
    for (int k = 0; k < 3; k++)
        out[k] = x[0] * a[k] + x[1] * a[3 + k] + x[2] * a[6 + k];
}
