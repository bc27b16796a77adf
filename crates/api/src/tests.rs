//! The twin against a module that only remembers what it was asked for. What a real one does is
//! shown in a virtual machine, by the example.

#![allow(unsafe_code, reason = "stands in for the module")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// The probes that are registered, by address of their C halves; and whether the next is refused.
static MODULE: Mutex<(Vec<usize>, i32)> = Mutex::new((Vec::new(), 0));
/// One test at a time: there is one module.
static TURN: Mutex<()> = Mutex::new(());

fn add<T>(probe: *mut T) -> i32 {
    let mut module = MODULE.lock().unwrap();
    if module.1 == 0 {
        module.0.push(probe.addr());
    }
    std::mem::take(&mut module.1)
}

fn take<T>(probe: *mut T) {
    let mut module = MODULE.lock().unwrap();
    let at = module.0.iter().position(|registered| *registered == probe.addr());
    module.0.remove(at.expect("what is taken away was registered"));
}

fn registered() -> usize {
    MODULE.lock().unwrap().0.len()
}

macro_rules! module {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? $body:block)*) => {
        $(#[unsafe(no_mangle)]
        extern "C" fn $name($($argument: $type),*) $(-> $result)? $body)*
    };
}

module! {
    trapline_register_code_probe(probe: *mut raw::CodeProbe) -> i32 { add(probe) }
    trapline_unregister_code_probe(probe: *mut raw::CodeProbe) { take(probe) }
    trapline_enable_code_probe(_probe: *mut raw::CodeProbe) {}
    trapline_disable_code_probe(_probe: *mut raw::CodeProbe) {}
    trapline_code_probe_counts(_probe: *const raw::CodeProbe, counts: *mut Counts) {
        // SAFETY: valid, as the interface asks.
        unsafe { (*counts).hits = 7 }
    }
    trapline_register_return_probe(probe: *mut raw::ReturnProbe) -> i32 { add(probe) }
    trapline_unregister_return_probe(probe: *mut raw::ReturnProbe) { take(probe) }
    trapline_enable_return_probe(_probe: *mut raw::ReturnProbe) {}
    trapline_disable_return_probe(_probe: *mut raw::ReturnProbe) {}
    trapline_return_probe_counts(_probe: *const raw::ReturnProbe, _counts: *mut Counts) {}
    trapline_register_access_probe(probe: *mut raw::AccessProbe) -> i32 { add(probe) }
    trapline_unregister_access_probe(probe: *mut raw::AccessProbe) { take(probe) }
    trapline_register_page_fault_handler(handler: *mut raw::PageFaultHandler) -> i32 { add(handler) }
    trapline_unregister_page_fault_handler(handler: *mut raw::PageFaultHandler) -> i32 { take(handler); 0 }
    trapline_synchronize() {}
    trapline_flush_tlb() {}
    trapline_read_kernel(_to: *mut u8, from: u64, _length: usize) -> i32 { if from == 0 { -14 } else { 0 } }
    trapline_read_user(_to: *mut u8, from: u64, _length: usize) -> i32 { if from == 0 { -14 } else { 0 } }
}

struct Sum(AtomicU64);

impl Sum {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

// SAFETY: no exception.
unsafe impl CodeHandler for Sum {
    const FAULT: bool = true;

    fn pre(&self, registers: &Registers) {
        self.add(registers.rdi);
    }

    fn fault(&self, registers: &mut Registers, exception: &Exception) -> bool {
        registers.rax = exception.address;
        true
    }
}

// SAFETY: no exception.
unsafe impl ReturnHandler for Sum {
    type Carried = u64;

    fn entry(&self, registers: &Registers) -> u64 {
        registers.rdi
    }

    fn returned(&self, registers: &Registers, carried: &u64) {
        self.add(registers.rax - carried);
    }
}

impl AccessHandler for Sum {
    const PRE: bool = true;

    fn pre(&self, access: &Access<'_>) -> Decision {
        if access.is_write() { Decision::Drop } else { Decision::Supply(access.address()) }
    }

