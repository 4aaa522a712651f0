/* A disk that fails at one call: preloaded, it stands before the C library.

   Every call that changes a file or folder below `arm`'s path is counted. At
   the chosen one the process is killed, as by a loss of power (a write has then
   written half of its bytes); or that one, and all later ones, fail with an
   error number: a full disk, or one that can only be read. */

#define _GNU_SOURCE
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
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char root[PATH_MAX];
static atomic_int calls;
static int chosen, error_number; /* error_number 0: killed. */

void disk_arm(const char *path, int call, int number) {
  calls = 0;
  chosen = call;
  error_number = number;
  snprintf(root, sizeof root, "%s", path);
}

int disk_calls(void) { return calls; }

/* Whole runs are told by their environment. */
__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("FAILING_DISK");
  if (path)
    disk_arm(path, atoi(getenv("FAILING_DISK_CALL")),
             atoi(getenv("FAILING_DISK_ERROR")));
}

static int below(int folder, const char *path) {
  char whole[2 * PATH_MAX], link[64];
  if (!root[0]) return 0;
  if (path && path[0] == '/') return !strncmp(path, root, strlen(root));
  if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
  else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
  ssize_t size = readlink(link, whole, PATH_MAX);
  if (size < 0) return 0;
  snprintf(whole + size, PATH_MAX, "/%s", path ? path : "");
  return !strncmp(whole, root, strlen(root));
}

/* What else a call may be than one that needs room on the disk. */
enum { PLAIN, WRITES_DATA, NEEDS_NO_ROOM };

/* Whether the call must fail; it does not return where the process ends. */
static int fails(int is_below, int kind, int file, const void *data,
                 size_t size, off_t offset) {
  if (!is_below) return 0;
  int call = ++calls;
  if (!chosen || call < chosen) return 0;
  if (error_number == ENOSPC && kind == NEEDS_NO_ROOM) return 0;
  if (error_number) {
    errno = error_number;
    return 1;
  }
  if (call > chosen) return 0;
  if (kind == WRITES_DATA && size > 1) {
    ssize_t (*plain)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    ssize_t (*at)(int, const void *, size_t, off_t) =
        dlsym(RTLD_NEXT, "pwrite");
    if ((offset < 0 ? plain(file, data, size / 2)
                    : at(file, data, size / 2, offset)) < 0) _exit(99);
  }
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

#define NEXT(name) __typeof__(name) *next = dlsym(RTLD_NEXT, #name)
#define FAILS(is_below) fails(is_below, PLAIN, 0, NULL, 0, -1)
#define FAILS_IF_READ_ONLY(is_below) \
  fails(is_below, NEEDS_NO_ROOM, 0, NULL, 0, -1)

ssize_t write(int file, const void *data, size_t size) {
  NEXT(write);
  if (fails(below(file, NULL), WRITES_DATA, file, data, size, -1)) return -1;
  return next(file, data, size);
}

#define PWRITE(name, type)                                            \
  ssize_t name(int file, const void *data, size_t size, type offset) { \
    NEXT(name);                                                       \
    if (fails(below(file, NULL), WRITES_DATA, file, data, size, offset)) \
      return -1;                                                      \
    return next(file, data, size, offset);                            \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int file, const struct iovec *parts, int count) {
  NEXT(writev);
  if (fails(below(file, NULL), WRITES_DATA, file,
            count ? parts->iov_base : NULL, count ? parts->iov_len : 0, -1))
    return -1;
  return next(file, parts, count);
}

#define PWRITEV(name, type)                                               \
  ssize_t name(int file, const struct iovec *parts, int count, type offset) { \
    NEXT(name);                                                           \
    if (fails(below(file, NULL), WRITES_DATA, file,                       \
              count ? parts->iov_base : NULL, count ? parts->iov_len : 0, \
              offset)) return -1;                                         \
    return next(file, parts, count, offset);                              \
  }
PWRITEV(pwritev, off_t)
PWRITEV(pwritev64, off64_t)

#define WRITES (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)
#define OPEN(name)                                                \
  int name(const char *path, int flags, ...) {                    \
    va_list rest;                                                 \
    va_start(rest, flags);                                        \
    mode_t mode = va_arg(rest, int);                              \
    va_end(rest);                                                 \
    NEXT(name);                                                   \
    if (FAILS((flags & WRITES) && below(AT_FDCWD, path))) return -1; \
    return next(path, flags, mode);                               \
  }
OPEN(open)
OPEN(open64)
#define OPENAT(name)                                            \
  int name(int folder, const char *path, int flags, ...) {      \
    va_list rest;                                               \
    va_start(rest, flags);                                      \
    mode_t mode = va_arg(rest, int);                            \
    va_end(rest);                                               \
    NEXT(name);                                                 \
    if (FAILS((flags & WRITES) && below(folder, path))) return -1; \
    return next(folder, path, flags, mode);                     \
  }
OPENAT(openat)
OPENAT(openat64)

#define CALL_OF(fails, name, parameters, arguments, is_below) \
  int name parameters {                                       \
    NEXT(name);                                               \
    if (fails(is_below)) return -1;                           \
    return next arguments;                                    \
  }
#define CALL(...) CALL_OF(FAILS, __VA_ARGS__)
#define CALL_WITHOUT_ROOM(...) CALL_OF(FAILS_IF_READ_ONLY, __VA_ARGS__)
CALL(mkdir, (const char *a, mode_t m), (a, m), below(AT_FDCWD, a))
CALL(mkdirat, (int d, const char *a, mode_t m), (d, a, m), below(d, a))
CALL_WITHOUT_ROOM(rmdir, (const char *a), (a), below(AT_FDCWD, a))
CALL_WITHOUT_ROOM(unlink, (const char *a), (a), below(AT_FDCWD, a))
CALL_WITHOUT_ROOM(unlinkat, (int d, const char *a, int f), (d, a, f),
                  below(d, a))
CALL(rename, (const char *a, const char *b), (a, b), below(AT_FDCWD, b))
CALL(renameat, (int d, const char *a, int e, const char *b), (d, a, e, b),
     below(e, b))
CALL(renameat2, (int d, const char *a, int e, const char *b, unsigned f),
     (d, a, e, b, f), below(e, b))
CALL(link, (const char *a, const char *b), (a, b), below(AT_FDCWD, b))
CALL(linkat, (int d, const char *a, int e, const char *b, int f),
     (d, a, e, b, f), below(e, b))
CALL(symlink, (const char *a, const char *b), (a, b), below(AT_FDCWD, b))
CALL_WITHOUT_ROOM(chmod, (const char *a, mode_t m), (a, m), below(AT_FDCWD, a))
CALL_WITHOUT_ROOM(fchmod, (int f, mode_t m), (f, m), below(f, NULL))
CALL_WITHOUT_ROOM(truncate, (const char *a, off_t n), (a, n),
                  below(AT_FDCWD, a))
CALL_WITHOUT_ROOM(ftruncate, (int f, off_t n), (f, n), below(f, NULL))
CALL_WITHOUT_ROOM(ftruncate64, (int f, off64_t n), (f, n), below(f, NULL))
CALL(fallocate, (int f, int m, off_t o, off_t n), (f, m, o, n), below(f, NULL))
CALL_WITHOUT_ROOM(utimensat,
                  (int d, const char *a, const struct timespec t[2], int f),
                  (d, a, t, f), below(d, a))
CALL_WITHOUT_ROOM(fsync, (int f), (f), below(f, NULL))
CALL_WITHOUT_ROOM(fdatasync, (int f), (f), below(f, NULL))
