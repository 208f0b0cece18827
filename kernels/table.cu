/* The archive as one table. */
#include "device/kernels.h"

#define NETWORK(name)                                                                                             \
    {                                                                                                             \
        name##_new, name##_free, name##_update, name##_connect, name##_forward, name##_backward, name##_write,    \
            name##_read, name##_load, name##_clear, name##_norm, name##_step                                      \
    }

const nhk_calls *nhk_table(void)
{
    static const nhk_calls table = {NHK_VERSION,
                                     nhk_count,
                                     nhk_open,
                                     nhk_close,
                                     nhk_name,
                                     nhk_sync,
                                     nhk_pinned,
                                     nhk_pinned_free,
                                     NETWORK(nhk_network_f),
                                     NETWORK(nhk_network_d),
                                     nhk_crystal_new,
                                     nhk_crystal_free,
                                     nhk_crystal_ends_f,
                                     nhk_crystal_ends_d,
                                     nhk_crystal_corrections,
                                     nhk_outputs_new,
                                     nhk_outputs_free,
                                     nhk_outputs_ends_f,
                                     nhk_outputs_ends_d,
                                     nhk_outputs_upload,
                                     nhk_outputs_download,
                                     nhk_loss_new,
                                     nhk_loss_free,
                                     nhk_loss_begin,
                                     nhk_loss_project,
                                     nhk_loss_errors,
                                     nhk_loss_gradients,
                                     nhk_fourier_new,
                                     nhk_fourier_free,
                                     nhk_fourier_at,
                                     nhk_eigen_new,
                                     nhk_eigen_free,
                                     nhk_eigen_room,
                                     nhk_eigen_queue,
                                     nhk_eigen_solve,
                                     nhk_eigen_vectors};
    return &table;
}
