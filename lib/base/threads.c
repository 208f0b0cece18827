#include "base/threads.h"

#include "base/memory.h"

#include <cblas.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

typedef struct worker {
    struct nh_threads *pool;
    pthread_t id;
    int number; /* 1..count-1; the caller is 0 */
} worker;

struct nh_threads {
    int count;
    int started; /* workers that exist */
    worker *workers;
    pthread_mutex_t lock;
    pthread_cond_t work; /* a new loop, or the end of the pool */
    pthread_cond_t done; /* the last worker has left the loop */
    unsigned long loop;  /* number of the current loop; tells a worker whether it has seen it */
    int running;         /* workers still in the current loop */
    bool stop;
    /* The current loop. Written under the lock before `loop` changes, so workers read them without it. */
    void (*body)(void *context, size_t index, int thread);
    void *context;
    size_t n;
    atomic_size_t next;
};

int nh_cores(void)
{
    /* A machine with more cores than a cpu_set_t holds (1024) needs a larger set: double it until it fits. */
    for (int cpus = CPU_SETSIZE; cpus <= 1 << 20; cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)cpus);
        if (set == NULL) break;
        size_t size = CPU_ALLOC_SIZE((size_t)cpus);
        int found = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (found > 0) return found;
    }
    return 1;
}

static void run_indices(nh_threads *t, int thread)
{
    for (;;) {
        size_t index = atomic_fetch_add_explicit(&t->next, 1, memory_order_relaxed);
        if (index >= t->n) return;
        t->body(t->context, index, thread);
    }
}

static void *worker_main(void *argument)
{
    worker *self = argument;
    nh_threads *t = self->pool;
    unsigned long seen = 0;
    pthread_mutex_lock(&t->lock);
    for (;;) {
        while (!t->stop && t->loop == seen)
            pthread_cond_wait(&t->work, &t->lock);
        if (t->stop) break;
        seen = t->loop;
        pthread_mutex_unlock(&t->lock);
        run_indices(t, self->number);
        pthread_mutex_lock(&t->lock);
        if (--t->running == 0) pthread_cond_signal(&t->done);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

static void leave(int status, void *context)
{
    (void)context;
    fflush(NULL);
    _exit(status);
}

/* OpenBLAS maps a buffer for each thread that calls it and tries for ever where the address space is limited (ulimit -v) and has no
 * room for one: here that is an error. */
static int check_room(int n, nh_error *err)
{
    const size_t buffer = (size_t)128 << 20; /* OpenBLAS 0.3 on x86-64 */
    struct rlimit limit;
    size_t bytes;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return 0;
    void *const room = nh_size_mul((size_t)n + 1, buffer, &bytes)
                           ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                           : MAP_FAILED;
    if (room == MAP_FAILED) {
        on_exit(leave, NULL); /* its clean-up would wait for threads of its own that still try */
        return nh_fail(
            err, "threads: %d of them need %zu MB of address space, more than its limit leaves (ulimit -v)",
            n, ((size_t)n + 1) * (buffer >> 20));
    }
    munmap(room, bytes);
    return 0;
}

int nh_threads_new(int n, nh_threads **out, nh_error *err)
{
    *out = NULL;
    if (n < 1) return nh_fail(err, "threads: at least 1 expected, found %d", n);
    if (check_room(n, err)) return -1;
    nh_threads *t = NH_ARRAY(nh_threads, 1);
    if (t == NULL) return nh_fail_memory(err, "threads");
    t->workers = NH_ARRAY(worker, (size_t)n);
    if (t->workers == NULL) {
        free(t);
        return nh_fail_memory(err, "threads");
    }
    t->count = n;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->work, NULL);
    pthread_cond_init(&t->done, NULL);
    openblas_set_num_threads(1);

    /* Signals are for the main thread: workers inherit a mask that blocks them all. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int status = 0;
    for (int i = 1; i < n && status == 0; i++) {
        t->workers[i] = (worker){.pool = t, .number = i};
        status = pthread_create(&t->workers[i].id, NULL, worker_main, &t->workers[i]);
        if (status == 0) t->started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status != 0) {
        nh_fail(err, "threads: cannot start thread %d of %d: %s", t->started + 2, n, strerror(status));
        nh_threads_free(t);
        return -1;
    }
    *out = t;
    return 0;
}

void nh_threads_free(nh_threads *t)
{
    if (t == NULL) return;
    pthread_mutex_lock(&t->lock);
    t->stop = true;
    pthread_cond_broadcast(&t->work);
    pthread_mutex_unlock(&t->lock);
    for (int i = 1; i <= t->started; i++)
        pthread_join(t->workers[i].id, NULL);
    pthread_cond_destroy(&t->done);
    pthread_cond_destroy(&t->work);
    pthread_mutex_destroy(&t->lock);
    free(t->workers);
    free(t);
}

int nh_threads_count(const nh_threads *t)
{
    return t == NULL ? 1 : t->count;
}

void nh_parallel_for(nh_threads *t, size_t n, void (*body)(void *context, size_t index, int thread),
                     void *context)
{
    if (t == NULL || t->started == 0 || n <= 1) {
        for (size_t i = 0; i < n; i++)
            body(context, i, 0);
        return;
    }
    pthread_mutex_lock(&t->lock);
    t->body = body;
    t->context = context;
    t->n = n;
    atomic_store_explicit(&t->next, 0, memory_order_relaxed);
    t->running = t->started;
    t->loop++;
    pthread_cond_broadcast(&t->work);
    pthread_mutex_unlock(&t->lock);
    run_indices(t, 0);
    pthread_mutex_lock(&t->lock);
    while (t->running > 0)
        pthread_cond_wait(&t->done, &t->lock);
    pthread_mutex_unlock(&t->lock);
}
