/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Trapline's interface for other kernel modules: page-fault handlers and access probes.
 *
 * Generated from src/api.rs: change that, then `UPDATE_EXPECT=1 cargo test -p xtask --test header`.
 *
 * Functions are called in process context and may sleep. Handlers run in the exception, with interrupts off, maybe in NMI context, on any CPU: they must
 * not sleep, allocate, take a lock that the code they interrupted may hold, or fault. What they are given is valid until they return.
 *
 * An object handed to a register function stays where it is, and untouched, until its unregister function has returned; a page-fault handler until
 * trapline_synchronize() has returned after that.
 */

#ifndef TRAPLINE_H
#define TRAPLINE_H

#include <linux/types.h>

struct pt_regs;

/**
 * Called for reads.
 */
#define TRAPLINE_READS 1

/**
 * Called for writes.
 */
#define TRAPLINE_WRITES 2

/**
 * The accesses are also put into the trace of the session that is open, if one is.
 */
#define TRAPLINE_RECORD 4

/**
 * What a pre handler decides.
 */
enum trapline_decision {
    /**
     * Let it happen.
     */
    TRAPLINE_DECISION_PASS = 0,
    /**
     * A read gets the value that the handler stored, and the device is not read; or that value is written instead of the instruction's.
     */
    TRAPLINE_DECISION_SUPPLY = 1,
    /**
     * A write does not happen; a read gets 0 and the device is not read.
     */
    TRAPLINE_DECISION_DROP = 2,
};

/**
 * A page fault in kernel mode that nobody has resolved: the kernel is about to look for an exception-table entry, and to oops if there is none.
 */
struct trapline_page_fault {
    /**
     * As the CPU pushed it (Intel SDM volume 3, 4.7).
     */
    uint64_t error_code;
    /**
     * The linear address that was accessed.
     */
    uint64_t address;
};

/**
 * A page-fault handler. The newest is asked first; the first that claims a fault ends the search.
 */
struct trapline_page_fault_handler {
    /**
     * Trapline's own.
     */
    uint64_t reserved[3];
    /**
     * Returns whether it claims the fault: the interrupted code then goes on with `registers` as the handler left them, at the same instruction unless it changed
     * `ip`.
     */
    bool (*handle)(struct trapline_page_fault_handler *handler,
                   const struct trapline_page_fault *fault,
                   struct pt_regs *registers);
    /**
     * The owner's.
     */
    void *data;
    /**
     * What `trapline list` calls it: text that stays as long as it is registered; may be NULL.
     */
    const char *name;
};

/**
 * One access to memory that a probe covers.
 */
struct trapline_access {
    /**
     * Linear address of the first byte.
     */
    uint64_t address;
    /**
     * Address of the accessing instruction.
     */
    uint64_t ip;
    /**
     * The registers as they were at the fault.
     */
    const struct pt_regs *registers;
    /**
     * The bytes that will be or were written, or were read, lowest address first; none before a read and for an access that the CPU makes by itself.
     */
    const uint8_t *value;
    /**
     * How many there are.
     */
    uint32_t value_length;
    /**
     * Bytes accessed.
     */
    uint16_t width;
    /**
     * Whether it writes.
     */
    bool write;
};

/**
 * An access probe: a range of bytes, and what is called when one of them is accessed.
 *
 * Any number of probes may cover a byte, each registered and unregistered by itself. All pre handlers are called, in the order of registration; the first that
 * does not let the access pass decides.
 */
struct trapline_access_probe {
    /**
     * Linear address of the first byte: memory that the caller got from `ioremap` or `vmalloc` and keeps until it has unregistered.
     */
    uint64_t start;
    /**
     * Bytes, at least 1.
     */
    uint64_t length;
    /**
     * `TRAPLINE_READS`, `TRAPLINE_WRITES` or both; and `TRAPLINE_RECORD`, or not.
     */
    uint32_t flags;
    /**
     * Trapline's own.
     */
    uint32_t mapping;
    /**
     * Called before the access; may be NULL. To supply a value it stores it in `value`, zero-extended to 8 bytes.
     */
    enum trapline_decision (*pre)(struct trapline_access_probe *probe,
                                  const struct trapline_access *access,
                                  uint64_t *value);
    /**
     * Called after the access; may be NULL.
     */
    void (*post)(struct trapline_access_probe *probe, const struct trapline_access *access);
    /**
     * The owner's.
     */
    void *data;
    /**
     * What `trapline list` calls it: text that stays as long as it is registered; may be NULL.
     */
    const char *name;
    /**
     * Trapline's own.
     */
    uint64_t id;
};

/**
 * Puts `handler` at the head of the list of page-fault handlers. Returns 0, or `-EINVAL` if it has no function.
 *
 * # Safety
 * `handler` is valid, is not registered, and is as this file's beginning says.
 */
int32_t trapline_register_page_fault_handler(struct trapline_page_fault_handler *handler);

/**
 * Takes `handler` out of the list. It may still be running, on any CPU, until `trapline_synchronize()` has returned. Returns 0, or
 * `-EINVAL` if it was not registered.
 *
 * # Safety
 * Every registered handler is valid.
 */
int32_t trapline_unregister_page_fault_handler(struct trapline_page_fault_handler *handler);

/**
 * Returns when every handler that was running when it was called has returned, on all CPUs.
 */
void trapline_synchronize(void);

/**
 * Registers an access probe: when it returns 0, every access to its bytes is trapped, on all CPUs.
 *
 * Else `-EINVAL` (length 0, wraps, no direction), `-EPERM` (executable or kernel-stack memory, or the self-test at load failed), `-EFAULT` (not mapped, or
 * neither from `ioremap` nor from `vmalloc`), `-EOPNOTSUPP` (a page larger than 2 MiB), `-EIO` (no second mapping with the same cache
 * attributes), `-ENOMEM`.
 *
 * # Safety
 * `probe` is valid, is not registered, and is as this file's beginning says.
 */
int32_t trapline_register_access_probe(struct trapline_access_probe *probe);

/**
 * Takes an access probe away: when it returns, none of its handlers is running or will run.
 *
 * # Safety
 * `probe` was registered and not unregistered since.
 */
void trapline_unregister_access_probe(struct trapline_access_probe *probe);

/**
 * Registers `count` access probes at once: all of them, or none. Errors as for `trapline_register_access_probe()`.
 *
 * # Safety
 * `probes` is an array of `count` pointers, each as for `trapline_register_access_probe()`.
 */
int32_t trapline_register_access_probes(struct trapline_access_probe *const *probes,
                                        size_t count);

/**
 * Takes `count` access probes away at once.
 *
 * # Safety
 * `probes` is an array of `count` pointers, each as for `trapline_unregister_access_probe()`.
 */
void trapline_unregister_access_probes(struct trapline_access_probe *const *probes, size_t count);

#endif  /* TRAPLINE_H */
