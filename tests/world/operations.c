/* Makes operations of a process on the files of a folder fail: opens, reads, writes, fsyncs, renames, links, unlinks, locks, lists.
   Loaded with LD_PRELOAD. `operations_arm` says which and how, or, for a process of its own, OPERATIONS="HOW ERROR FOLDER". */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* The first four are of the n-th operation; EACH is of all, CHANGES of those that would change something. */
enum { COUNT, FAIL, SHORT, KILL, EACH, CHANGES };
enum { READS, WRITES };

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

__attribute__((constructor)) static void arm(void) {
    const char *asked = getenv("OPERATIONS");
    int how, code, at;
    if (asked && sscanf(asked, "%d %d %n", &how, &code, &at) == 2) operations_arm(asked + at, 0, how, code);
}

static int of_folder(const char *path) {
    return root[0] && path && !strncmp(path, root, strlen(root));
}

static int of_handle(int handle) {
    char link[64], path[PATH_MAX];
    if (!root[0] || handle < 0) return 0;
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

/* Counts an operation; whether it is one that fails. */
static int fails(int changes) {
    long number = atomic_fetch_add(&done, 1) + 1;
    if (kind == COUNT || (kind == CHANGES && !changes) || (kind < EACH && number != wanted)) return 0;
    if (kind == KILL) kill(getpid(), SIGKILL);
    errno = error;
    return 1;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define CHANGING(flags) ((flags) & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC) ? WRITES : READS)

#define OPEN(name)                                                              \
    int name(const char *path, int flags, ...) {                                \
        REAL(name);                                                             \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        if (of_folder(path) && fails(CHANGING(flags))) return -1;               \
        return real(path, flags, mode);                                         \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                            \
    int name(int folder, const char *path, int flags, ...) {                    \
        REAL(name);                                                             \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        if (at_folder(folder, path) && fails(CHANGING(flags))) return -1;       \
        return real(folder, path, flags, mode);                                 \
    }
OPENAT(openat)
OPENAT(openat64)

/* What glibc's streams do inside cannot be reached; each call is an operation. */
#define FOPEN(name)                                                             \
    FILE *name(const char *path, const char *mode) {                            \
        REAL(name);                                                             \
        return of_folder(path) && fails(strpbrk(mode, "wa+") ? WRITES : READS) ? NULL : real(path, mode); \
    }
FOPEN(fopen)
FOPEN(fopen64)

size_t fread(void *data, size_t size, size_t count, FILE *file) {
    REAL(fread);
    if (of_handle(fileno(file)) && fails(READS)) return kind == SHORT ? real(data, size, count / 2, file) : 0;
    return real(data, size, count, file);
}

size_t fwrite(const void *data, size_t size, size_t count, FILE *file) {
    REAL(fwrite);
    if (of_handle(fileno(file)) && fails(WRITES)) return kind == SHORT ? real(data, size, count / 2, file) : 0;
    return real(data, size, count, file);
}

DIR *opendir(const char *path) {
    REAL(opendir);
    return of_folder(path) && fails(READS) ? NULL : real(path);
}

#define DATA(name, type, changes)                                               \
    ssize_t name(int handle, type data, size_t size) {                          \
        REAL(name);                                                             \
        if (of_handle(handle) && fails(changes)) {                              \
            if (kind == SHORT && size > 1) return real(handle, data, size / 2); \
            return -1;                                                          \
        }                                                                       \
        return real(handle, data, size);                                        \
    }
DATA(read, void *, READS)
DATA(write, const void *, WRITES)

#define DATA_AT(name, type, place, changes)                                     \
    ssize_t name(int handle, type data, size_t size, place at) {                \
        REAL(name);                                                             \
        if (of_handle(handle) && fails(changes)) {                              \
            if (kind == SHORT && size > 1) return real(handle, data, size / 2, at); \
            return -1;                                                          \
        }                                                                       \
        return real(handle, data, size, at);                                    \
    }
DATA_AT(pread, void *, off_t, READS)
DATA_AT(pread64, void *, off64_t, READS)
DATA_AT(pwrite, const void *, off_t, WRITES)
DATA_AT(pwrite64, const void *, off64_t, WRITES)

#define VECTOR(name, changes)                                                   \
    ssize_t name(int handle, const struct iovec *parts, int count) {            \
        REAL(name);                                                             \
        if (of_handle(handle) && fails(changes)) {                              \
            if (kind == SHORT && count > 1) return real(handle, parts, count / 2); \
            return -1;                                                          \
        }                                                                       \
        return real(handle, parts, count);                                      \
    }
VECTOR(readv, READS)
VECTOR(writev, WRITES)

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t size, unsigned flags) {
    REAL(copy_file_range);
    if ((of_handle(from) || of_handle(to)) && fails(WRITES)) {
        if (kind == SHORT && size > 1) return real(from, from_at, to, to_at, size / 2, flags);
        return -1;
    }
    return real(from, from_at, to, to_at, size, flags);
}

#define SENDFILE(name, place)                                                   \
    ssize_t name(int to, int from, place *at, size_t size) {                    \
        REAL(name);                                                             \
        if ((of_handle(from) || of_handle(to)) && fails(WRITES)) {              \
            if (kind == SHORT && size > 1) return real(to, from, at, size / 2); \
            return -1;                                                          \
        }                                                                       \
        return real(to, from, at, size);                                        \
    }
SENDFILE(sendfile, off_t)
SENDFILE(sendfile64, off64_t)

#define HANDLE(name)                                                            \
    int name(int handle) { REAL(name); return of_handle(handle) && fails(WRITES) ? -1 : real(handle); }
HANDLE(fsync)
HANDLE(fdatasync)

int flock(int handle, int operation) {
    REAL(flock);
    return of_handle(handle) && fails(WRITES) ? -1 : real(handle, operation);
}

#define FCNTL(name)                                                             \
    int name(int handle, int command, ...) {                                    \
        REAL(name);                                                             \
        va_list rest; va_start(rest, command); void *what = va_arg(rest, void *); va_end(rest); \
        int locks = command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK; \
        return locks && of_handle(handle) && fails(WRITES) ? -1 : real(handle, command, what); \
    }
FCNTL(fcntl)
FCNTL(fcntl64)

#define LENGTH(name, place)                                                     \
    int name(int handle, place size) { REAL(name); return of_handle(handle) && fails(WRITES) ? -1 : real(handle, size); }
LENGTH(ftruncate, off_t)
LENGTH(ftruncate64, off64_t)

#define PAIR(name)                                                              \
    int name(const char *from, const char *to) {                                \
        REAL(name);                                                             \
        return (of_folder(from) || of_folder(to)) && fails(WRITES) ? -1 : real(from, to); \
    }
PAIR(rename)
PAIR(link)

int renameat(int a, const char *from, int b, const char *to) {
    REAL(renameat);
    return (at_folder(a, from) || at_folder(b, to)) && fails(WRITES) ? -1 : real(a, from, b, to);
}

int linkat(int a, const char *from, int b, const char *to, int flags) {
    REAL(linkat);
    return (at_folder(a, from) || at_folder(b, to)) && fails(WRITES) ? -1 : real(a, from, b, to, flags);
}

#define PATH(name)                                                              \
    int name(const char *path) { REAL(name); return of_folder(path) && fails(WRITES) ? -1 : real(path); }
PATH(unlink)
PATH(rmdir)

int unlinkat(int folder, const char *path, int flags) {
    REAL(unlinkat);
    return at_folder(folder, path) && fails(WRITES) ? -1 : real(folder, path, flags);
}

int chmod(const char *path, mode_t mode) {
    REAL(chmod);
    return of_folder(path) && fails(WRITES) ? -1 : real(path, mode);
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    struct stat about;
    /* What is there already is said first, as the system does. */
    return of_folder(path) && stat(path, &about) != 0 && fails(WRITES) ? -1 : real(path, mode);
}
