/* A disk that refuses, and one whose power may fail, under one folder: preloaded into a process.
 *
 * FAULTS_FOLDER   real path; files in it are concerned, all others go their way
 * FAULTS_CONTROL  a file; its first byte says what the disk does now (enum below). Mapped, so that a change holds at once
 * FAULTS_SYNCED   a folder that gets each file as of its last fsync: what a power failure is sure to leave
 *
 * fsync copies what was written since the last one, the first of a process all: what a dead process wrote goes with it. An fsync that fails forgets it: the kernel calls those pages clean
 * from then on (https://wiki.postgresql.org/wiki/Fsync_Errors). What is mapped (SQLite's -shm) is not concerned.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FINE, NO_SPACE, NO_WRITE, NO_SYNC, NO_READ };

struct range { off64_t from, to; };
struct file { ino_t inode; int synced; size_t count, room; struct range *ranges; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file files[256];
static size_t known;
static const char *folder, *synced;
static volatile unsigned char *control;

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static ssize_t (*real_pread)(int, void *, size_t, off64_t);
static int (*real_truncate)(int, off64_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_unlink)(const char *);

__attribute__((constructor)) static void begin(void)
{
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_pread = dlsym(RTLD_NEXT, "pread64");
    real_truncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    folder = getenv("FAULTS_FOLDER");
    synced = getenv("FAULTS_SYNCED");
    int fd = open(getenv("FAULTS_CONTROL") ? getenv("FAULTS_CONTROL") : "", O_RDONLY | O_CLOEXEC);
    if (!folder || !synced || fd < 0) {
        fprintf(stderr, "disk.c: FAULTS_FOLDER, FAULTS_SYNCED and FAULTS_CONTROL are to be set\n");
        abort();
    }
    control = mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0);
    if (control == MAP_FAILED)
        abort();
    close(fd);
}

/* The file's name where it is concerned, else NULL. */
static const char *concerned(int fd, char *path, size_t size)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    if (length <= 0)
        return NULL;
    path[length] = 0;
    size_t prefix = strlen(folder);
    if (strncmp(path, folder, prefix) || path[prefix] != '/')
        return NULL;
    return path + prefix + 1;
}

static struct file *file_of(int fd)
{
    struct stat64 status;
    if (fstat64(fd, &status))
        abort();
    for (size_t i = 0; i < known; i++)
        if (files[i].inode == status.st_ino)
            return &files[i];
    if (known == sizeof files / sizeof *files)
        abort();
    files[known].inode = status.st_ino;
    return &files[known++];
}

static void written(int fd, off64_t from, off64_t to)
{
    pthread_mutex_lock(&lock);
    struct file *file = file_of(fd);
    if (file->count && file->ranges[file->count - 1].to == from) {
        file->ranges[file->count - 1].to = to;
    } else {
        if (file->count == file->room) {
            file->room = file->room ? 2 * file->room : 64;
            file->ranges = realloc(file->ranges, file->room * sizeof *file->ranges);
        }
        file->ranges[file->count++] = (struct range){from, to};
    }
    pthread_mutex_unlock(&lock);
}

static void forget(int fd)
{
    pthread_mutex_lock(&lock);
    file_of(fd)->count = 0;
    pthread_mutex_unlock(&lock);
}

static void keep(int fd, const char *name)
{
    char path[8192], link[64], data[65536];
    struct stat64 status;
    pthread_mutex_lock(&lock);
    struct file *file = file_of(fd);
    snprintf(path, sizeof path, "%s/%s", synced, name);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int from = open(link, O_RDONLY | O_CLOEXEC), to = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (from < 0 || to < 0 || fstat64(fd, &status))
        abort();
    struct range whole = {0, status.st_size}, *ranges = file->synced ? file->ranges : &whole;
    size_t count = file->synced ? file->count : 1;
    for (size_t i = 0; i < count; i++)
        for (off64_t at = ranges[i].from; at < ranges[i].to;) {
            off64_t left = ranges[i].to - at;
            ssize_t got = real_pread(from, data, left < (off64_t)sizeof data ? (size_t)left : sizeof data, at);
            if (got <= 0)
                break; /* it was cut since */
            if (real_pwrite(to, data, (size_t)got, at) != got)
                abort();
            at += got;
        }
    file->count = 0;
    file->synced = 1;
    if (real_truncate(to, status.st_size))
        abort();
    close(from);
    close(to);
    pthread_mutex_unlock(&lock);
}

static int refuses_write(void)
{
    if (*control == NO_SPACE || *control == NO_WRITE) {
        errno = *control == NO_SPACE ? ENOSPC : EIO;
        return 1;
    }
    return 0;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    char path[4096];
    if (!concerned(fd, path, sizeof path))
        return real_pwrite(fd, data, size, at);
    if (refuses_write())
        return -1;
    ssize_t done = real_pwrite(fd, data, size, at);
    if (done > 0)
        written(fd, at, at + done);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }

ssize_t write(int fd, const void *data, size_t size)
{
    char path[4096];
    if (!concerned(fd, path, sizeof path))
        return real_write(fd, data, size);
    if (refuses_write())
        return -1;
    ssize_t done = real_write(fd, data, size);
    off64_t end = lseek64(fd, 0, SEEK_CUR);
    if (done > 0)
        written(fd, end - done, end);
    return done;
}

ssize_t pread64(int fd, void *data, size_t size, off64_t at)
{
    char path[4096];
    if (*control == NO_READ && concerned(fd, path, sizeof path)) {
        errno = EIO;
        return -1;
    }
    return real_pread(fd, data, size, at);
}

ssize_t pread(int fd, void *data, size_t size, off_t at) { return pread64(fd, data, size, at); }

int ftruncate64(int fd, off64_t size)
{
    char path[4096];
    if (concerned(fd, path, sizeof path) && refuses_write())
        return -1;
    return real_truncate(fd, size);
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static int sync_with(int (*real)(int), int fd)
{
    char path[4096];
    const char *name = concerned(fd, path, sizeof path);
    struct stat64 status;
    if (!name || fstat64(fd, &status) || !S_ISREG(status.st_mode))
        return real(fd);
    if (*control == NO_SYNC) {
        forget(fd);
        errno = EIO;
        return -1;
    }
    int done = real(fd);
    if (!done)
        keep(fd, name);
    return done;
}

int fsync(int fd) { return sync_with(real_fsync, fd); }

int fdatasync(int fd) { return sync_with(real_fdatasync, fd); }

int unlink(const char *path)
{
    char copy[8192];
    size_t prefix = strlen(folder);
    int done = real_unlink(path);
    if (!done && !strncmp(path, folder, prefix) && path[prefix] == '/') {
        snprintf(copy, sizeof copy, "%s/%s", synced, path + prefix + 1);
        real_unlink(copy);
    }
    return done;
}
