//! The C helpers: the counterpart of `glue/glue.h`. Each wraps the kernel function it is named for; what that function asks of its caller it asks as well.

use crate::calls::Guard;
use core::ffi::{c_char, c_void};
use trapline_engine::Task;
use trapline_insn::Registers;

/// `PG_LEVEL_4K` (arch/x86/include/asm/pgtable_types.h).
pub(crate) const LEVEL_4K: u32 = 1;
/// `PG_LEVEL_2M`.
pub(crate) const LEVEL_2M: u32 = 2;

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
    pub(crate) fn glue_kprobe_set_post(site: *mut c_void, wanted: bool) -> i32;
    pub(crate) fn glue_unregister_kprobes(sites: *mut *mut c_void, count: usize);
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
    pub(crate) fn glue_unregister_kretprobes(sites: *mut *mut c_void, count: usize);
    pub(crate) fn glue_kretprobe_missed(site: *const c_void) -> u64;
    pub(crate) fn glue_kretprobe_flags(site: *const c_void) -> u32;

    // symbol.c
    pub(crate) fn glue_module_of(address: u64, name: *mut [u8; trapline_abi::MODULE_LENGTH]);

    // context.c: the trap side.
    pub(crate) safe fn glue_local_clock() -> u64;
    pub(crate) fn glue_current(task: *mut Task);
    pub(crate) fn glue_get_kernel_nofault(address: u64, value: *mut u64) -> bool;
    pub(crate) fn glue_get_kernel_byte_nofault(address: u64, value: *mut u8) -> bool;
    pub(crate) fn glue_get_inatomic(address: u64, width: u32, value: *mut u64) -> bool;
    pub(crate) safe fn glue_put_inatomic(address: u64, width: u32, value: u64) -> bool;
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
    pub(crate) fn glue_hook_all_faults(study: bool, claim: bool) -> i32;
    pub(crate) safe fn glue_handle_mm_fault() -> u64;

    // page_table.c
    pub(crate) fn glue_lookup_address(address: u64, level: *mut u32) -> *mut u64;
    pub(crate) safe fn glue_entry_not_present(entry: u64, level: u32) -> u64;
    pub(crate) safe fn glue_entry_physical(entry: u64, level: u32) -> u64;
    pub(crate) safe fn glue_flush_tlb_all_cpus();
    pub(crate) safe fn glue_synchronize_rcu();
    pub(crate) fn glue_page_table_root(levels: *mut u32) -> *const u64;
    pub(crate) safe fn glue_page_table_below(entry: u64) -> *const u64;
    pub(crate) safe fn glue_direct_map_start() -> u64;
    pub(crate) safe fn glue_vmemmap_start() -> u64;
    pub(crate) safe fn glue_vmalloc_start() -> u64;
    pub(crate) safe fn glue_vmalloc_end() -> u64;

    // mapping.c
    pub(crate) safe fn glue_ioremap_prot(physical: u64, length: u64, entry: u64, level: u32) -> u64;
    pub(crate) fn glue_iounmap(address: u64);
    pub(crate) safe fn glue_same_cache_attributes(
        one: u64,
        one_level: u32,
        other: u64,
        other_level: u32,
    ) -> bool;
    pub(crate) safe fn glue_is_ram(physical: u64, length: u64) -> bool;
    pub(crate) safe fn glue_is_boot_memory(physical: u64) -> bool;
    pub(crate) safe fn glue_vmap_alias(address: u64, pages: u64) -> u64;
    pub(crate) fn glue_vunmap(address: u64);

    // memory.c
    pub(crate) fn glue_kvmalloc(size: usize, align: usize) -> *mut u8;
    pub(crate) fn glue_kvfree(memory: *mut u8);
    pub(crate) safe fn glue_vmalloc(size: usize) -> *mut u8;
    pub(crate) fn glue_vfree(memory: *mut u8);
    pub(crate) safe fn glue_vmalloc_user(size: usize) -> *mut u8;
    pub(crate) fn glue_remap_vmalloc_range(area: *mut c_void, memory: *mut u8, page: u64) -> i32;
    pub(crate) safe fn glue_totalram_bytes() -> u64;
    pub(crate) safe fn glue_is_task_stack(first: u64, last: u64) -> bool;
    pub(crate) safe fn glue_nr_cpu_ids() -> u32;
    pub(crate) safe fn glue_has_smap() -> bool;
    pub(crate) safe fn glue_current_tgid() -> u32;
    pub(crate) fn glue_copy_from_user(to: *mut u8, from: u64, length: usize) -> bool;
    pub(crate) fn glue_copy_to_user(to: u64, from: *const u8, length: usize) -> bool;
    pub(crate) fn glue_warn(text: *const u8, length: usize);
    pub(crate) safe fn glue_control_lock();
    pub(crate) fn glue_control_unlock();
    pub(crate) safe fn glue_code_lock();
    pub(crate) fn glue_code_unlock();
    // tracking.c
    pub(crate) safe fn glue_set_tracking(on: bool);

    pub(crate) safe fn glue_kernel_fpu_begin();
    pub(crate) fn glue_kernel_fpu_end();
}
