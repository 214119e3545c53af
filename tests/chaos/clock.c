/* The clock of a machine that somebody sets, for the processes that load this library (LD_PRELOAD).

   They read the wall clock of the machine plus CHAOS_CLOCK nanoseconds: the 8 bytes of that file, which all of them
   have in memory, so that the clocks of all jump in one moment. The monotonic clock goes on, as it does when a clock is
   set. What waits for a time of day notices a jump within a quarter of a second. Nothing here takes a lock or opens a
   file, so that processes may be killed at any moment and ask for the time in the midst of a signal. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000L
#define SLICE (SECOND / 4)
#define MONOTONIC_CONDITION 2u /* glibc's bit for a condition whose waits are measured by CLOCK_MONOTONIC */

static volatile const int64_t *ahead;
static int (*true_clock)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("CHAOS_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *found = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);

    if (found != MAP_FAILED)
        ahead = found;
    if (file >= 0)
        close(file);
    true_clock = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
}

static int64_t now(clockid_t id)
{
    struct timespec told;

    clock_gettime(id, &told);
    return told.tv_sec * SECOND + told.tv_nsec;
}

static struct timespec as_timespec(int64_t nanoseconds)
{
    return (struct timespec){.tv_sec = nanoseconds / SECOND, .tv_nsec = nanoseconds % SECOND};
}

/* Put into `end` the moment of the monotonic clock until which to wait next for a time of day; whether it is the last. */
static int next_end(const struct timespec *due, struct timespec *end)
{
    int64_t missing = due->tv_sec * SECOND + due->tv_nsec - now(CLOCK_REALTIME);
    int64_t wait = missing < 0 ? 0 : missing > SLICE ? SLICE : missing;

    *end = as_timespec(now(CLOCK_MONOTONIC) + wait);
    return missing <= SLICE;
}

int clock_gettime(clockid_t id, struct timespec *told)
{
    int failed = true_clock ? true_clock(id, told) : (int)syscall(SYS_clock_gettime, id, told);

    if (!failed && ahead && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        *told = as_timespec(told->tv_sec * SECOND + told->tv_nsec + *ahead);
    return failed;
}

int gettimeofday(struct timeval *restrict told, void *restrict zone)
{
    int64_t time_of_day = now(CLOCK_REALTIME);

    (void)zone;
    *told = (struct timeval){.tv_sec = time_of_day / SECOND, .tv_usec = time_of_day % SECOND / 1000};
    return 0;
}

time_t time(time_t *told)
{
    time_t seconds = now(CLOCK_REALTIME) / SECOND;

    if (told)
        *told = seconds;
    return seconds;
}

int timespec_get(struct timespec *told, int base)
{
    return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, told) ? base : 0;
}

int clock_nanosleep(clockid_t id, int flags, const struct timespec *due, struct timespec *left)
{
    struct timespec end;
    int last, failed;

    if (id != CLOCK_REALTIME || !(flags & TIMER_ABSTIME))
        return syscall(SYS_clock_nanosleep, id, flags, due, left) ? errno : 0;
    do {
        last = next_end(due, &end);
        failed = syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) ? errno : 0;
    } while (!failed && !last);
    return failed;
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict due)
{
    struct timespec end;
    int last, failed;

    do {
        last = next_end(due, &end);
        failed = sem_clockwait(semaphore, CLOCK_MONOTONIC, &end);
    } while (failed && errno == ETIMEDOUT && !last);
    return failed;
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict due)
{
    struct timespec end;
    int last, failed;

    if (condition->__data.__wrefs & MONOTONIC_CONDITION)
        return pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, due);
    last = next_end(due, &end);
    failed = pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, &end);
    return failed == ETIMEDOUT && !last ? 0 : failed; /* to wait on here could miss a signal; a waking for nothing can't */
}
