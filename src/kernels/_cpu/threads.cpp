// The thread pool. The caller works too, and never waits for a helper that has not begun.
//
// There is one job slot. Its tasks lie in one queue, or in a share for each thread. The claim word of either is
// (generation << 32 | next task); a thread claims a task by raising the word with a compare-exchange, so a helper that
// wakes too late finds nothing to claim and returns to sleep: it costs the caller nothing. (A fork-join pool waits for
// everybody: after 50 ms of sleep that is milliseconds for a job of microseconds.) The caller waits only for tasks that
// somebody has claimed. A thread begins with its own share and goes on with the others': where two calls in a row cut
// the same data alike, it finds in its cache what it wrote (ReLU of 0.8 to 25 MB: 1.05 to 1.15 times as fast).
//
//   closed      next task = kClosed. The slot's fields may be written only now.
//   open        fields first, then the words of a new generation.
//   claimed     fields read before a successful compare-exchange are this generation's: had the slot been closed in
//               between, the word would differ.
//   finished    every thread adds the number of its tasks to `done` when it finds no more to claim; until the sum is
//               right the job cannot close, so the caller's frame outlives every use of it.
//
// Whoever finds the slot taken (another Python thread's job, or the job around a nested call) runs its tasks itself. A
// thread that is at work so counts as one of those that the limit allows: the others' jobs get so many helpers fewer.
// Helpers spin for a moment after a job, because the next one usually follows, and then sleep on a condition variable:
// at once if another thread took their processor while they spun, so that spinning costs other programs nothing.
// Whoever wakes one keeps it off the processors of the threads that are awake (places.cpp).
// Waking one costs the waker 8-17 us and the helper begins 30-40 us later (2 cores, a virtual machine), so the caller
// wakes two, which wake two each; one that spins joins at once. Hence 20 us of work a thread: a job below 40 us loses
// to one thread when the helper slept, and above it gains either way. They are woken when a kernel asks how many
// threads its work is worth, or before (expect): what the caller then does by itself, as packing filters, goes on.
// After a fork the child has no helpers; they are created again when needed. Helpers never touch Python, and are
// detached: they end with the process.
#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <utility>

#include "places.h"

