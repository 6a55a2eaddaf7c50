// Every task runs exactly once, on thread numbers that are unique inside the call, whatever sleeps, races or nests, and
// whatever is announced that then comes or does not.
// Built and run by test_engine.py, with ThreadSanitizer where the compiler has it. Exit status 0: all was right.
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "threads.h"

namespace {

constexpr int kThreads = 4;
std::atomic<int64_t> helped{0};

#define REQUIRE(condition)                                              \
    do {                                                                \
        if (!(condition)) {                                             \
            std::fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
            std::abort();                                               \
        }                                                               \
    } while (0)

struct Call {
    std::vector<std::atomic<int>> runs;
    std::atomic<bool> inside[kThreads] = {};
    bool nested;
};

void task(void* context, int64_t task, int tid);

// One call of `ntasks` tasks, on a frame that is gone when it returns.
void call(int64_t ntasks, bool nested) {
    Call c{std::vector<std::atomic<int>>(size_t(ntasks)), {}, nested};
    fc::parallel(ntasks, kThreads, nested || ntasks % 2, task, &c);
    for (auto& runs : c.runs) REQUIRE(runs.load() == 1);
}

void task(void* context, int64_t task, int tid) {
    Call& c = *static_cast<Call*>(context);
    REQUIRE(tid >= 0 && tid < kThreads);
    REQUIRE(!c.inside[tid].exchange(true));
    if (c.nested && task % 16 == 0) call(3, false);
    for (volatile int i = 0; i < 100 * (task % 8); ++i) {
    }
    if (tid > 0) helped.fetch_add(1, std::memory_order_relaxed);
    c.runs[size_t(task)].fetch_add(1);
    c.inside[tid].store(false);
}

void* many_calls(void* rounds) {
    for (int64_t i = 0; i < *static_cast<int64_t*>(rounds); ++i) {
        call(i % 37, i % 5 == 0);
        if (i % 512 == 0) usleep(400);  // longer than helpers spin: they fall asleep
        if (i % 128 == 0) fc::expect(int(i / 128 % (kThreads + 2)));
    }
    return nullptr;
}

void from_many_threads(int64_t rounds) {
    pthread_t callers[3];
    for (pthread_t& caller : callers) REQUIRE(pthread_create(&caller, nullptr, many_calls, &rounds) == 0);
    for (pthread_t& caller : callers) REQUIRE(pthread_join(caller, nullptr) == 0);
}

std::atomic<bool> begun{false}, let_go{false};

void* works_alone(void*) {
    fc::parallel(1, 1, false, [](void*, int64_t, int) {
        begun.store(true);
        while (!let_go.load()) usleep(100);
    }, nullptr);
    return nullptr;
}

// Of a limit of two, one is another thread's that works by itself: no helper is left for this thread's jobs.
void a_thread_at_work_counts() {
    fc::set_thread_limit(2);
    pthread_t other;
    REQUIRE(pthread_create(&other, nullptr, works_alone, nullptr) == 0);
    while (!begun.load()) usleep(100);
    const int64_t before = helped.load();
    for (int i = 0; i < 200; ++i) call(64, false);
    REQUIRE(helped.load() == before);
    let_go.store(true);
    REQUIRE(pthread_join(other, nullptr) == 0);
    for (int i = 0; i < 100000 && helped.load() == before; ++i) call(64, false);
    REQUIRE(helped.load() > before);
    fc::set_thread_limit(kThreads);
}

}  // namespace

int main(int argc, char** argv) {
    int64_t rounds = argc > 1 ? std::atoll(argv[1]) : 2000;
    fc::set_thread_limit(kThreads);
    many_calls(&rounds);
    from_many_threads(rounds);
    a_thread_at_work_counts();

    const pid_t child = fork();  // while helpers exist, and in a child again without them
    if (child == 0) {
        many_calls(&rounds);
        _exit(0);
    }
    int status;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    many_calls(&rounds);
    int64_t wakes = 0;
    for (int i = 0; i < fc::helper_count(); ++i) wakes += fc::helper_record(i).wakes;
    REQUIRE(wakes > 0);
    std::printf("%lld tasks ran on helpers\n", static_cast<long long>(helped.load()));
    return 0;
}
