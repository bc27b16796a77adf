//! The C helpers: the counterpart of `glue/glue.h`. Each wraps the kernel function it is named for;
//! what that function asks of its caller it asks as well.

use crate::calls::Guard;
use core::ffi::{c_char, c_void};
use trapline_engine::{Alias, Linear, Physical, Task};
use trapline_insn::Registers;

/// `PG_LEVEL_4K` (arch/x86/include/asm/pgtable_types.h).
pub(crate) const LEVEL_4K: u32 = 1;
/// `PG_LEVEL_2M`.
pub(crate) const LEVEL_2M: u32 = 2;

/// `struct glue_interrupt`.
#[repr(C)]
pub(crate) struct Interrupt {
    pub(crate) handler: u64,
    pub(crate) device: u64,
    pub(crate) irq: u32,
    pub(crate) index: u16,
    pub(crate) signal: u8,
    pub(crate) flags: u8,
}

/// `struct glue_dma_piece`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct DmaPiece {
    pub(crate) dma: u64,
    pub(crate) physical: u64,
    pub(crate) mapped: u32,
    pub(crate) length: u32,
}

unsafe extern "C" {
    // Addresses in runner.S.
    pub(crate) safe static trapline_slots: u8;
    /// Of which only the address means anything here: it is relative to a CPU's own area.
    pub(crate) safe static glue_cpu: u32;
    pub(crate) safe static trapline_slots_size: u64;
    pub(crate) safe static trapline_slot_done: u8;
    pub(crate) safe static trapline_slot_fault: u8;
    /// Runs the code in `slot` with `registers`; returns 0 if it faulted.
    pub(crate) fn trapline_run_slot(registers: *mut Registers, slot: *const u8) -> u32;

    // guard.c
    pub(crate) fn glue_guard_begin(guard: *mut Guard);
    pub(crate) fn glue_guard_end(guard: *const Guard);
    pub(crate) fn glue_is_guarded(guard: *const Guard, stack: u64, registers: *const Registers) -> bool;
    pub(crate) fn glue_restore(guard: *const Guard);

    // kprobe.c
    pub(crate) fn glue_kprobe_address(symbol: *const c_char, offset: u32, address: *mut u64) -> i32;
    pub(crate) fn glue_register_kprobe(address: u64, point: *const c_void, error: *mut i32) -> *mut c_void;
    pub(crate) safe fn glue_within_module(address: u64) -> bool;
    pub(crate) fn glue_is_in_function(address: u64, function: *const c_char) -> bool;
    pub(crate) fn glue_set_posts_at_entry(site: *mut c_void, wanted: bool);
    pub(crate) fn glue_register_post_kprobe(site: *mut c_void) -> i32;
    pub(crate) fn glue_main_kprobe(site: *mut c_void) -> *mut c_void;
    pub(crate) fn glue_post_kprobe(site: *mut c_void) -> *mut c_void;
    pub(crate) fn glue_unregister_kprobes(kprobes: *mut *mut c_void, count: u32);
    pub(crate) fn glue_free_site(site: *mut c_void);
    pub(crate) fn glue_original_byte(address: u64, byte: *mut u8) -> bool;
    pub(crate) fn glue_kprobe_missed(site: *const c_void) -> u64;
    pub(crate) fn glue_kprobe_flags(site: *const c_void) -> u32;
    pub(crate) fn glue_register_kretprobe(
        address: u64,
        probe: *const c_void,
        carried: usize,
        active: u32,
        error: *mut i32,
    ) -> *mut c_void;
    pub(crate) fn glue_kretprobe(site: *mut c_void) -> *mut c_void;
    pub(crate) fn glue_disable_kretprobe(site: *mut c_void);
    pub(crate) fn glue_calls_under_way(site: *const c_void) -> i64;
    pub(crate) safe fn glue_msleep(milliseconds: u32);
    pub(crate) fn glue_unregister_kretprobes(kretprobes: *mut *mut c_void, count: u32);
    pub(crate) fn glue_free_return(site: *mut c_void);
    pub(crate) fn glue_kretprobe_missed(site: *const c_void) -> u64;
    pub(crate) fn glue_kretprobe_flags(site: *const c_void) -> u32;

    // symbol.c
    pub(crate) fn glue_module_of(address: u64, name: *mut [u8; trapline_abi::MODULE_LENGTH]);
    pub(crate) safe fn glue_function_size(address: u64) -> u64;
    pub(crate) safe fn glue_function_end(address: u64) -> u64;

    // context.c: the trap side.
    pub(crate) safe fn glue_local_clock() -> u64;
    pub(crate) safe fn glue_udelay(microseconds: u32);
    pub(crate) fn glue_current(task: *mut Task);
    pub(crate) fn glue_get_kernel_nofault(address: u64, value: *mut u64) -> bool;
    pub(crate) fn glue_get_kernel_byte_nofault(address: u64, value: *mut u8) -> bool;
    pub(crate) fn glue_get_inatomic(address: Linear, width: u32, value: *mut u64) -> bool;
    pub(crate) safe fn glue_put_inatomic(address: Linear, width: u32, value: u64) -> bool;
    pub(crate) safe fn glue_gs_base() -> u64;
    pub(crate) safe fn glue_fs_base() -> u64;
    pub(crate) safe fn glue_sync_core();
    pub(crate) safe fn glue_local_irq_save() -> usize;
    pub(crate) safe fn glue_local_irq_restore(flags: usize);
    pub(crate) safe fn glue_has_avx512() -> bool;
    pub(crate) safe fn glue_request_repair();

    // stack.c
    pub(crate) fn glue_unwind(registers: *const Registers, entries: *mut u64, room: u32) -> u32;

    // Addresses in gate_entry.S.
    pub(crate) safe static trapline_gate: u8;
    pub(crate) safe static trapline_gate_out: u8;

    // gate.c
    pub(crate) safe fn glue_has_page_table_isolation() -> bool;
    pub(crate) safe fn glue_has_fred() -> bool;
    pub(crate) safe fn glue_has_plain_entry() -> bool;
    pub(crate) safe fn glue_kernel_idt() -> u64;
    pub(crate) fn glue_gate_switch(table: u64, limit: u16) -> i32;
    pub(crate) fn glue_gate_switch_back() -> u32;

    // faults.c
    pub(crate) fn glue_look_at_faults() -> i32;
    pub(crate) fn glue_look_at_no_faults();
    pub(crate) fn glue_claim_faults() -> i32;
    pub(crate) fn glue_claim_no_faults();
    pub(crate) fn glue_set_studying(on: bool);
    pub(crate) safe fn glue_handle_mm_fault() -> u64;

    // interrupts.c
    pub(crate) fn glue_interrupts_begin(sink: *const c_void, begun: *mut *mut c_void) -> i32;
    pub(crate) fn glue_interrupts_add(watch: *mut c_void, function: u64) -> i32;
    pub(crate) fn glue_interrupts_end(watch: *mut c_void);
    pub(crate) fn glue_interrupt_of_thread(
        watch: *const c_void,
        descriptor: u64,
        action: u64,
        told: *mut Interrupt,
    ) -> bool;
    pub(crate) fn glue_interrupts_sink(watch: *const c_void) -> *const c_void;

    // pci.c
    pub(crate) safe fn glue_pci_number(device: u64) -> u64;
    pub(crate) safe fn glue_device_of_pci(pci: u64) -> u64;
    pub(crate) safe fn glue_pci_power(device: u64) -> u32;
    pub(crate) safe fn glue_driver_name(device: u64) -> u64;
    pub(crate) safe fn glue_has_pci_device(function: u64) -> bool;

    // dma.c
    pub(crate) safe fn glue_page_to_phys(page: u64) -> u64;
    pub(crate) fn glue_dma_piece(at: *mut u64, piece: *mut DmaPiece) -> bool;
    pub(crate) fn glue_dma_table(table: u64, list: *mut u64, mapped: *mut u32, all: *mut u32) -> bool;
    pub(crate) fn glue_dma_memory(device: u64, dma: u64, physical: u64) -> u64;

    // config.c
    pub(crate) safe fn glue_config_touch(function: u64) -> i32;

    // page_table.c
    pub(crate) fn glue_lookup_address(address: Linear, level: *mut u32) -> *mut u64;
    pub(crate) safe fn glue_entry_not_present(entry: u64, level: u32) -> u64;
    pub(crate) safe fn glue_entry_physical(entry: u64, level: u32) -> Physical;
    pub(crate) safe fn glue_flush_tlb_all_cpus();
    pub(crate) safe fn glue_synchronize_rcu();
    pub(crate) fn glue_page_table_root(levels: *mut u32) -> *const u64;
    pub(crate) safe fn glue_page_table_below(entry: u64) -> *const u64;
    pub(crate) safe fn glue_direct_map_start() -> Linear;
    pub(crate) safe fn glue_vmemmap_start() -> Linear;
    pub(crate) safe fn glue_vmalloc_start() -> Linear;
    pub(crate) safe fn glue_vmalloc_end() -> Linear;

    // mapping.c
    pub(crate) safe fn glue_ioremap_prot(physical: Physical, length: u64, entry: u64, level: u32) -> Alias;
    pub(crate) fn glue_iounmap(alias: Alias);
    pub(crate) safe fn glue_same_cache_attributes(
        one: u64,
        one_level: u32,
        other: u64,
        other_level: u32,
    ) -> bool;
    pub(crate) safe fn glue_is_ram(physical: Physical, length: u64) -> bool;
    pub(crate) safe fn glue_vmap_alias(address: Linear, pages: u64) -> Alias;
    pub(crate) fn glue_vunmap(alias: Alias);

    // locks.c
    pub(crate) fn glue_lock(lock: u32);
    pub(crate) fn glue_unlock(lock: u32);

    // ours.c
    pub(crate) safe fn glue_is_ours(first: Linear, last: Linear) -> bool;
    /// Of a whole mapping.
    pub(crate) fn glue_is_task_stack(start: Linear, length: u64) -> bool;
    pub(crate) safe fn glue_is_percpu(address: Linear) -> bool;
    pub(crate) safe fn glue_is_boot_memory(physical: Physical) -> bool;

    // memory.c
    pub(crate) fn glue_kvmalloc(size: usize, align: usize) -> *mut u8;
    pub(crate) fn glue_kvfree(memory: *mut u8);
    pub(crate) safe fn glue_vmalloc(size: usize) -> *mut u8;
    pub(crate) fn glue_vfree(memory: *mut u8);
    pub(crate) safe fn glue_vmalloc_user(size: usize) -> *mut u8;
    pub(crate) fn glue_remap_vmalloc_range(area: *mut c_void, memory: *mut u8, page: u64) -> i32;
    pub(crate) safe fn glue_totalram_bytes() -> u64;
    pub(crate) safe fn glue_nr_cpu_ids() -> u32;
    pub(crate) safe fn glue_has_smap() -> bool;
    pub(crate) safe fn glue_current_tgid() -> u32;
    pub(crate) safe fn glue_let_others_run();
    pub(crate) fn glue_copy_from_user(to: *mut u8, from: u64, length: usize) -> bool;
    pub(crate) fn glue_copy_to_user(to: u64, from: *const u8, length: usize) -> bool;
    pub(crate) fn glue_warn(text: *const u8, length: usize);
    pub(crate) fn glue_warn_number(text: *const u8, length: usize, number: u64);
    // tracking.c
    pub(crate) safe fn glue_set_tracking(on: bool);

    pub(crate) safe fn glue_kernel_fpu_begin();
    pub(crate) fn glue_kernel_fpu_end();
}
