/* The emulation: device memory, streams and events, blocks of fibers. */
#include "emu.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define EMU_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define EMU_ASAN 0
#endif
#if defined(__SANITIZE_THREAD__)
#define EMU_TSAN 1
#include <sanitizer/tsan_interface.h>
#else
#define EMU_TSAN 0
#endif

__thread dim3 threadIdx, blockIdx, blockDim, gridDim;

/* ---- devices. Each is served by the host thread that waits for it; several threads may serve different ones at once. Whoever
 * changes the streams of a device or runs their work holds its lock; what is kept of memory has a lock of its own, which is
 * taken after that of a device and never before. */

enum { MOST_DEVICES = 16 };
typedef struct emu_device {
    std::recursive_mutex lock;
    std::vector<emu_stream *> streams;
    size_t capacity = (size_t)8 << 30, used = 0, peak = 0; /* bytes */
    uint64_t turn = 0;
} emu_device;
static emu_device devices[MOST_DEVICES];
static int device_count = 2;
static __thread int device_now; /* of cudaSetDevice */

typedef std::lock_guard<std::recursive_mutex> holding;

/* ---- what runs now in this thread, for messages */

static __thread const char *running; /* NULL: nothing */
static std::atomic<uint64_t> seed;
static std::atomic<size_t> launches;

[[noreturn]] static void fault(const char *format, ...)
{
    char text[512], where[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (running != nullptr)
        snprintf(where, sizeof where, "%s, block (%u,%u,%u), thread (%u,%u,%u)", running, blockIdx.x,
                 blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
    else
        snprintf(where, sizeof where, "host");
    char line[800];
    const int n = snprintf(line, sizeof line, "emu: %s: %s\n", where, text);
    if (write(2, line, (size_t)n) != n) _exit(3);
    signal(SIGABRT, SIG_DFL);
    abort();
}

static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* ---- device memory: each allocation between two pages that nobody may touch, its end at the end of a page but for
 * the alignment; what lies there in between is filled and looked at again. After cudaFree its addresses stay forbidden. */

enum { PAGE = 4096, ALIGN = 256, PATTERN = 0xff /* four or eight of them are a NaN */, GUARD = 0xA5 };

typedef struct allocation {
    char *map;
    size_t map_bytes, bytes, slack;
    bool live;
    int device;
    unsigned long number;
} allocation;

static std::recursive_mutex table;          /* of the three lists below */
static std::map<char *, allocation> memory; /* by first byte */
static std::deque<char *> freed;            /* the oldest are forgotten */
enum { FREED_MOST = 2000 };
static std::map<char *, size_t> pinned;

static void check_slack(const allocation &a, const char *begin)
{
#if EMU_ASAN
    __asan_unpoison_memory_region(begin + a.bytes, a.slack);
#endif
    for (size_t i = 0; i < a.slack; i++)
        if ((unsigned char)begin[a.bytes + i] != GUARD)
            fault("allocation %lu of %zu bytes was written %zu bytes behind its end", a.number, a.bytes, i);
}

/* A device's memory within reach of this process, or out of it. */
static void reach(int device, bool open)
{
    const holding t(table);
    for (auto &m : memory) {
        if (!m.second.live || m.second.device != device) continue;
        char *data = m.second.map + PAGE;
        const size_t n = m.second.map_bytes - 2 * PAGE;
        if (n > 0 && mprotect(data, n, open ? PROT_READ | PROT_WRITE : PROT_NONE)) fault("mprotect failed");
    }
}

static void on_segv(int, siginfo_t *info, void *)
{
    char *at = (char *)info->si_addr;
    for (auto &m : memory) {
        const allocation &a = m.second;
        if (at < a.map || at >= a.map + a.map_bytes) continue;
        const long distance = (long)(at - m.first);
        if (!a.live) fault("access to allocation %lu after cudaFree, at byte %ld", a.number, distance);
        if (at < m.first || at >= m.first + a.bytes)
            fault("access out of bounds: byte %ld of allocation %lu, which has %zu", distance, a.number,
                  a.bytes);
        if (running != nullptr && a.device != device_now)
            fault("device %d touches memory of device %d, byte %ld of allocation %lu", device_now, a.device,
                  distance, a.number);
        fault("the host touches device memory, byte %ld of allocation %lu", distance, a.number);
    }
    fault("access to %p, which is no device memory", (void *)at);
}

/* Again and again: test frameworks put handlers of their own in its place. */
static void install_handler(void)
{
    struct sigaction action = {};
    action.sa_sigaction = on_segv;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, nullptr);
    sigaction(SIGBUS, &action, nullptr);
}

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    emu_device &d = devices[device_now];
    const holding hold(d.lock), t(table);
    static unsigned long number = 0;
    install_handler();
    if (bytes > d.capacity || d.used + bytes > d.capacity) return cudaErrorMemoryAllocation;
    const size_t padded = (bytes + ALIGN - 1) / ALIGN * ALIGN, pages = (padded + PAGE - 1) / PAGE * PAGE;
    allocation a = {};
    a.map_bytes = pages + 2 * PAGE;
    void *map = mmap(nullptr, a.map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) return cudaErrorMemoryAllocation;
    a.map = static_cast<char *>(map);
    a.bytes = bytes;
    a.slack = padded - bytes;
    a.live = true;
    a.device = device_now;
    a.number = ++number;
    char *begin = a.map + PAGE + pages - padded;
    if (pages > 0) {
        if (mprotect(a.map + PAGE, pages, PROT_READ | PROT_WRITE)) return cudaErrorMemoryAllocation;
        memset(begin, PATTERN, bytes);
        memset(begin + bytes, GUARD, a.slack);
#if EMU_ASAN
        __asan_poison_memory_region(begin + bytes, a.slack);
#endif
        if (!running && mprotect(a.map + PAGE, pages, PROT_NONE)) return cudaErrorMemoryAllocation;
    }
    memory[begin] = a;
    d.used += bytes;
    d.peak = std::max(d.peak, d.used);
    *p = begin;
    return cudaSuccess;
}

