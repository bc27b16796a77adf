//! The functions that `trapline.ko` exports, as C calls them; `trapline.h` says what each does and
//! asks for.
//!
//! That they are what the module defines is checked where it defines them.

use core::ffi::c_void;

use crate::raw::{AccessProbe, CodeProbe, Counts, PageFaultHandler, ReturnProbe};

#[allow(missing_docs, reason = "documented in trapline.h, which is generated from their definitions")]
unsafe extern "C" {
    pub fn trapline_register_page_fault_handler(handler: *mut PageFaultHandler) -> i32;
    pub fn trapline_unregister_page_fault_handler(handler: *mut PageFaultHandler) -> i32;
    pub safe fn trapline_synchronize();
    pub safe fn trapline_flush_tlb();
    pub fn trapline_register_access_probe(probe: *mut AccessProbe) -> i32;
    pub fn trapline_unregister_access_probe(probe: *mut AccessProbe);
    pub fn trapline_register_access_probes(probes: *const *mut AccessProbe, count: usize) -> i32;
    pub fn trapline_unregister_access_probes(probes: *const *mut AccessProbe, count: usize);
    pub fn trapline_register_code_probe(probe: *mut CodeProbe) -> i32;
    pub fn trapline_unregister_code_probe(probe: *mut CodeProbe);
    pub fn trapline_register_code_probes(probes: *const *mut CodeProbe, count: usize) -> i32;
    pub fn trapline_unregister_code_probes(probes: *const *mut CodeProbe, count: usize);
    pub fn trapline_enable_code_probe(probe: *mut CodeProbe);
    pub fn trapline_disable_code_probe(probe: *mut CodeProbe);
    pub fn trapline_code_probe_counts(probe: *const CodeProbe, counts: *mut Counts);
    pub fn trapline_register_return_probe(probe: *mut ReturnProbe) -> i32;
    pub fn trapline_unregister_return_probe(probe: *mut ReturnProbe);
    pub fn trapline_register_return_probes(probes: *const *mut ReturnProbe, count: usize) -> i32;
    pub fn trapline_unregister_return_probes(probes: *const *mut ReturnProbe, count: usize);
    pub fn trapline_enable_return_probe(probe: *mut ReturnProbe);
    pub fn trapline_disable_return_probe(probe: *mut ReturnProbe);
    pub fn trapline_return_probe_counts(probe: *const ReturnProbe, counts: *mut Counts);
    pub fn trapline_read_kernel(to: *mut c_void, from: *const c_void, length: usize) -> i32;
    pub fn trapline_read_user(to: *mut c_void, from: u64, length: usize) -> i32;
}
