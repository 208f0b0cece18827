#include "base/progress.h"

#include "base/memory.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static const double BAR_INTERVAL = 0.2, LINE_INTERVAL = 30; /* s */
enum { MAX_BAR = 40 };

struct nh_progress {
    char *name, *unit;
    size_t total, done;
    bool quiet, terminal;
    double start, shown; /* s */
    int width;           /* columns that the bar fills now */
    pthread_mutex_t lock;
};

double nh_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

nh_progress *nh_progress_start(const char *name, const char *unit, size_t total, bool quiet)
{
    nh_progress *p = NH_ARRAY(nh_progress, 1);
    if (p == NULL) return NULL;
    p->name = nh_strdup(name);
    p->unit = nh_strdup(unit);
    if (p->name == NULL || p->unit == NULL) {
        free(p->name);
        free(p->unit);
        free(p);
        return NULL;
    }
    p->total = total;
    p->quiet = quiet;
    p->terminal = isatty(STDERR_FILENO);
    p->start = nh_seconds();
    p->shown = p->start;
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

/* "1:05", "2:03:09" */
static void format_time(double seconds, char *buffer, size_t size)
{
    if (!(seconds < 360000)) {
        snprintf(buffer, size, "> 99 h");
        return;
    }
    int s = (int)(seconds + 0.5);
    if (s >= 3600)
        snprintf(buffer, size, "%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(buffer, size, "%d:%02d", s / 60, s % 60);
}

/* "120/460 edges, 35.2 edges/s, 0:10 left"; without a total or a first result only what is known. */
static void describe(const nh_progress *p, double now, char *buffer, size_t size)
{
    char total[32] = "", left[64] = "";
    double rate = now > p->start ? (double)p->done / (now - p->start) : 0;
    if (p->total > 0) snprintf(total, sizeof total, "/%zu", p->total);
    if (p->total > p->done && rate > 0) {
        char time[32];
        format_time((double)(p->total - p->done) / rate, time, sizeof time);
        snprintf(left, sizeof left, ", %s left", time);
    }
    snprintf(buffer, size, "%zu%s %s, %.*f %s/s%s", p->done, total, p->unit,
             rate < 10    ? 2
             : rate < 100 ? 1
                          : 0,
             rate, p->unit, left);
}

static int terminal_columns(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    return 80;
}

static void clear_bar(nh_progress *p)
{
    if (p->width > 0) fprintf(stderr, "\r%*s\r", p->width, "");
    p->width = 0;
}

static void show_bar(nh_progress *p, const char *text)
{
    char bar[MAX_BAR + 3] = "", line[512];
    int columns = terminal_columns() - 1; /* the last column would wrap on some terminals */
    int room = columns - (int)strlen(p->name) - (int)strlen(text) - 5;
    if (p->total > 0 && room >= 5) {
        int length = room < MAX_BAR ? room : MAX_BAR;
        size_t done = p->done < p->total ? p->done : p->total;
        int filled = (int)((double)length * ((double)done / (double)p->total));
        bar[0] = '[';
        memset(bar + 1, '#', (size_t)filled);
        memset(bar + 1 + filled, '.', (size_t)(length - filled));
        bar[1 + length] = ']';
        bar[2 + length] = '\0';
    }
    int width = snprintf(line, sizeof line, "%s%s%s %s", p->name, bar[0] != '\0' ? " " : ":", bar, text);
    if (width < 0) return;
    if (width >= (int)sizeof line) width = (int)sizeof line - 1;
    if (width > columns) width = columns;
    line[width] = '\0';
    /* Blanks over what the last bar leaves, then back: one write, so that nothing flickers. */
    fprintf(stderr, "\r%s%*s", line, p->width > width ? p->width - width : 0, "");
    if (p->width < width) p->width = width;
}

void nh_progress_add(nh_progress *p, size_t done)
{
    if (p == NULL || p->quiet) return;
    pthread_mutex_lock(&p->lock);
    p->done += done;
    double now = nh_seconds();
    if (now - p->shown >= (p->terminal ? BAR_INTERVAL : LINE_INTERVAL)) {
        char text[256];
        describe(p, now, text, sizeof text);
        if (p->terminal)
            show_bar(p, text);
        else
            fprintf(stderr, "%s: %s\n", p->name, text);
        p->shown = now;
    }
    pthread_mutex_unlock(&p->lock);
}

void nh_progress_end(nh_progress *p)
{
    if (p == NULL) return;
    clear_bar(p);
    pthread_mutex_destroy(&p->lock);
    free(p->name);
    free(p->unit);
    free(p);
}