static void finish(int device);

static int device_of(void *p)
{
    const holding t(table);
    const auto found = memory.find(static_cast<char *>(p));
    if (found == memory.end()) fault("cudaFree of %p, which cudaMalloc did not return", p);
    return found->second.device;
}

cudaError_t cudaFree(void *p)
{
    if (p == nullptr) return cudaSuccess;
    const int device = device_of(p);
    const holding hold(devices[device].lock);
    finish(device); /* as the real one: it waits for the device */
    const holding t(table);
    auto found = memory.find(static_cast<char *>(p));
    allocation &a = found->second;
    if (!a.live) fault("allocation %lu is freed twice", a.number);
    if (a.map_bytes > 2 * PAGE && mprotect(a.map + PAGE, a.map_bytes - 2 * PAGE, PROT_READ | PROT_WRITE))
        fault("mprotect failed");
    check_slack(a, found->first);
    devices[device].used -= a.bytes;
    a.live = false;
    /* the addresses stay, the memory does not */
    if (mmap(a.map, a.map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) ==
        MAP_FAILED)
        fault("mmap failed");
    freed.push_back(found->first);
    if (freed.size() > FREED_MOST) {
        const auto oldest = memory.find(freed.front());
        munmap(oldest->second.map, oldest->second.map_bytes);
        memory.erase(oldest);
        freed.pop_front();
    }
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    const holding t(table);
    *p = malloc(bytes > 0 ? bytes : 1);
    if (*p == nullptr) return cudaErrorMemoryAllocation;
    memset(*p, PATTERN, bytes);
    pinned[static_cast<char *>(*p)] = bytes;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *p)
{
    if (p == nullptr) return cudaSuccess;
    for (int i = 0; i < device_count; i++) /* any of them may copy from there */
        finish(i);
    const holding t(table);
    if (pinned.erase(static_cast<char *>(p)) == 0)
        fault("cudaFreeHost of %p, which cudaMallocHost did not return", p);
    free(p);
    return cudaSuccess;
}

static bool is_pinned(const void *p)
{
    const holding t(table);
    char *at = static_cast<char *>(const_cast<void *>(p));
    auto next = pinned.upper_bound(at);
    return next != pinned.begin() && at < std::prev(next)->first + std::prev(next)->second;
}

