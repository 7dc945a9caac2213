/* The device: its clock, its sensors, the core that is measured on, and who may measure. */
#ifndef DEVICE_H
#define DEVICE_H
#include <stddef.h>
#include <stdint.h>

uint64_t now_ns(void);                      /* monotonic */
uint64_t clock_step_ns(void);               /* the smallest step of that clock that can be seen */
#define LAST_CORE (-2)
#define ANY_CORE (-1)
long cores(void);                           /* before pinning: some libcs count those that this process may use */
int pin(int core);                          /* the core pinned to, -1 for none; exits with 2 where that cannot be */
void hello(int protocol, const char *simd, int rows, int columns, long cores, int core);
void print_sensors(int core);               /* "khz":..,"temp_mc":..,"throttled":..  null where not readable */
void print_text(const char *);              /* as a JSON string */
int take_lock(const char *path, const char *token);     /* 0, or the exit status */
#endif
