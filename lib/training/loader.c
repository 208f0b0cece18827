#include "training/loader.h"

#include "base/memory.h"
#include "base/stream.h"

#include <libgen.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

enum { LIST_LIMIT = 256 << 20 };

/* --- lists --- */

void nh_names_free(nh_names *n)
{
    for (size_t i = 0; i < n->count; i++)
        free(n->name[i]);
    free(n->name);
    free(n->line);
    *n = (nh_names){0};
}

int nh_names_read(const char *path, nh_names *out, nh_error *err)
{
    char *text = NULL, *copy = nh_strdup(path);
    size_t lines = 1, number = 0;
    *out = (nh_names){0};
    if (!copy) return nh_fail_memory(err, path);
    if (nh_read_text(path, LIST_LIMIT, &text, err)) {
        free(copy);
        return -1;
    }
    const char *folder = dirname(copy);
    for (const char *c = text; *c; c++)
        lines += *c == '\n';
    out->name = NH_ARRAY(char *, lines);
    out->line = NH_ARRAY(size_t, lines);
    int status = out->name && out->line ? 0 : nh_fail_memory(err, path);
    for (char *rest = text, *line; !status && (line = strsep(&rest, "\n"));) {
        number++;
        line[strcspn(line, "\r")] = '\0';
        if (line[0] == '\0' || line[0] == '#') continue;
        char *name = NULL;
        if (line[0] == '/')
            name = nh_strdup(line);
        else if (asprintf(&name, "%s/%s", folder, line) < 0)
            name = NULL;
        if (!name) status = nh_fail_memory(err, path);
        out->line[out->count] = number;
        out->name[out->count] = name;
        out->count += name != NULL;
    }
    free(text);
    free(copy);
    if (!status && out->count == 0) status = nh_fail(err, "%s: no names of files", path);
    if (status) nh_names_free(out);
    return status;
}

/* --- the loader --- */

typedef struct place { /* of the plan */
    size_t index;
    void *thing;
    bool ready, failed;
} place;

struct nh_loader {
    size_t n, ahead;
    double budget;
    nh_loader_make *make;
    nh_loader_drop *drop;
    void *context;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stop, busy; /* busy: a thing is being made, without the lock */
    void **kept;     /* [n] */
    size_t n_kept;
    double bytes;
    size_t count, made, taken; /* places of the plan: all, begun, given out */
    place *plan;
    nh_error error; /* of the first place that failed */
};

static void *run(void *argument)
{
    nh_loader *s = argument;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->stop && (s->made >= s->count || s->made >= s->taken + s->ahead))
            pthread_cond_wait(&s->changed, &s->lock);
        if (s->stop) break;
        place *p = &s->plan[s->made++];
        p->thing = s->kept[p->index];
        if (!p->thing) {
            size_t bytes = 0;
            void *thing = NULL;
            nh_error error = {""};
            s->busy = true;
            pthread_mutex_unlock(&s->lock);
            const int status = s->make(s->context, p->index, &thing, &bytes, &error);
            pthread_mutex_lock(&s->lock);
            s->busy = false;
            p->thing = thing;
            p->failed = status != 0;
            if (status) s->error = error;
            if (!status && !s->kept[p->index] && s->bytes + (double)bytes <= s->budget) {
                s->kept[p->index] = thing;
                s->bytes += (double)bytes;
                s->n_kept++;
            }
            if (status) s->count = s->made; /* nothing after a failure */
        }
        p->ready = true;
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

int nh_loader_new(size_t n, double budget, size_t ahead, nh_loader_make *make, nh_loader_drop *drop,
                  void *context, nh_loader **out, nh_error *err)
{
    *out = NULL;
    nh_loader *s = NH_ARRAY(nh_loader, 1);
    if (!s) return nh_fail_memory(err, "data set");
    *s = (nh_loader){.n = n,
                     .budget = budget,
                     .ahead = ahead > 0 ? ahead : 1,
                     .make = make,
                     .drop = drop,
                     .context = context,
                     .kept = NH_ARRAY(void *, n)};
    if (!s->kept) {
        free(s);
        return nh_fail_memory(err, "data set");
    }
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    /* Signals are for the main thread. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int status = pthread_create(&s->thread, NULL, run, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status) {
        pthread_mutex_destroy(&s->lock);
        pthread_cond_destroy(&s->changed);
        free(s->kept);
        free(s);
        return nh_fail(err, "data set: cannot start a thread: %s", strerror(status));
    }
    *out = s;
    return 0;
}

/* With the lock, and no thing being made: drops what the plan still holds. */
static void forget_plan(nh_loader *s)
{
    for (size_t i = s->taken; i < s->made; i++) {
        place *p = &s->plan[i];
        if (p->thing && p->thing != s->kept[p->index]) s->drop(s->context, p->thing);
    }
    free(s->plan);
    s->plan = NULL;
    s->count = s->made = s->taken = 0;
}

int nh_loader_plan(nh_loader *s, size_t count, const size_t *order, nh_error *err)
{
    place *plan = NH_ARRAY(place, count);
    if (!plan) return nh_fail_memory(err, "order of the crystals");
    for (size_t i = 0; i < count; i++)
        plan[i].index = order[i];
    pthread_mutex_lock(&s->lock);
    s->count = s->made; /* begins nothing new */
    while (s->busy)
        pthread_cond_wait(&s->changed, &s->lock);
    forget_plan(s);
    s->plan = plan;
    s->count = count;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

int nh_loader_take(nh_loader *s, void **thing, nh_error *err)
{
    int status = 0;
    *thing = NULL;
    pthread_mutex_lock(&s->lock);
    if (s->taken >= s->count && !(s->taken < s->made)) {
        status = nh_fail(err, "data set: taken more often than planned");
    } else {
        place *p = &s->plan[s->taken];
        while (!p->ready)
            pthread_cond_wait(&s->changed, &s->lock);
        if (p->failed) {
            if (err) *err = s->error;
            status = -1;
        } else {
            *thing = p->thing;
            p->thing = NULL;
            s->taken++;
            pthread_cond_broadcast(&s->changed);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

void nh_loader_release(nh_loader *s, void *thing)
{
    bool kept = false;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->n && !kept; i++)
        kept = s->kept[i] == thing;
    pthread_mutex_unlock(&s->lock);
    if (!kept && thing) s->drop(s->context, thing);
}

size_t nh_loader_kept(const nh_loader *s, double *bytes)
{
    nh_loader *unlocked = (nh_loader *)s;
    pthread_mutex_lock(&unlocked->lock);
    if (bytes) *bytes = s->bytes;
    const size_t n = s->n_kept;
    pthread_mutex_unlock(&unlocked->lock);
    return n;
}

void nh_loader_free(nh_loader *s)
{
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    forget_plan(s);
    for (size_t i = 0; i < s->n; i++)
        if (s->kept[i]) s->drop(s->context, s->kept[i]);
    free(s->kept);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    free(s);
}