namespace fc {
namespace {

constexpr uint64_t kClosed = 0xffffffffu;
constexpr int64_t kTakenNanoseconds = 50'000;  // a yield that lasts longer let another thread run
constexpr double kNanosecondsPerThread = 20e3;

struct alignas(64) Share {
    std::atomic<uint64_t> claim{kClosed};
    std::atomic<int64_t> end{0};
};

struct alignas(64) Slot {
    Share shares[kMaxThreads];
    std::atomic<Task> run{nullptr};
    std::atomic<void*> context{nullptr};
    std::atomic<int> nshares{1};
    std::atomic<int> nthreads{0};
    std::atomic<int> nparts{0};  // the sleeping helpers among whom the processors that are not taken are dealt out
    Processors processors_taken;
    alignas(64) std::atomic<int64_t> done{0};
    alignas(64) std::atomic<bool> taken{false};
};

struct alignas(64) Helper {
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
    std::atomic<bool> asleep{false};
    std::atomic<int> thread{0};      // the system's number
    std::atomic<int> processor{-1};  // where it runs, as far as it has said
    std::atomic<int> part{-1};       // of the processors, in the job that finds it asleep
    Narrowed narrowed;               // valid while is_narrow; both are the waker's, under the mutex, while it sleeps
    bool is_narrow = false;
    std::atomic<int64_t> wakes{0};  // for tests: how often it was woken; where it began last, and where its caller was
    std::atomic<int> began_on{-1}, caller_on{-1};
};

Slot slot;
Helper helpers[kMaxThreads];  // helpers[tid]; the caller is tid 0
int created = 1;              // threads so far, the caller included; guarded by slot.taken
std::atomic<int> limit{1};
std::atomic<int64_t> spin_nanoseconds{150'000};  // docs/decisions/threads.md#how-long-helpers-spin
std::atomic<int> callers{0};  // threads in parallel()
std::atomic<int> sleepers{0};
std::atomic<int> expected{0};    // threads of a job that has been announced and not opened
std::atomic<int> caller_on{-1};  // when the processors were dealt out last
thread_local bool alone = false;

inline void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

int64_t now() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return int64_t(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

bool claimable(const Share& share, uint64_t word, int tid) {
    const uint64_t task = word & kClosed;
    return task != kClosed && int64_t(task) < share.end.load(std::memory_order_acquire) &&
           tid < slot.nthreads.load(std::memory_order_acquire);
}

// Whether there is a task for this thread. The first share's word is the last one that a job opens.
bool claimable(int tid) {
    for (int i = 0; i == 0 || i < slot.nshares.load(std::memory_order_acquire); ++i)
        if (claimable(slot.shares[i], slot.shares[i].claim.load(std::memory_order_seq_cst), tid)) return true;
    return false;
}

void wake(Helper& helper) {
    if (!helper.asleep.load(std::memory_order_seq_cst)) return;
    pthread_mutex_lock(&helper.mutex);
    if (helper.asleep.load(std::memory_order_relaxed)) {
        const int part = helper.part.load(std::memory_order_relaxed);
        const int nparts = slot.nparts.load(std::memory_order_relaxed);
        helper.caller_on.store(caller_on.load(std::memory_order_relaxed), std::memory_order_relaxed);
        if (part >= 0 && part < nparts && !helper.is_narrow) {
            const int thread = helper.thread.load(std::memory_order_relaxed);
            const int first = narrow(thread, slot.processors_taken, part, nparts, helper.narrowed);
            helper.is_narrow = first >= 0;
            if (first >= 0) helper.processor.store(first, std::memory_order_relaxed);
        }
        helper.asleep.store(false, std::memory_order_relaxed);
    }
    pthread_mutex_unlock(&helper.mutex);
    pthread_cond_signal(&helper.wake);
}

void wake_children(int tid, int nthreads) {
    for (int child = 2 * tid + 1; child <= 2 * tid + 2 && child < nthreads; ++child) wake(helpers[child]);
}

// If helpers sleep, deals out the processors among those that a job of `nthreads` threads will wake. The caller has the
// slot, and has not opened it. (A helper that falls asleep after this is placed by the system.)
void deal_processors(int nthreads) {
    int nparts = 0;
    if (sleepers.load(std::memory_order_relaxed)) {
        const int here = this_processor();
        caller_on.store(here, std::memory_order_relaxed);
        slot.nparts.store(0, std::memory_order_relaxed);
        slot.processors_taken.clear();
        slot.processors_taken.add(here);
        for (int tid = 1; tid < std::min(nthreads, created); ++tid) {
            Helper& helper = helpers[tid];
            const bool asleep = helper.asleep.load(std::memory_order_relaxed);
            helper.part.store(asleep ? nparts++ : -1, std::memory_order_relaxed);
            if (!asleep) slot.processors_taken.add(helper.processor.load(std::memory_order_relaxed));
        }
    }
    slot.nparts.store(nparts, std::memory_order_relaxed);
}

// Claims and runs tasks until none is left in the share; how many.
int64_t finish(Share& share, int tid) {
    int64_t finished = 0;
    uint64_t word = share.claim.load(std::memory_order_acquire);
    while (claimable(share, word, tid)) {
        const Task run = slot.run.load(std::memory_order_acquire);
        void* context = slot.context.load(std::memory_order_acquire);
        if (!share.claim.compare_exchange_weak(word, word + 1, std::memory_order_acq_rel, std::memory_order_acquire))
            continue;
        run(context, int64_t(word & kClosed), tid);
        ++finished;
        word = share.claim.load(std::memory_order_acquire);
    }
    return finished;
}

// Wakes two helpers, then runs tasks of its own share and of the others' until none is left.
void work(int tid) {
    if (!claimable(tid)) return;
    wake_children(tid, slot.nthreads.load(std::memory_order_acquire));

    const int nshares = slot.nshares.load(std::memory_order_acquire);
    int64_t finished = 0;
    for (int i = 0; i < nshares; ++i) finished += finish(slot.shares[(tid + i) % nshares], tid);
    if (finished) slot.done.fetch_add(finished, std::memory_order_release);
}

// Returns when there may be a task for this helper, or soon will be one.
void rest(int tid) {
    Helper& self = helpers[tid];
    int64_t time = now();
    const int64_t deadline = time + spin_nanoseconds.load(std::memory_order_relaxed);
    do {
        for (int i = 0; i < 32; ++i) {
            if (claimable(tid)) return;
            relax();
        }
        const int here = this_processor();  // stored only if it changed: callers read this line
        if (here != self.processor.load(std::memory_order_relaxed)) self.processor.store(here, std::memory_order_relaxed);
        sched_yield();
        const int64_t before = std::exchange(time, now());
        if (time - before > kTakenNanoseconds) break;
    } while (time < deadline);

    // Either the caller sees `asleep` after it has opened the slot, or we see the open slot after setting `asleep`.
    pthread_mutex_lock(&self.mutex);
    self.asleep.store(true, std::memory_order_seq_cst);
    sleepers.fetch_add(1, std::memory_order_relaxed);
    while (self.asleep.load(std::memory_order_relaxed) && !claimable(tid))
        pthread_cond_wait(&self.wake, &self.mutex);
    const bool woken = !self.asleep.exchange(false, std::memory_order_relaxed);
    sleepers.fetch_sub(1, std::memory_order_relaxed);
    const bool narrow = std::exchange(self.is_narrow, false);
    pthread_mutex_unlock(&self.mutex);
    const int here = this_processor();
    self.processor.store(here, std::memory_order_relaxed);
    if (narrow) widen(self.narrowed);
    if (!woken) return;
    wake_children(tid, expected.load(std::memory_order_relaxed));
    self.began_on.store(here, std::memory_order_relaxed);
    self.wakes.fetch_add(1, std::memory_order_release);
}

void* helper_main(void* argument) {
    Helper& self = *static_cast<Helper*>(argument);
    const int tid = int(&self - helpers);
    self.thread.store(this_thread(), std::memory_order_relaxed);
    for (;;) {
        work(tid);
        rest(tid);
    }
    return nullptr;
}

// Creates what is missing of `nthreads` threads. Fewer than asked for is no error: the caller can do all the work.
void create_helpers(int nthreads) {
    read_cores();
    sigset_t all, before;  // signals are for the program's own threads
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    for (pthread_t thread; created < nthreads; ++created)
        if (pthread_create(&thread, &detached, helper_main, &helpers[created]) != 0) break;
    pthread_attr_destroy(&detached);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// The child of a fork has only the thread that forked: whatever the others were doing is forgotten.
void forget_helpers() {
    new (&slot) Slot;
    for (int tid = 1; tid < created; ++tid) new (&helpers[tid]) Helper;
    created = 1;
    callers.store(0, std::memory_order_relaxed);
    sleepers.store(0, std::memory_order_relaxed);
}

struct Caller {
    const int others = callers.fetch_add(1, std::memory_order_relaxed);
    ~Caller() { callers.fetch_sub(1, std::memory_order_relaxed); }
};

[[maybe_unused]] const int registered = pthread_atfork(nullptr, nullptr, forget_helpers);

}  // namespace

void parallel(int64_t ntasks, int nthreads, bool in_order, Task run, void* context) {
    const Caller caller;
    const int most = limit.load(std::memory_order_relaxed) - caller.others;
    nthreads = int(std::min<int64_t>({nthreads, most, ntasks}));
    if (nthreads <= 1 || uint64_t(ntasks) >= kClosed || slot.taken.exchange(true, std::memory_order_acquire)) {
        for (int64_t task = 0; task < ntasks; ++task) run(context, task, 0);
        return;
    }
    if (created < nthreads) create_helpers(nthreads);
    deal_processors(nthreads);
    expected.store(0, std::memory_order_relaxed);

    slot.run.store(run, std::memory_order_release);
    slot.context.store(context, std::memory_order_release);
    const int nshares = in_order ? 1 : nthreads;
    slot.nshares.store(nshares, std::memory_order_release);
    slot.nthreads.store(nthreads, std::memory_order_release);
    slot.done.store(0, std::memory_order_relaxed);
    const uint64_t generation = ((slot.shares[0].claim.load(std::memory_order_relaxed) >> 32) + 1) << 32;
    for (int i = nshares - 1; i >= 0; --i) {
        slot.shares[i].end.store(ntasks * (i + 1) / nshares, std::memory_order_release);
        slot.shares[i].claim.store(generation | uint64_t(ntasks * i / nshares), std::memory_order_seq_cst);
    }
    work(0);
    for (int spins = 0; slot.done.load(std::memory_order_acquire) != ntasks; ++spins)
        spins < 1000 ? relax() : void(sched_yield());
    for (int i = 0; i < nshares; ++i) slot.shares[i].claim.store(generation | kClosed, std::memory_order_release);
    slot.taken.store(false, std::memory_order_release);
}

void expect(int nthreads) {
    if (nthreads <= 1 || !sleepers.load(std::memory_order_relaxed)) return;
    const int others = callers.load(std::memory_order_relaxed);
    nthreads = std::min(nthreads, limit.load(std::memory_order_relaxed) - others);
    if (nthreads <= 1 || slot.taken.exchange(true, std::memory_order_acquire)) return;
    deal_processors(nthreads);
    expected.store(nthreads, std::memory_order_relaxed);
    wake_children(0, nthreads);
    slot.taken.store(false, std::memory_order_release);
}

// Of the open job, if any.
int64_t next_task() { return int64_t(slot.shares[0].claim.load(std::memory_order_relaxed) & kClosed); }

int threads_for(double nanoseconds) {
    if (alone) return 1;
    const int most = limit.load(std::memory_order_relaxed);
    const bool all = nanoseconds >= most * kNanosecondsPerThread;
    const int nthreads = all ? most : std::max(1, int(nanoseconds / kNanosecondsPerThread));
    expect(nthreads);
    return nthreads;
}

bool set_alone(bool value) { return std::exchange(alone, value); }

int helper_count() {
    while (slot.taken.exchange(true, std::memory_order_acquire)) sched_yield();
    const int count = created - 1;
    slot.taken.store(false, std::memory_order_release);
    return count;
}

HelperRecord helper_record(int index) {
    const Helper& helper = helpers[index + 1];
    HelperRecord record;
    record.wakes = helper.wakes.load(std::memory_order_acquire);
    record.thread = helper.thread.load(std::memory_order_relaxed);
    record.began_on = helper.began_on.load(std::memory_order_relaxed);
    record.caller_on = helper.caller_on.load(std::memory_order_relaxed);
    record.asleep = helper.asleep.load(std::memory_order_relaxed);
    return record;
}

void set_thread_limit(int n) { limit.store(std::clamp(n, 1, kMaxThreads), std::memory_order_relaxed); }

void set_spin_nanoseconds(int64_t n) { spin_nanoseconds.store(n, std::memory_order_relaxed); }

int thread_limit() { return limit.load(std::memory_order_relaxed); }

}  // namespace fc

// For threadpoolctl, which looks for them in the shared object: see threadpool.py.
#define FC_EXPORT extern "C" __attribute__((visibility("default")))

FC_EXPORT int fastconv_get_num_threads() { return fc::thread_limit(); }

FC_EXPORT void fastconv_set_num_threads(int n) { fc::set_thread_limit(n); }
