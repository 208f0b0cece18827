/* table.h - the tables of device/kernels.h, each defined beside its functions, which nothing else sees. */
#ifndef NH_KERNELS_TABLE_H
#define NH_KERNELS_TABLE_H

#include "device/kernels.h"

extern "C" {
extern const nhk_network_f_calls nhk_network_f_table;
extern const nhk_network_d_calls nhk_network_d_table;
extern const nhk_training_f_calls nhk_training_f_table;
extern const nhk_training_d_calls nhk_training_d_table;
extern const nhk_crystal_calls nhk_crystal_table;
extern const nhk_outputs_calls nhk_outputs_table;
extern const nhk_loss_calls nhk_loss_table;
extern const nhk_fourier_calls nhk_fourier_table;
extern const nhk_eigen_calls nhk_eigen_table;
extern const nhk_tiles_calls nhk_tiles_table;
extern const nhk_potential_calls nhk_potential_table;
}

#endif
