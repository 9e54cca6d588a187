/* Makes opening the files under FAIL_UNDER fail with error FAIL_ERRNO: all of them, or with FAIL_WRITING=1 those that are written. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int fails(const char *path, int writing) {
  const char *under = getenv("FAIL_UNDER"), *number = getenv("FAIL_ERRNO");
  if (!under || !number || !path || strncmp(path, under, strlen(under)) != 0) return 0;
  if (getenv("FAIL_WRITING") && !writing) return 0;
  errno = atoi(number);
  return 1;
}

#define WRITES(flags) ((flags) & (O_WRONLY | O_RDWR | O_CREAT))
#define MODE(flags) \
  mode_t mode = 0; \
  if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    MODE(flags) \
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, #name); \
    return fails(path, WRITES(flags)) ? -1 : real(path, flags, mode); \
  }
#define OPENAT(name) \
  int name(int folder, const char *path, int flags, ...) { \
    MODE(flags) \
    int (*real)(int, const char *, int, ...) = dlsym(RTLD_NEXT, #name); \
    return fails(path, WRITES(flags)) ? -1 : real(folder, path, flags, mode); \
  }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int mkdir(const char *path, mode_t mode) {
  int (*real)(const char *, mode_t) = dlsym(RTLD_NEXT, "mkdir");
  struct stat about;
  /* What is there already is said first, as the system does. */
  return stat(path, &about) != 0 && fails(path, 1) ? -1 : real(path, mode);
}

int unlink(const char *path) {
  int (*real)(const char *) = dlsym(RTLD_NEXT, "unlink");
  return fails(path, 1) ? -1 : real(path);
}

int rename(const char *from, const char *to) {
  int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
  return fails(to, 1) ? -1 : real(from, to);
}
