/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Trapline's interface for other kernel modules: page-fault handlers, access probes and code
 * probes.
 *
 * Generated from src/api/ and ../crates/api/src/raw.rs: change those, then `UPDATE_EXPECT=1 cargo
 * test -p xtask --test header`.
 *
 * Functions are called in process context and may sleep. Handlers run in the exception, with
 * interrupts off, maybe in NMI context, on any CPU: they must not sleep, allocate, or take a lock
 * that the code they interrupted may hold. One that faults is abandoned and counted, and the
 * interrupted code goes on; what it leaves undone in data of its own, or in locks it holds, stays
 * so. What handlers are given is valid until they return.
 *
 * An object handed to a register function stays where it is, and untouched, until its unregister
 * function has returned; a page-fault handler until trapline_synchronize() has returned after that.
 */

#ifndef TRAPLINE_H
#define TRAPLINE_H

#include <linux/types.h>

struct pt_regs;

/**
 * Called for every page fault, in user mode too, before anybody deals with it; without it, only
 * for those in kernel mode that nobody has resolved.
 *
 * A claim by which nothing changes, so that the same thread faults on the same address with the
 * same registers, is honoured for a second and then no more.
 */
#define TRAPLINE_ALL_FAULTS 1

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
     * A read gets the value that the handler stored, and the device is not read; or that value is
     * written instead of the instruction's.
     */
    TRAPLINE_DECISION_SUPPLY = 1,
    /**
     * A write does not happen; a read gets 0 and the device is not read.
     */
    TRAPLINE_DECISION_DROP = 2,
};

/**
 * A page fault. For handlers without `TRAPLINE_ALL_FAULTS` one in kernel mode that nobody has
 * resolved: the kernel is about to look for an exception-table entry, and to oops if there is
 * none.
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
     * `TRAPLINE_ALL_FAULTS`, or 0.
     */
    uint32_t flags;
    /**
     * Returns whether it claims the fault: the interrupted code then goes on with `registers` as
     * the handler left them, at the same instruction unless it changed `ip`.
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
    /**
     * Trapline's own: how often it faulted and was abandoned.
     */
    uint64_t faults;
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
     * The bytes that will be or were written, or were read, lowest address first; none before a
     * read and for an access that the CPU makes by itself.
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
 * Any number of probes may cover a byte, each registered and unregistered by itself. All pre
 * handlers are called, in the order of registration; the first that does not let the access pass
 * decides.
 */
struct trapline_access_probe {
    /**
     * Linear address of the first byte: memory that the caller got from `ioremap` or `vmalloc` and
     * keeps until it has unregistered.
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
     * Called before the access; may be NULL. To supply a value it stores it in `value`,
     * zero-extended to 8 bytes.
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
    /**
     * Trapline's own: how often its pre handler faulted and was abandoned; the access then passed.
     */
    uint64_t pre_faults;
    /**
     * Trapline's own: how often its post handler faulted and was abandoned.
     */
    uint64_t post_faults;
};

/**
 * An exception that a handler raised.
 */
struct trapline_exception {
    /**
     * Its vector (Intel SDM volume 3, table 6-1): 0 divide error, 6 invalid opcode, 13 general
     * protection, 14 page fault.
     */
    uint64_t vector;
    /**
     * As the CPU pushed it; 0 if it pushes none.
     */
    uint64_t error_code;
    /**
     * A page fault's linear address; 0 for others.
     */
    uint64_t address;
};

/**
 * A code probe: an instruction, and what is called before and after it.
 *
 * Any number of probes may be at an instruction, each registered and unregistered by itself. All
 * pre handlers are called before it, in the order of registration, then all post handlers. A
 * handler that faults is abandoned, and the post handler of its probe is not called for this hit;
 * the others are called all the same. A probe without post handler lets the kernel replace its
 * breakpoint by a jump.
 *
 * `registers` are those of the probed code; `ip` is past the breakpoint, as kprobes have it. A hit
 * inside of a handler is missed.
 */
