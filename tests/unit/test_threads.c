#include "base/threads.h"
#include "base/progress.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { N = 1000, THREADS = 5 };

typedef struct loop {
    atomic_int calls[N];
    atomic_size_t per_thread[THREADS];
    double value[N];
    atomic_bool bad_thread;
} loop;

static void body(void *context, size_t index, int thread)
{
    loop *l = context;
    if (thread < 0 || thread >= THREADS) {
        atomic_store(&l->bad_thread, true);
        return;
    }
    atomic_fetch_add(&l->calls[index], 1);
    atomic_fetch_add(&l->per_thread[thread], 1);
    l->value[index] = 1.0 / (double)(index + 1);
}

static void check_loop(nh_threads *t, size_t n)
{
    static loop l;
    memset(&l, 0, sizeof l);
    nh_parallel_for(t, n, body, &l);
    assert_false(atomic_load(&l.bad_thread));
    size_t total = 0;
    for (int i = 0; i < THREADS; i++)
        total += atomic_load(&l.per_thread[i]);
    assert_int_equal(total, n);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(atomic_load(&l.calls[i]), i < n ? 1 : 0);
        assert_true(l.value[i] == (i < n ? 1.0 / (double)(i + 1) : 0.0));
    }
}

static void every_index_runs_once(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 2, THREADS - 1, THREADS, THREADS + 1, N};
    nh_threads *t = NULL;
    nh_error err;
    check_loop(NULL, N);
    for (int threads = 1; threads <= THREADS; threads++) {
        assert_int_equal(nh_threads_new(threads, &t, &err), 0);
        assert_int_equal(nh_threads_count(t), threads);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            check_loop(t, sizes[i]);
        nh_threads_free(t);
    }
    assert_int_equal(nh_threads_count(NULL), 1);
    nh_threads_free(NULL);
}

/* Short loops one after another: a worker that wakes up late must neither miss a loop nor enter one twice. */
static void many_short_loops(void **state)
{
    (void)state;
    nh_threads *t = NULL;
    assert_int_equal(nh_threads_new(3, &t, NULL), 0);
    for (size_t i = 0; i < 3000; i++)
        check_loop(t, i % 7);
    nh_threads_free(t);
}

/* Each of two indices waits for the other: this ends only if two threads are in the loop at once. */
static void meet(void *context, size_t index, int thread)
{
    (void)thread;
    atomic_int *arrived = context;
    (void)index;
    atomic_fetch_add(arrived, 1);
    double limit = nh_seconds() + 20;
    while (atomic_load(arrived) < 2 && nh_seconds() < limit)
        sched_yield();
    if (atomic_load(arrived) < 2) atomic_store(arrived, -100);
}

static void threads_run_at_once(void **state)
{
    (void)state;
    nh_threads *t = NULL;
    atomic_int arrived = 0;
    assert_int_equal(nh_threads_new(2, &t, NULL), 0);
    nh_parallel_for(t, 2, meet, &arrived);
    assert_int_equal(atomic_load(&arrived), 2);
    nh_threads_free(t);
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void idle_threads_sleep(void **state)
{
    (void)state;
    nh_threads *t = NULL;
    assert_int_equal(nh_threads_new(THREADS, &t, NULL), 0);
    check_loop(t, N);
    double before = cpu_seconds();
    usleep(300000);
    assert_true(cpu_seconds() - before < 0.1);
    nh_threads_free(t);
}

static void wrong_counts(void **state)
{
    (void)state;
    nh_threads *t = NULL;
    nh_error err;
    assert_int_equal(nh_threads_new(0, &t, &err), -1);
    assert_null(t);
    assert_string_equal(err.text, "threads: at least 1 expected, found 0");
    assert_true(nh_cores() >= 1);
}

/* nh_cores counts the cores of the process, not those of the machine. */
static void cores_follow_affinity(void **state)
{
    (void)state;
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_int_equal(nh_cores(), CPU_COUNT(&before));
    size_t cpu = 0;
    while (!CPU_ISSET(cpu, &before))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    int cores = nh_cores();
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(cores, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_index_runs_once), cmocka_unit_test(many_short_loops),
        cmocka_unit_test(threads_run_at_once),   cmocka_unit_test(idle_threads_sleep),
        cmocka_unit_test(wrong_counts),          cmocka_unit_test(cores_follow_affinity),
    };
    return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