/* Whether it is device memory, which must be that of `device`. */
static bool is_device(const void *p, size_t bytes, int device)
{
    const holding t(table);
    char *at = static_cast<char *>(const_cast<void *>(p));
    auto next = memory.upper_bound(at);
    if (next == memory.begin()) return false;
    const auto a = std::prev(next);
    if (at >= a->first + std::max<size_t>(a->second.bytes, 1)) return false;
    if (!a->second.live) fault("a copy touches allocation %lu after cudaFree", a->second.number);
    if (at + bytes > a->first + a->second.bytes)
        fault("a copy of %zu bytes goes beyond allocation %lu of %zu bytes", bytes, a->second.number,
              a->second.bytes);
    if (a->second.device != device)
        fault("a copy in a stream of device %d touches allocation %lu of device %d", device, a->second.number,
              a->second.device);
    return true;
}

/* ---- streams and events */

struct emu_event {
    uint64_t recorded, passed; /* number of the last cudaEventRecord, and of the last one that was reached */
    double seconds;
    int device;
};
typedef struct work {
    const char *name;
    std::function<void()> run;
    emu_event *wait; /* not before wait->passed >= after */
    uint64_t after;
} work;
struct emu_stream {
    std::deque<work> queue;
    int device;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Runs what waits in the device's streams until `done`. Its lock is held. */
static void drain(int device, const std::function<bool()> &done)
{
    if (done()) return;
    emu_device &d = devices[device];
    uint64_t state = seed + ++d.turn;
    const int before = device_now;
    device_now = device; /* for messages: this thread may serve another device than its own */
    reach(device, true);
    while (!done()) {
        std::vector<emu_stream *> ready;
        for (emu_stream *s : d.streams)
            if (!s->queue.empty() &&
                (!s->queue.front().wait || s->queue.front().wait->passed >= s->queue.front().after))
                ready.push_back(s);
        if (ready.empty()) fault("streams wait for events that nobody will record");
        emu_stream *s = ready[seed == 0 ? 0 : random_next(&state) % ready.size()];
        work w = std::move(s->queue.front());
        s->queue.pop_front();
        running = w.name;
        if (w.run) w.run();
    }
    running = nullptr;
    {
        const holding t(table);
        for (auto &m : memory)
            if (m.second.live && m.second.device == device && m.second.slack > 0) {
                check_slack(m.second, m.first);
#if EMU_ASAN
                __asan_poison_memory_region(m.first + m.second.bytes, m.second.slack);
#endif
            }
    }
    reach(device, false);
    device_now = before;
}

/* All that waits on a device. */
static void finish(int device)
{
    emu_device &d = devices[device];
    const holding hold(d.lock);
    drain(device, [&] {
        for (emu_stream *s : d.streams)
            if (!s->queue.empty()) return false;
        return true;
    });
}

static void append(cudaStream_t s, work w)
{
    const holding hold(devices[s->device].lock);
    s->queue.push_back(std::move(w));
}

void emu_enqueue(cudaStream_t s, const char *name, std::function<void()> run)
{
    if (s == nullptr) fault("%s: the default stream is not used here", name);
    if (s->device != device_now)
        fault("%s: a stream of device %d while device %d is the current one", name, s->device, device_now);
    append(s, work{name, std::move(run), nullptr, 0});
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned)
{
    emu_device &d = devices[device_now];
    const holding hold(d.lock);
    *s = new emu_stream{};
    (*s)->device = device_now;
    d.streams.push_back(*s);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    const holding hold(devices[s->device].lock);
    drain(s->device, [=] { return s->queue.empty(); });
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize(void)
{
    finish(device_now);
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    emu_device &d = devices[s->device];
    const holding hold(d.lock);
    cudaStreamSynchronize(s);
    d.streams.erase(std::find(d.streams.begin(), d.streams.end(), s));
    delete s;
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned)
{
    *e = new emu_event{};
    (*e)->device = device_now;
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    const holding hold(devices[e->device].lock);
    finish(e->device); /* somebody may wait for it */
    delete e;
    return cudaSuccess;
}

static void same_device(const char *name, cudaEvent_t e, cudaStream_t s)
{
    if (e->device != s->device)
        fault("%s: an event of device %d, a stream of device %d", name, e->device, s->device);
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s)
{
    same_device("cudaEventRecord", e, s);
    const holding hold(devices[s->device].lock);
    const uint64_t number = ++e->recorded;
    append(s, work{"cudaEventRecord",
                   [=] {
                       e->passed = number;
                       e->seconds = now();
                   },
                   nullptr, 0});
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned)
{
    same_device("cudaStreamWaitEvent", e, s);
    const holding hold(devices[s->device].lock);
    append(s, work{"cudaStreamWaitEvent", nullptr, e, e->recorded});
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    const holding hold(devices[e->device].lock);
    const uint64_t number = e->recorded;
    drain(e->device, [=] { return e->passed >= number; });
    return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
    const holding hold(devices[from->device].lock);
    if (from->passed != from->recorded || to->passed != to->recorded) return cudaErrorNotReady;
    *ms = (float)(1e3 * (to->seconds - from->seconds));
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t s)
{
    const holding hold(devices[s->device].lock);
    if (bytes == 0) return cudaSuccess;
    const bool device_to = is_device(to, bytes, s->device), device_from = is_device(from, bytes, s->device);
    if (device_to != (kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice) ||
        device_from != (kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice))
        fault("a copy in a direction that its addresses do not have");
    if (!device_from && !is_pinned(from)) { /* read now, from pageable memory */
        char *copy = static_cast<char *>(malloc(bytes));
        if (copy == nullptr) return cudaErrorMemoryAllocation;
        memcpy(copy, from, bytes);
        append(s, work{"cudaMemcpyAsync",
                       [=] {
                           memcpy(to, copy, bytes);
                           free(copy);
                       },
                       nullptr, 0});
        return cudaSuccess;
    }
    append(s, work{"cudaMemcpyAsync", [=] { memmove(to, from, bytes); }, nullptr, 0});
    if (!device_to && !is_pinned(to))
        drain(s->device, [=] { return s->queue.empty(); }); /* to pageable memory it waits */
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t s)
{
    if (bytes == 0) return cudaSuccess;
    if (!is_device(p, bytes, s->device)) fault("cudaMemsetAsync of host memory");
    emu_enqueue(s, "cudaMemsetAsync", [=] { memset(p, value, bytes); });
    return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t e)
{
    switch (e) {
    case cudaSuccess:
        return "no error";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorNoDevice:
        return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
        return "invalid device ordinal";
    case cudaErrorNotReady:
        return "device not ready";
    default:
        return "invalid argument";
    }
}

cudaError_t cudaGetLastError(void)
{
    return cudaSuccess;
}

/* Programs under test are told by the environment, tests by calling emu_devices and emu_memory. */
static void read_environment(void)
{
    static std::once_flag once;
    std::call_once(once, [] {
        const char *text = getenv("NH_EMU_DEVICES");
        if (text != nullptr) device_count = std::min(atoi(text), (int)MOST_DEVICES);
        if ((text = getenv("NH_EMU_SEED")) != nullptr) seed = strtoull(text, nullptr, 10);
        if ((text = getenv("NH_EMU_MEMORY")) == nullptr) return;
        for (emu_device &d : devices) { /* the last number is for all that follow */
            char *end;
            d.capacity = strtoull(text, &end, 10);
            if (*end == ',') text = end + 1;
        }
    });
}

cudaError_t cudaGetDeviceCount(int *n)
{
    read_environment();
    *n = device_count;
    return device_count > 0 ? cudaSuccess : cudaErrorNoDevice;
}

cudaError_t cudaSetDevice(int index)
{
    if (index < 0 || index >= device_count) return cudaErrorInvalidDevice;
    device_now = index;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int index)
{
    if (index < 0 || index >= device_count) return cudaErrorInvalidDevice;
    *p = cudaDeviceProp{};
    snprintf(p->name, sizeof p->name, "emulation on the host");
    p->totalGlobalMem = devices[index].capacity;
    p->sharedMemPerBlockOptin = 227 * 1024;
    p->major = 8;
    p->multiProcessorCount = 1;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr, int)
{
    *value = 0;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *total)
{
    emu_device &d = devices[device_now];
    const holding hold(d.lock);
    *available = d.capacity > d.used ? d.capacity - d.used : 0;
    *total = d.capacity;
    return cudaSuccess;
}

void emu_seed(uint64_t value)
{
    seed = value;
}

void emu_memory(size_t bytes)
{
    for (emu_device &d : devices)
        d.capacity = bytes;
}

void emu_devices(int n)
{
    read_environment();
    device_count = n;
}

size_t emu_leaks(void)
{
    const holding t(table);
    size_t n = pinned.size();
    for (auto &m : memory)
        n += m.second.live;
    return n;
}

size_t emu_peak(void)
{
    size_t most = 0;
    for (const emu_device &d : devices)
        most = std::max(most, d.peak);
    return most;
}

size_t emu_launches(void)
{
    return launches.exchange(0);
}

/* ---- blocks: a fiber runs threads one after another until one of them waits; then the next fiber takes over with
 * the threads that have not begun, so that a kernel without barriers costs no switch at all. Every thread of the host that
 * runs blocks has fibers and all that belongs to them of its own. */

enum { STACK = 128 * 1024, MOST_THREADS = 1024 };

typedef enum progress { NEW, WAIT_BLOCK, WAIT_WARP, READY, DONE } progress;
typedef struct thread_slot {
    progress now;
    int line; /* of the barrier that it waits at */
    unsigned mask;
    int fiber;
} thread_slot;
typedef struct fiber {
    void *stack;
    void *sp; /* x86-64 */
    ucontext_t context;
    int thread; /* that it is in the middle of */
#if EMU_ASAN
    void *fake;
#endif
#if EMU_TSAN
    void *tsan;
#endif
} fiber;

typedef struct engine {
    thread_slot slot[MOST_THREADS];
    std::vector<fiber *> fibers;
    std::vector<int> spare; /* fibers that hold no thread */
    fiber host;
    int running_fiber;
    int current, begun, total; /* thread, threads begun, threads in the block */
    const std::function<void()> *body;
    char *shared_memory;
    size_t shared_bytes;
    char exchange[MOST_THREADS / 32][2][32][16];
    unsigned phase[MOST_THREADS / 32];
    ~engine()
    {
        for (fiber *f : fibers) {
#if EMU_TSAN
            __tsan_destroy_fiber(f->tsan);
#endif
#if EMU_ASAN /* fiber_main never returned: what it had on the stack would be forbidden to whoever has these addresses next */
            __asan_unpoison_memory_region(f->stack, STACK);
#endif
            munmap(f->stack, STACK);
            delete f;
        }
    }
} engine;
static __thread engine *own; /* of this thread, from its first kernel on */

static void need_engine(void)
{
    static thread_local std::unique_ptr<engine> kept; /* frees it when the thread ends */
    if (own != nullptr) return;
    kept.reset(new engine{});
    own = kept.get();
#if EMU_TSAN
    own->host.tsan = __tsan_get_current_fiber();
#endif
}

#if defined(__x86_64__)
extern "C" void emu_switch(void **save, void *load);
__asm__(".text\n.globl emu_switch\n.hidden emu_switch\n.type emu_switch,@function\nemu_switch:\n"
        "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
        "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
        "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
        ".size emu_switch, .-emu_switch\n");
#define EMU_SWITCH 1
#else
#define EMU_SWITCH 0
#endif

static void jump(fiber *from, fiber *to)
{
#if EMU_ASAN
    static thread_local char *host_bottom = nullptr;
    static thread_local size_t host_size = 0;
    if (host_bottom == nullptr) { /* the stack of the thread that emulates */
        pthread_attr_t attributes;
        void *bottom;
        pthread_getattr_np(pthread_self(), &attributes);
        pthread_attr_getstack(&attributes, &bottom, &host_size);
        pthread_attr_destroy(&attributes);
        host_bottom = static_cast<char *>(bottom);
    }
    const bool home = to == &own->host;
    __sanitizer_start_switch_fiber(&from->fake, home ? host_bottom : to->stack,
                                   home ? host_size : (size_t)STACK);
#endif
#if EMU_TSAN
    __tsan_switch_to_fiber(to->tsan, 0);
#endif
#if EMU_SWITCH
    emu_switch(&from->sp, to->sp);
#else
    swapcontext(&from->context, &to->context);
#endif
#if EMU_ASAN
    __sanitizer_finish_switch_fiber(from->fake, nullptr, nullptr);
#endif
}

static void place_thread(int index)
{
    own->current = index;
    threadIdx.x = (unsigned)index % blockDim.x;
    threadIdx.y = (unsigned)index / blockDim.x % blockDim.y;
    threadIdx.z = (unsigned)index / blockDim.x / blockDim.y;
}

static fiber *mine(void)
{
    return own->fibers[(size_t)own->slot[own->current].fiber];
}

static void fiber_main(void)
{
#if EMU_ASAN
    __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
    for (;;) {
        const int self = own->running_fiber;
        while (own->begun < own->total) {
            const int index = own->begun++;
            own->slot[index].fiber = self;
            place_thread(index);
            (*own->body)();
            own->slot[own->current].now = DONE;
        }
        own->spare.push_back(self);
        jump(own->fibers[(size_t)self], &own->host);
    }
}

static int new_fiber(void)
{
    if (!own->spare.empty()) {
        const int f = own->spare.back();
        own->spare.pop_back();
        return f;
    }
    fiber *f = new fiber{};
#if EMU_TSAN
    f->tsan = __tsan_create_fiber(0);
#endif
    f->stack = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (f->stack == MAP_FAILED) fault("no memory for a thread");
    mprotect(f->stack, PAGE, PROT_NONE);
#if EMU_SWITCH
    void **top = reinterpret_cast<void **>(static_cast<char *>(f->stack) + STACK - 64);
    *--top = nullptr; /* so that the stack is aligned as after a call */
    *--top = reinterpret_cast<void *>(fiber_main);
    for (int i = 0; i < 6; i++)
        *--top = nullptr;
    f->sp = top;
#else
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->stack;
    f->context.uc_stack.ss_size = STACK;
    makecontext(&f->context, fiber_main, 0);
#endif
    own->fibers.push_back(f);
    return (int)own->fibers.size() - 1;
}

static void wait_here(progress why, int line, unsigned mask)
{
    own->slot[own->current].now = why;
    own->slot[own->current].line = line;
    own->slot[own->current].mask = mask;
    fiber *f = mine();
    jump(f, &own->host);
}

static void resume(int index)
{
    place_thread(index);
    own->running_fiber = own->slot[index].fiber;
    jump(&own->host, mine());
}

/* Lets the lanes of a warp go on that wait for one another; false where none does. Says what is wrong where they cannot. */
static bool release_warp(int w)
{
    const int first = w * 32, end = first + 32;
    unsigned waiting = 0, wanted = 0;
    int line = -1;
    for (int i = first; i < end; i++)
        if (own->slot[i].now == WAIT_WARP) {
            if (line >= 0 && (own->slot[i].line != line || own->slot[i].mask != wanted)) {
                place_thread(i);
                fault("lanes of a warp are at different functions or masks (lines %d and %d)", line,
                      own->slot[i].line);
            }
            line = own->slot[i].line;
            wanted = own->slot[i].mask;
            waiting |= 1u << (i & 31);
        }
    if (waiting == 0) return false;
    for (int i = first; waiting != wanted && i < end; i++)
        if ((wanted >> (i & 31) & 1) && own->slot[i].now != WAIT_WARP) {
            place_thread(i);
            fault("the warp function in line %d waits for this lane, which %s", line,
                  own->slot[i].now == DONE ? "has ended" : "waits at a barrier");
        }
    for (int i = first; i < end; i++)
        if (own->slot[i].now == WAIT_WARP) own->slot[i].now = READY;
    own->phase[w] ^= 1u;
    return true;
}

/* The same for the block's barrier. */
static bool release_block(void)
{
    int line = -1;
    for (int i = 0; i < own->total && line < 0; i++)
        if (own->slot[i].now == WAIT_BLOCK) line = own->slot[i].line;
    if (line < 0) return false;
    for (int i = 0; i < own->total; i++) {
        place_thread(i);
        if (own->slot[i].now == DONE)
            fault("__syncthreads in line %d: this thread has ended before it", line);
        if (own->slot[i].line != line)
            fault("threads wait at different __syncthreads, lines %d and %d", own->slot[i].line, line);
        own->slot[i].now = READY;
    }
    return true;
}

static void run_block(void)
{
    own->begun = 0;
    for (int i = 0; i < own->total; i++)
        own->slot[i].now = NEW;
    if (own->shared_bytes > 0) memset(own->shared_memory, PATTERN, own->shared_bytes);
    memset(own->phase, 0, sizeof own->phase);
    while (own->begun < own->total) {
        own->running_fiber = new_fiber();
        jump(&own->host, own->fibers[(size_t)own->running_fiber]);
    }
    do {
        for (int w = 0; w * 32 < own->total; w++)
            do
                for (int i = w * 32; i < w * 32 + 32; i++)
                    if (own->slot[i].now == READY) resume(i);
            while (release_warp(w));
    } while (release_block());
}

void emu_check_launch(const char *name, dim3 grid, dim3 block, size_t shared)
{
    const size_t threads = (size_t)block.x * block.y * block.z;
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
        fault("%s: a grid of %u x %u x %u blocks", name, grid.x, grid.y, grid.z);
    if (threads == 0 || threads > MOST_THREADS) fault("%s: blocks of %zu threads", name, threads);
    if (threads % 32 != 0) fault("%s: blocks of %zu threads, no whole warps", name, threads);
    if (shared > 227 * 1024) fault("%s: %zu bytes of shared memory", name, shared);
}

void emu_run_grid(const char *, dim3 grid, dim3 block, size_t shared, const std::function<void()> &kernel)
{
    const size_t n = (size_t)grid.x * grid.y * grid.z;
    std::vector<size_t> order(n);
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    uint64_t state = seed;
    for (size_t i = n; seed != 0 && i > 1; i--)
        std::swap(order[i - 1], order[random_next(&state) % i]);
    need_engine();
    gridDim = grid;
    blockDim = block;
    own->total = (int)(block.x * block.y * block.z);
    own->body = &kernel;
    launches++;
    own->shared_bytes = shared;
    own->shared_memory =
        static_cast<char *>(shared > 0 ? malloc(shared) : nullptr); /* exactly: for AddressSanitizer */
    for (size_t index : order) {
        blockIdx = dim3((unsigned)(index % grid.x), (unsigned)(index / grid.x % grid.y),
                        (unsigned)(index / grid.x / grid.y));
        run_block();
    }
    free(own->shared_memory);
    own->shared_memory = nullptr;
}

void *emu_shared(void)
{
    if (own->shared_bytes == 0) fault("shared memory is used, the launch gave none");
    return own->shared_memory;
}

void emu_barrier(int line)
{
    wait_here(WAIT_BLOCK, line, 0);
}

const void *emu_exchange(unsigned mask, const void *value, size_t bytes, int line)
{
    const int warp = own->current / 32, lane = own->current % 32;
    if (bytes > 16) fault("a warp exchanges %zu bytes a lane", bytes);
    if (!(mask >> lane & 1)) fault("line %d: the mask %08x leaves out the lane that calls", line, mask);
    const unsigned turn = own->phase[warp];
    memcpy(own->exchange[warp][turn][lane], value, bytes);
    wait_here(WAIT_WARP, line, mask);
    return own->exchange[warp][turn];
}

unsigned emu_ballot(unsigned mask, bool yes, int line)
{
    const int32_t mine_says = yes;
    const char *all = static_cast<const char *>(emu_exchange(mask, &mine_says, sizeof mine_says, line));
    unsigned out = 0;
    for (int i = 0; i < 32; i++) {
        int32_t theirs;
        memcpy(&theirs, all + 16 * i, sizeof theirs);
        if ((mask >> i & 1) && theirs) out |= 1u << i;
    }
    return out;
}