    fn post(&self, access: &Access<'_>) {
        self.add(access.value().iter().map(|byte| u64::from(*byte)).sum());
    }
}

// SAFETY: no exception.
unsafe impl FaultHandler for Sum {
    fn handle(&self, fault: &PageFault, registers: &mut Registers) -> bool {
        registers.rip += 3;
        fault.address == 5
    }
}

fn covered(probe: &'static AccessProbe<Sum>) -> &'static AccessProbe<Sum> {
    // SAFETY: our module accesses nothing.
    unsafe { probe.covering(0x2000..0x2004) }
}

#[test]
fn a_probe_is_registered_once_and_taken_away_with_its_attachment() {
    static PROBE: CodeProbe<Sum> = CodeProbe::at_symbol(c"vfs_read", 4, Sum::new()).named(c"sum");
    let _turn = TURN.lock().unwrap();
    let attached = PROBE.register().unwrap();
    assert_eq!(registered(), 1);
    assert_eq!(PROBE.register().err(), Some(Error::Registered));
    assert_eq!(registered(), 1);
    assert_eq!(attached.counts(0).hits, 7);
    assert_eq!(attached.counts(1).hits, 0);
    drop(attached);
    assert_eq!(registered(), 0);
    drop(PROBE.register().unwrap());
    assert_eq!(registered(), 0);
}

#[test]
fn of_many_all_are_registered_or_none() {
    static CODE: CodeProbe<Sum> = CodeProbe::at_address(0x1000, Sum::new());
    static RETURN: ReturnProbe<Sum> = ReturnProbe::of_symbol(c"vfs_read", Sum::new());
    static ACCESS: AccessProbe<Sum> = AccessProbe::new(Sum::new());
    static FAULTS: PageFaultHandler<Sum> = PageFaultHandler::new(Sum::new()).of_all_faults();
    let _turn = TURN.lock().unwrap();
    let attached = register_all([&CODE, &RETURN, covered(&ACCESS), &FAULTS]).unwrap();
    assert_eq!(registered(), 4);
    drop(attached);
    assert_eq!(registered(), 0);
    // One of them twice: the second time it is refused, and the first is undone.
    assert_eq!(register_all([&CODE, &RETURN, &CODE]).err(), Some(Error::Registered));
    assert_eq!(registered(), 0);
    MODULE.lock().unwrap().1 = -84;
    assert_eq!(CODE.register().err(), Some(Error::InsideInstruction));
    drop(CODE.register().unwrap());
}

#[test]
fn what_c_calls_comes_to_the_handler() {
    static CODE: CodeProbe<Sum> = CodeProbe::at_address(0x1000, Sum::new());
    static RETURN: ReturnProbe<Sum> = ReturnProbe::of_address(0x1000, Sum::new());
    static ACCESS: AccessProbe<Sum> = AccessProbe::new(Sum::new()).of_reads().recorded();
    static FAULTS: PageFaultHandler<Sum> = PageFaultHandler::new(Sum::new());
    let _turn = TURN.lock().unwrap();
    let attached = register_all([&CODE, &RETURN, covered(&ACCESS), &FAULTS]).unwrap();
    let [code, returns, access, faults] =
        std::array::from_fn(|at| std::ptr::with_exposed_provenance_mut::<u8>(MODULE.lock().unwrap().0[at]));
    let mut registers = Registers { rdi: 40, rax: 42, ..Registers::default() };
    let exception = Exception { vector: 14, error_code: 0, address: 99 };
    let fault = PageFault { error_code: 0, address: 5 };
    let value = [1, 2, 3, 4];
    let read = raw::Access {
        address: 0x2000,
        ip: 0,
        registers: &raw const registers,
        value: value.as_ptr(),
        value_length: 4,
        width: 4,
        write: false,
    };
    // SAFETY: as the module calls them.
    unsafe {
        let code = code.cast::<raw::CodeProbe>();
        assert!((*code).post.is_none());
        (*code).pre.unwrap()(code, &raw const registers);
        assert_eq!(CODE.handler().get(), 40);
        assert!((*code).fault.unwrap()(code, &raw mut registers, &raw const exception));
        assert_eq!(registers.rax, 99);
        let returns = returns.cast::<raw::ReturnProbe>();
        let mut carried = 0u64;
        assert_eq!((*returns).carried, 8);
        (*returns).entry.unwrap()(returns, &raw const registers, (&raw mut carried).cast());
        (*returns).returned.unwrap()(returns, &raw const registers, (&raw mut carried).cast());
        assert_eq!(RETURN.handler().get(), 99 - 40);
        let access = access.cast::<raw::AccessProbe>();
        assert_eq!(((*access).start, (*access).length, (*access).flags), (0x2000, 4, 5));
        let mut supplied = 0;
        assert!((*access).pre.unwrap()(access, &raw const read, &raw mut supplied) == raw::Decision::Supply);
        assert_eq!(supplied, 0x2000);
        (*access).post.unwrap()(access, &raw const read);
        assert_eq!(ACCESS.handler().get(), 10);
        let faults = faults.cast::<raw::PageFaultHandler>();
        assert!((*faults).handle.unwrap()(faults, &raw const fault, &raw mut registers));
        assert_eq!(registers.rip, 3);
    }
    drop(attached);
}

#[test]
fn memory_that_cannot_be_read_is_an_error() {
    let mut bytes = [0; 4];
    assert_eq!(read_kernel(0, &mut bytes), Err(Unreadable));
    assert_eq!(read_user(0x1000, &mut bytes), Ok(()));
}

#[test]
fn every_error_is_a_number_and_back() {
    for status in -130..0 {
        assert_eq!(Error::check(status).unwrap_err().status(), status);
    }
    assert_eq!(Error::check(0), Ok(()));
}
