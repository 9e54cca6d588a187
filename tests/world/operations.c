/* Makes one of a process's operations on the files of a folder fail: opens, writes, fsyncs, renames, links, unlinks, locks.
   Loaded with LD_PRELOAD; `operations_arm` says which one and how. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, FAIL, SHORT, KILL };

static atomic_long done;
static long wanted;
static int kind, error;
static char root[PATH_MAX];

void operations_arm(const char *folder, long number, int how, int code) {
    atomic_store(&done, 0);
    wanted = number;
    kind = how;
    error = code;
    snprintf(root, sizeof root, "%s", folder);
}

long operations_count(void) { return atomic_load(&done); }

static int of_folder(const char *path) {
    return root[0] && path && !strncmp(path, root, strlen(root));
}

static int of_handle(int handle) {
    char link[64], path[PATH_MAX];
    if (!root[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return of_folder(path);
}

static int at_folder(int folder, const char *path) {
    if (path && path[0] == '/') return of_folder(path);
    return folder == AT_FDCWD ? 0 : of_handle(folder);
}

/* Counts an operation; whether it is the one that fails. */
static int fails(void) {
    long number = atomic_fetch_add(&done, 1) + 1;
    if (number != wanted || kind == COUNT) return 0;
    if (kind == KILL) kill(getpid(), SIGKILL);
    errno = error;
    return 1;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define OPEN(name)                                                              \
    int name(const char *path, int flags, ...) {                                \
        REAL(name);                                                             \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        if (of_folder(path) && fails()) return -1;                              \
        return real(path, flags, mode);                                         \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                            \
    int name(int folder, const char *path, int flags, ...) {                    \
        REAL(name);                                                             \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        if (at_folder(folder, path) && fails()) return -1;                      \
        return real(folder, path, flags, mode);                                 \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int handle, const void *data, size_t size) {
    REAL(write);
    if (of_handle(handle) && fails()) {
        if (kind == SHORT && size > 1) return real(handle, data, size / 2);
        return -1;
    }
    return real(handle, data, size);
}

#define PWRITE(name, place)                                                     \
    ssize_t name(int handle, const void *data, size_t size, place at) {         \
        REAL(name);                                                             \
        if (of_handle(handle) && fails()) {                                     \
            if (kind == SHORT && size > 1) return real(handle, data, size / 2, at); \
            return -1;                                                          \
        }                                                                       \
        return real(handle, data, size, at);                                    \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define READ(name)                                                              \
    ssize_t name(int handle, void *data, size_t size) {                         \
        REAL(name);                                                             \
        if (of_handle(handle) && fails()) {                                     \
            if (kind == SHORT && size > 1) return real(handle, data, size / 2); \
            return -1;                                                          \
        }                                                                       \
        return real(handle, data, size);                                        \
    }
READ(read)

#define PREAD(name, place)                                                      \
    ssize_t name(int handle, void *data, size_t size, place at) {               \
        REAL(name);                                                             \
        if (of_handle(handle) && fails()) {                                     \
            if (kind == SHORT && size > 1) return real(handle, data, size / 2, at); \
            return -1;                                                          \
        }                                                                       \
        return real(handle, data, size, at);                                    \
    }
PREAD(pread, off_t)
PREAD(pread64, off64_t)

#define HANDLE(name)                                                            \
    int name(int handle) { REAL(name); return of_handle(handle) && fails() ? -1 : real(handle); }
HANDLE(fsync)
HANDLE(fdatasync)

int flock(int handle, int operation) {
    REAL(flock);
    return of_handle(handle) && fails() ? -1 : real(handle, operation);
}

int ftruncate(int handle, off_t size) {
    REAL(ftruncate);
    return of_handle(handle) && fails() ? -1 : real(handle, size);
}

#define PAIR(name)                                                              \
    int name(const char *from, const char *to) {                                \
        REAL(name);                                                             \
        return (of_folder(from) || of_folder(to)) && fails() ? -1 : real(from, to); \
    }
PAIR(rename)
PAIR(link)

int renameat(int a, const char *from, int b, const char *to) {
    REAL(renameat);
    return (at_folder(a, from) || at_folder(b, to)) && fails() ? -1 : real(a, from, b, to);
}

int linkat(int a, const char *from, int b, const char *to, int flags) {
    REAL(linkat);
    return (at_folder(a, from) || at_folder(b, to)) && fails() ? -1 : real(a, from, b, to, flags);
}

#define PATH(name)                                                              \
    int name(const char *path) { REAL(name); return of_folder(path) && fails() ? -1 : real(path); }
PATH(unlink)
PATH(rmdir)

int unlinkat(int folder, const char *path, int flags) {
    REAL(unlinkat);
    return at_folder(folder, path) && fails() ? -1 : real(folder, path, flags);
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    return of_folder(path) && fails() ? -1 : real(path, mode);
}
