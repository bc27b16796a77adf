/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the two halves of the module call of each other.
 *
 * glue_*: C, called from Rust: one kernel function each, named after it, without a decision of its
 * own. Their Rust declarations are in src/glue.rs. trapline_*: Rust (src/entry.rs, src/device.rs,
 * src/api/), called from here.
 */
#ifndef TRAPLINE_GLUE_H
#define TRAPLINE_GLUE_H

#include <linux/types.h>

struct pt_regs;
struct file;
struct vm_area_struct;

/* A page fault as src/entry.rs sees it: engine's Fault. */
struct trapline_fault_words {
	u64 error_code;
	u64 address;
};

/*
 * What trapline_trap() and trapline_claim() answer: engine's Verdict and Claim. What
 * trapline_handler_fault() answers: engine's Recovery.
 */
enum trapline_verdict {
	TRAPLINE_NOT_OURS = 0,
	TRAPLINE_RESUME = 1,
	TRAPLINE_INSTEAD = 2,
	TRAPLINE_ABANDON = 3,
	TRAPLINE_LOOPING = 4,
};

/* engine's Task. */
struct glue_task {
	u64 name[2];
	u32 thread;
	u32 process;
	u8 interrupt;
};

/* A call of a handler of a device's interrupt: src/sources/interrupts. */
struct glue_interrupt {
	u64 handler;
	u64 device;
	u32 irq;
	u16 index;
	u8 signal;
	u8 flags;
};

/* An entry of a scatter list: src/sources/dma. */
struct glue_dma_piece {
	/* Where the device finds it, if it is mapped, and how many bytes; 0 if it is not. */
	u64 dma;
	/* Where the CPU does, and how many bytes. */
	u64 physical;
	u32 mapped;
	u32 length;
};

/* guard.h: the context that handlers are called in. */
struct glue_guard;

#define GLUE_GUARD_SIZE 40

/* kprobe.c */
struct kprobe;
struct kretprobe;
struct glue_site;
struct glue_return;

/* module.c: parts of the module, in the order in which they are set up; each undoes itself. */
int hook_install(void);
void hook_remove(void);
int step_install(void);
void step_remove(void);
int tracking_install(void);
void tracking_remove(void);
int device_install(void);
void device_remove(void);
void repair_remove(void);

/* Rust: entry.rs */
int trapline_init(void);
void trapline_exit(void);
u32 trapline_self_test(void);
u32 trapline_trap(struct pt_regs *registers, u64 trap, struct trapline_fault_words *fault);
bool trapline_debug_exception(struct pt_regs *registers);
void trapline_repair(void);
/* Rust: code.rs. In traps, with interrupts off. */
u32 trapline_handler_fault(struct pt_regs *registers, u64 trap, const struct trapline_fault_words *fault, bool ask);
bool trapline_handler_abandon(struct pt_regs *registers);
void trapline_hit(const void *point, const struct pt_regs *registers, const struct glue_guard *guard);
void trapline_stepped(const void *point, const struct pt_regs *registers, const struct glue_guard *guard);
bool trapline_entered(const void *probe, const struct pt_regs *registers, void *carried, const struct glue_guard *guard);
void trapline_returned(const void *probe, const struct pt_regs *registers, void *carried, const struct glue_guard *guard);
/* Rust: faults.rs */
void trapline_look_at(const struct pt_regs *registers, u64 error_code, u64 address, bool user);
u32 trapline_claim(struct pt_regs *registers, u64 error_code, u64 address);
/* Rust: sources/interrupts. With interrupts off. */
void trapline_interrupt(const void *sink, const struct glue_interrupt *told);
void trapline_handled(const void *sink, const struct glue_interrupt *told, u32 result);
/* Rust: tracking.rs */
void trapline_mapped(u64 physical, u64 length, u64 address, u64 caller);
void trapline_unmapping(u64 address);
/* Rust: device.rs */
u64 trapline_open(void);
void trapline_release(u64 file);
int trapline_ioctl(u64 file, u32 command, u64 argument);
int trapline_mmap(u64 file, struct vm_area_struct *area, u64 offset, u64 length);
void trapline_module_comes(const u8 *name, const u64 *code);

