/* The archive as one table. */
#include "kernels/nhkernels.h"

#define NETWORK(name)                                                                                             \
    {                                                                                                             \
        name##_new, name##_free, name##_update, name##_forward, name##_backward, name##_write, name##_read,       \
            name##_load, name##_clear, name##_norm, name##_step                                                   \
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