struct trapline_code_probe {
    /**
     * Address of the instruction; 0 if `symbol` names it.
     */
    uint64_t address;
    /**
     * Name of a function of the kernel or of a module, or NULL.
     */
    const char *symbol;
    /**
     * Bytes from there to the instruction.
     */
    uint32_t offset;
    /**
     * Zero.
     */
    uint32_t reserved;
    /**
     * Called before the instruction; may be NULL.
     */
    void (*pre)(struct trapline_code_probe *probe, const struct pt_regs *registers);
    /**
     * Called after the instruction; may be NULL.
     */
    void (*post)(struct trapline_code_probe *probe, const struct pt_regs *registers);
    /**
     * Called when one of the two has faulted, with the registers of the handler at the fault; may
     * be NULL. Returns whether it has dealt with the fault: the handler then goes on with the
     * registers as they are now. May fault itself; both are abandoned then.
     */
    bool (*fault)(struct trapline_code_probe *probe,
                  struct pt_regs *registers,
                  const struct trapline_exception *exception);
    /**
     * Abandoned handlers after which the probe is disabled; 0: never.
     */
    uint64_t limit;
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
 * What a code probe or a return probe has counted.
 */
struct trapline_counts {
    /**
     * Times it was hit. For a return probe, entries, or returns if it has no entry handler.
     */
    uint64_t hits;
    /**
     * Hits that the kernel could not deliver: inside of another probe's handler, or, for a return
     * probe, with too many calls under way.
     */
    uint64_t missed;
    /**
     * Pre handlers, or entry handlers, that were abandoned.
     */
    uint64_t pre_faults;
    /**
     * Post handlers, or return handlers, that were abandoned.
     */
    uint64_t post_faults;
    /**
     * Faults that the fault handler resolved.
     */
    uint64_t fixed;
    /**
     * Whether it is disabled: by its owner, or since its handlers faulted too often.
     */
    bool disabled;
    /**
     * Whether its instruction is gone, with the module it was in.
     */
    bool gone;
};

/**
 * A return probe: a function, and what is called when it is entered and when it returns. For its
 * handlers the same holds as for those of a code probe.
 */
struct trapline_return_probe {
    /**
     * Address of the function; 0 if `symbol` names it.
     */
    uint64_t address;
    /**
     * Name of the function, or NULL.
     */
    const char *symbol;
    /**
     * Called when the function is entered; may be NULL. If it faults, the return of this call is
     * not told of.
     */
    void (*entry)(struct trapline_return_probe *probe, const struct pt_regs *registers, void *carried);
    /**
     * Called when the function has returned, its result in `registers->ax`; may be NULL.
     */
    void (*returned)(struct trapline_return_probe *probe, const struct pt_regs *registers, void *carried);
    /**
     * As for a code probe.
     */
    bool (*fault)(struct trapline_return_probe *probe,
                  struct pt_regs *registers,
                  const struct trapline_exception *exception);
    /**
     * Bytes that are carried from the entry handler to the return handler of the same call, 4096
     * at most: `carried` points to them.
     */
    size_t carried;
    /**
     * Calls under way at once that it can follow; 0 for the kernel's own choice.
     */
    uint32_t active;
    /**
     * Zero.
     */
    uint32_t reserved;
    /**
     * Abandoned handlers after which the probe is disabled; 0: never.
     */
    uint64_t limit;
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
 * Puts `handler` at the head of the list of page-fault handlers. Returns 0; `-EINVAL` if it has no
 * function or unknown flags, or is there already; for all faults also `-EBUSY` (somebody else
 * redirects `kmmio_handler`), `-EOPNOTSUPP` (the kernel has no such function, or no tracepoints of
 * page faults), `-ENOMEM`.
 *
 * # Safety
 * `handler` is valid and is as this file's beginning says.
 */
int32_t trapline_register_page_fault_handler(struct trapline_page_fault_handler *handler);

/**
 * Takes `handler` out of the list. It may still be running, on any CPU, until
 * `trapline_synchronize()` has returned. Returns 0, or `-EINVAL` if it was not registered.
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
 * Takes from every CPU's TLB what it keeps of the page tables, all of it: for a module that made a
 * kernel page not present, whose faults it serves. The kernel exports no function for that. Not
 * for handlers: it waits for all CPUs.
 */
void trapline_flush_tlb(void);

/**
 * Registers an access probe: when it returns 0, every access to its bytes is trapped, on all CPUs.
 *
 * Else `-EINVAL` (length 0, wraps, no direction, registered already), `-EPERM` (memory that must
 * not fault, as stacks are; the kernel log says why; or the self-test at load failed), `-EFAULT`
 * (not mapped, or neither from `ioremap` nor from `vmalloc`), `-EOPNOTSUPP` (a page larger than 2
 * MiB), `-EIO` (no second mapping with the same cache attributes), `-ENOMEM`.
 *
 * # Safety
 * `probe` is valid and is as this file's beginning says.
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
 * Registers `count` access probes at once: all of them, or none. Errors as for
 * `trapline_register_access_probe()`.
 *
 * # Safety
 * `probes` is an array of `count` pointers, each as for `trapline_register_access_probe()`.
 */
int32_t trapline_register_access_probes(struct trapline_access_probe *const *probes, size_t count);

/**
 * Takes `count` access probes away at once.
 *
 * # Safety
 * `probes` is an array of `count` pointers, each as for `trapline_unregister_access_probe()`.
 */
void trapline_unregister_access_probes(struct trapline_access_probe *const *probes, size_t count);

/**
 * Registers a code probe: when it returns 0, every execution of its instruction comes to its
 * handlers, on all CPUs.
 *
 * Else `-EINVAL` (no handler; nothing that may be probed; registered already), `-ENOENT` (no such
 * symbol), `-EILSEQ` (inside of an instruction), `-EPERM` (Trapline's own code, or what it hangs
 * on), `-EBUSY` (another user of the address can't share it), `-ENOMEM`, or what else the kernel's
 * `register_kprobe()` says.
 *
 * # Safety
 * `probe` is valid and is as this file's beginning says; its handlers are sound but for exceptions
 * that they may raise.
 */
int32_t trapline_register_code_probe(struct trapline_code_probe *probe);

/**
 * Takes a code probe away: when it returns, none of its handlers is running or will run; an
 * instruction that nobody else probes is as it was.
 *
 * # Safety
 * `probe` was registered and not unregistered since.
 */
void trapline_unregister_code_probe(struct trapline_code_probe *probe);

/**
 * Registers `count` code probes: all of them, or none. Errors as for
 * `trapline_register_code_probe()`.
 *
 * # Safety
 * `probes` is an array of `count` pointers, each as for `trapline_register_code_probe()`.
 */
int32_t trapline_register_code_probes(struct trapline_code_probe *const *probes, size_t count);

/**
 * Takes `count` code probes away at once.
 *
 * # Safety
 * `probes` is an array of `count` pointers, each as for `trapline_unregister_code_probe()`.
 */
void trapline_unregister_code_probes(struct trapline_code_probe *const *probes, size_t count);

/**
 * Has the handlers of a code probe called again, after it was disabled by its owner or by its
 * limit, which begins to count anew.
 *
 * # Safety
 * `probe` is registered.
 */
void trapline_enable_code_probe(struct trapline_code_probe *probe);

/**
 * Has the handlers of a code probe called no more, for now; one that is running goes on.
 *
 * # Safety
 * `probe` is registered.
 */
void trapline_disable_code_probe(struct trapline_code_probe *probe);

/**
 * What a code probe has counted so far.
 *
 * # Safety
 * `probe` is registered, `counts` valid.
 */
void trapline_code_probe_counts(const struct trapline_code_probe *probe, struct trapline_counts *counts);

/**
 * Registers a return probe. Errors as for `trapline_register_code_probe()`; `-EINVAL` too if
 * `address` is not a function's first instruction.
 *
 * # Safety
 * As for `trapline_register_code_probe()`.
 */
int32_t trapline_register_return_probe(struct trapline_return_probe *probe);

/**
 * Takes a return probe away: when it returns, none of its handlers is running or will run. Calls
 * that are under way return untold.
 *
 * # Safety
 * `probe` was registered and not unregistered since.
 */
void trapline_unregister_return_probe(struct trapline_return_probe *probe);

/**
 * Registers `count` return probes: all of them, or none. Errors as for
 * `trapline_register_return_probe()`.
 *
 * # Safety
 * `probes` is an array of `count` pointers, each as for `trapline_register_return_probe()`.
 */
int32_t trapline_register_return_probes(struct trapline_return_probe *const *probes, size_t count);

/**
 * Takes `count` return probes away at once.
 *
 * # Safety
 * `probes` is an array of `count` pointers, each as for `trapline_unregister_return_probe()`.
 */
void trapline_unregister_return_probes(struct trapline_return_probe *const *probes, size_t count);

/**
 * Has the handlers of a return probe called again, after it was disabled by its owner or by its
 * limit, which begins to count anew.
 *
 * # Safety
 * `probe` is registered.
 */
void trapline_enable_return_probe(struct trapline_return_probe *probe);

/**
 * Has the handlers of a return probe called no more, for now; one that is running goes on. Calls
 * that were entered before return untold.
 *
 * # Safety
 * `probe` is registered.
 */
void trapline_disable_return_probe(struct trapline_return_probe *probe);

/**
 * What a return probe has counted so far.
 *
 * # Safety
 * `probe` is registered, `counts` valid.
 */
void trapline_return_probe_counts(const struct trapline_return_probe *probe, struct trapline_counts *counts);

/**
 * Reads `length` bytes of kernel memory, whatever lies there. Returns 0, or `-EFAULT`: then
 * nothing is to be said of `to`. For handlers and everybody else.
 *
 * # Safety
 * `to` has room for them.
 */
int32_t trapline_read_kernel(void *to, const void *from, size_t length);

/**
 * Reads `length` bytes of the current process's memory, without waiting for pages that are not
 * there. Returns 0, or `-EFAULT`: then nothing is to be said of `to`.
 *
 * # Safety
 * `to` has room for them.
 */
int32_t trapline_read_user(void *to, uint64_t from, size_t length);

#endif  /* TRAPLINE_H */
