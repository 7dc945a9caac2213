/* See device.h. What only Linux has is left out elsewhere. */
#define _GNU_SOURCE
#include "device.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#endif

uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t clock_step_ns(void) {
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 200; i++) {
        uint64_t a = now_ns(), b = a;
        while (b == a) b = now_ns();
        if (b - a < best) best = b - a;
    }
    return best;
}

long cores(void) { return sysconf(_SC_NPROCESSORS_ONLN); }

int pin(int core) {
#ifdef __linux__
    cpu_set_t set;
    if (core == LAST_CORE && !sched_getaffinity(0, sizeof set, &set))
        for (int i = 0; i < CPU_SETSIZE; i++)
            if (CPU_ISSET(i, &set)) core = i;
    if (core >= 0) {
        CPU_ZERO(&set);
        if (core < CPU_SETSIZE) CPU_SET(core, &set);
        if (sched_setaffinity(0, sizeof set, &set)) {
            fprintf(stderr, "cannot pin to core %d: %s\n", core, strerror(errno));
            exit(2);
        }
        return core;
    }
#else
    (void)core;
#endif
    return -1;
}

/* The first line of a file, made fit for JSON; empty where it cannot be read. */
static void read_line(const char *path, char *line, size_t size) {
    FILE *f = fopen(path, "r");
    line[0] = 0;
    if (!f) return;
    if (!fgets(line, (int)size, f)) line[0] = 0;
    fclose(f);
    line[strcspn(line, "\n")] = 0;
}

static void print_number(const char *name, const char *path, int base) {
    char line[64], *end;
    read_line(path, line, sizeof line);
    unsigned long value = strtoul(line, &end, base);
    if (end == line) printf("\"%s\":null", name);
    else printf("\"%s\":%lu", name, value);
}

void print_text(const char *s) {
    putchar('"');
    for (; *s; s++) putchar(*s < 32 || *s > 126 || *s == '"' || *s == '\\' ? '?' : *s);
    putchar('"');
}

static void print_cpu_file(const char *name, int core, const char *file) {
    char path[128];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cpufreq/%s", core < 0 ? 0 : core, file);
    print_number(name, path, 10);
}

void print_sensors(int core) {
    print_cpu_file("khz", core, "scaling_cur_freq");
    putchar(',');
    print_number("temp_mc", "/sys/class/thermal/thermal_zone0/temp", 10);
    putchar(',');
    print_number("throttled", "/sys/devices/platform/soc/soc:firmware/get_throttled", 16);
}

/* What the last processor in /proc/cpuinfo says of itself: "0xd08" on ARM, its name on x86. */
static void print_processor(void) {
    char line[512], found[128] = "";
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f)) {
        char *value = strchr(line, ':');
        if (!value || (strncmp(line, "CPU part", 8) && strncmp(line, "model name\t: ", 13))) continue;
        if (!strncmp(line, "model name", 10) && strncmp(found, "0x", 2) == 0) continue;     /* ARM has both */
        snprintf(found, sizeof found, "%.127s", value + 1 + strspn(value + 1, " \t"));
        found[strcspn(found, "\n")] = 0;
    }
    if (f) fclose(f);
    print_text(found);
}

#if defined(__aarch64__)
#define BUILT_FOR "aarch64"
#elif defined(__ARM_ARCH) && __ARM_ARCH >= 7
#define BUILT_FOR "armv7"
#elif defined(__arm__)
#define BUILT_FOR "armv6"
#elif defined(__x86_64__)
#define BUILT_FOR "x86_64"
#else
#define BUILT_FOR "other"
#endif

static void print_named(const char *name, const char *value) {
    printf(",\"%s\":", name);
    print_text(value);
}

void hello(int protocol, const char *simd, int rows, int columns, long cores, int core) {
    struct utsname u;
    char line[256], path[128];
    double load = -1;
    uname(&u);
    printf("{\"protocol\":%d,\"kernel\":\"%dx%d %s\"", protocol, rows, columns, simd);
    print_named("built_for", BUILT_FOR);
    print_named("compiler", __VERSION__);
    print_named("machine", u.machine);
    snprintf(line, sizeof line, "%.100s %.100s", u.sysname, u.release);
    print_named("system", line);
    read_line("/proc/device-tree/model", line, sizeof line);
    print_named("model", line);
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cpufreq/scaling_governor", core < 0 ? 0 : core);
    read_line(path, line, sizeof line);
    print_named("governor", line);
    printf(",\"cpu_part\":");
    print_processor();
    printf(",\"cpus\":%ld,\"cpu\":%d,\"word_bits\":%d", cores, core < 0 ? 0 : core,
           (int)sizeof(void *) * 8);
#ifdef _SC_PHYS_PAGES
    printf(",\"ram_kb\":%.0f", (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / 1024);
#else
    printf(",\"ram_kb\":0");
#endif
    read_line("/proc/loadavg", line, sizeof line);
    if (sscanf(line, "%lf", &load) == 1) printf(",\"load\":%.2f,", load);
    else printf(",\"load\":null,");
    print_cpu_file("khz_max", core, "cpuinfo_max_freq");
    putchar(',');
    print_sensors(core);
    printf(",\"clock_step_ns\":%llu}\n", (unsigned long long)clock_step_ns());
}

/* The lock goes away with its process, however that ends. A process of the same token is a lost one of this client. */
int take_lock(const char *path, const char *token) {
    char held[128], mine[128];
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), n;
    if (fd < 0) {
        fprintf(stderr, "cannot open the lock %s: %s\n", path, strerror(errno));
        return 2;
    }
    for (int i = 0; flock(fd, LOCK_EX | LOCK_NB); i++) {
        int pid = 0;
        char whose[96] = "";
        n = (int)pread(fd, held, sizeof held - 1, 0);
        held[n > 0 ? n : 0] = 0;
        sscanf(held, "%d %95s", &pid, whose);
        if (strncmp(whose, token, 90) || i == 50) {
            printf("{\"error\":\"busy\",\"pid\":%d}\n", pid);
            return 5;
        }
        if (pid > 1) kill(pid, i < 20 ? SIGTERM : SIGKILL);
        nanosleep(&(struct timespec){0, 100000000}, NULL);
    }
    n = snprintf(mine, sizeof mine, "%d %.90s\n", (int)getpid(), token);
    if (ftruncate(fd, 0) || pwrite(fd, mine, n, 0) != n) {
        fprintf(stderr, "cannot write the lock %s: %s\n", path, strerror(errno));
        return 2;
    }
    return 0;
}