/* Addresses in the assembly parts. */
extern const u8 trapline_slots[], trapline_slot_done[], trapline_slot_fault[];
extern const u64 trapline_slots_size;
u32 trapline_run_slot(struct pt_regs *registers, const u8 *slot);
void trapline_resume(void);
void trapline_decline(void);
void trapline_fixup_or_abandon(void);

/* hook.c */
extern unsigned long trapline_fixup_exception;
bool trapline_abandon(struct pt_regs *registers);

/* guard.c */
void glue_guard_begin(struct glue_guard *guard);
void glue_guard_end(const struct glue_guard *guard);
bool glue_is_guarded(const struct glue_guard *guard, u64 stack, const struct pt_regs *registers);
void glue_restore(const struct glue_guard *guard);

/* kprobe.c */
int glue_kprobe_address(const char *symbol, u32 offset, u64 *address);
struct glue_site *glue_register_kprobe(u64 address, const void *point, int *error);
bool glue_within_module(u64 address);
bool glue_is_in_function(u64 address, const char *function);
void glue_set_posts_at_entry(struct glue_site *site, bool wanted);
int glue_register_post_kprobe(struct glue_site *site);
struct kprobe *glue_main_kprobe(struct glue_site *site);
struct kprobe *glue_post_kprobe(struct glue_site *site);
void glue_unregister_kprobes(struct kprobe **kprobes, u32 count);
void glue_free_site(struct glue_site *site);
bool glue_original_byte(u64 address, u8 *byte);
u64 glue_kprobe_missed(const struct glue_site *site);
u32 glue_kprobe_flags(const struct glue_site *site);
struct glue_return *glue_register_kretprobe(u64 address, const void *probe, size_t carried, u32 active, int *error);
struct kretprobe *glue_kretprobe(struct glue_return *site);
void glue_disable_kretprobe(struct glue_return *site);
s64 glue_calls_under_way(const struct glue_return *site);
void glue_msleep(u32 milliseconds);
void glue_unregister_kretprobes(struct kretprobe **kretprobes, u32 count);
void glue_free_return(struct glue_return *site);
u64 glue_kretprobe_missed(const struct glue_return *site);
u32 glue_kretprobe_flags(const struct glue_return *site);

/* symbol.c */
#define GLUE_MODULE_LENGTH 56
void glue_module_of(u64 address, char name[GLUE_MODULE_LENGTH]);
u64 glue_function_size(u64 address);
u64 glue_function_end(u64 address);

/* context.c */
void glue_number_cpus(void);
u64 glue_local_clock(void);
void glue_udelay(u32 microseconds);
void glue_current(struct glue_task *task);
/*
 * Breakpoints whose probes are being served on this CPU: the kernel counts each as a non-maskable
 * and as a hard interrupt (irqentry_nmi_enter()).
 */
DECLARE_PER_CPU(u32, glue_breakpoints);
bool glue_get_kernel_nofault(u64 address, u64 *value);
bool glue_get_kernel_byte_nofault(u64 address, u8 *value);
bool glue_get_inatomic(u64 address, u32 width, u64 *value);
bool glue_put_inatomic(u64 address, u32 width, u64 value);
u64 glue_gs_base(void);
u64 glue_fs_base(void);
void glue_sync_core(void);
unsigned long glue_local_irq_save(void);
void glue_local_irq_restore(unsigned long flags);
bool glue_has_avx512(void);
void glue_request_repair(void);
void glue_kernel_fpu_begin(void);
void glue_kernel_fpu_end(void);

/* stack.c */
u32 glue_unwind(const struct pt_regs *registers, u64 *entries, u32 room);

/* gate_entry.S, gate.c */
extern const u8 trapline_gate[], trapline_gate_out[];
bool glue_has_page_table_isolation(void);
bool glue_has_fred(void);
bool glue_has_plain_entry(void);
u64 glue_kernel_idt(void);
int glue_gate_switch(u64 table, u16 limit);
u32 glue_gate_switch_back(void);
/* Whether a module of this name may be loaded now. */
bool gate_admits(const char *module);

/* modules.c */
int modules_install(void);
void modules_remove(void);

/* faults.c */
int glue_look_at_faults(void);
void glue_look_at_no_faults(void);
int glue_claim_faults(void);
void glue_claim_no_faults(void);
void glue_set_studying(bool on);
u64 glue_handle_mm_fault(void);

/* interrupts.c */
struct irqaction;
struct glue_interrupts;
int glue_interrupts_begin(const void *sink, struct glue_interrupts **begun);
int glue_interrupts_add(struct glue_interrupts *watch, u64 function);
void glue_interrupts_end(struct glue_interrupts *watch);
bool glue_interrupt_of(const struct glue_interrupts *watch, u32 irq, const struct irqaction *action, struct glue_interrupt *told);
bool glue_interrupt_of_thread(const struct glue_interrupts *watch, u64 descriptor, u64 action, struct glue_interrupt *told);
const void *glue_interrupts_sink(const struct glue_interrupts *watch);

/* pci.c */
u64 glue_pci_number(u64 device);
u64 glue_device_of_pci(u64 pci);
u32 glue_pci_power(u64 device);
u64 glue_driver_name(u64 device);
bool glue_has_pci_device(u64 function);

/* dma.c */
u64 glue_page_to_phys(u64 page);
bool glue_dma_piece(u64 *at, struct glue_dma_piece *piece);
bool glue_dma_table(u64 table, u64 *list, u32 *mapped, u32 *all);
u64 glue_dma_memory(u64 device, u64 dma, u64 physical);

/* config.c */
int glue_config_touch(u64 function);

/* page_table.c */
u64 *glue_lookup_address(u64 address, u32 *level);
u64 glue_entry_not_present(u64 entry, u32 level);
u64 glue_entry_physical(u64 entry, u32 level);
void glue_synchronize_rcu(void);
u64 *glue_page_table_root(u32 *levels);
u64 *glue_page_table_below(u64 entry);
u64 glue_direct_map_start(void);
u64 glue_vmemmap_start(void);
u64 glue_vmalloc_start(void);
u64 glue_vmalloc_end(void);

/* tlb.c */
void glue_flush_tlb_all_cpus(void);

/* mapping.c */
u64 glue_ioremap_prot(u64 physical, u64 length, u64 entry, u32 level);
void glue_iounmap(u64 address);
u64 glue_vmap_alias(u64 address, u64 pages);
void glue_vunmap(u64 address);
bool glue_same_cache_attributes(u64 one, u32 one_level, u64 other, u32 other_level);
bool glue_is_ram(u64 physical, u64 length);

/* ours.c */
bool glue_is_ours(u64 first, u64 last);
bool glue_is_task_stack(u64 start, u64 length);
bool glue_is_percpu(u64 address);
bool glue_is_boot_memory(u64 physical);

/* locks.c */
void glue_lock(u32 lock);
void glue_unlock(u32 lock);

/* memory.c */
void *glue_kvmalloc(size_t size, size_t align);
void glue_kvfree(void *memory);
void *glue_vmalloc(size_t size);
void glue_vfree(void *memory);
void *glue_vmalloc_user(size_t size);
int glue_remap_vmalloc_range(struct vm_area_struct *area, void *memory, u64 page);
u64 glue_totalram_bytes(void);
u32 glue_nr_cpu_ids(void);
bool glue_has_smap(void);
u32 glue_current_tgid(void);
void glue_let_others_run(void);
void glue_set_tracking(bool on);
bool glue_copy_from_user(void *to, u64 from, size_t length);
bool glue_copy_to_user(u64 to, const void *from, size_t length);
void glue_warn(const u8 *text, size_t length);
void glue_warn_number(const u8 *text, size_t length, u64 number);

#endif
