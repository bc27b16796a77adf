//! Calls of handlers, interpreted.

use super::cores::World;
use super::watch::{Called, Do, Fix, Handler, Watch};
use crate::allocation::Side;
use crate::schedule::actor;
use crate::world::lock;
use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use trapline_engine::Lane;
use trapline_engine::code::{Call, Calls, CodeHandlers, Exception, Recovery};
use trapline_insn::Registers;

/// The engine's way to its world.
pub(super) struct Link(pub(super) Weak<World>);

impl Link {
    fn world(&self) -> Arc<World> {
        self.0.upgrade().expect("the engine is part of its world")
    }
}

/// Names a context that calls are made in.
pub(super) struct Guard(pub(super) u64);

/// Names a call; what the cores' stack pointers tell in a real machine.
#[derive(Default)]
pub(super) struct Frame {
    id: Cell<u64>,
    guard: Cell<u64>,
    abandoned: Cell<bool>,
}

// What the engine is given for functions. They are told apart by their addresses and never run.
unsafe extern "C" fn pre(_: *mut (), _: *const Registers, _: *mut ()) {
    unreachable!("a pre handler is interpreted")
}

unsafe extern "C" fn post(_: *mut (), _: *const Registers, _: *mut ()) {
    unreachable!("a post handler is interpreted, too")
}

unsafe extern "C" fn fix(_: *mut (), _: *mut Registers, _: *const Exception) -> bool {
    unreachable!("a fault handler is interpreted as well")
}

/// The handlers of `watch`, as the engine knows them.
pub(super) fn handlers_of(watch: &Watch) -> CodeHandlers {
    CodeHandlers::Guarded {
        pre: watch.pre.is_some().then_some(pre as _),
        post: watch.post.is_some().then_some(post as _),
        fault: watch.fix.is_some().then_some(fix as _),
    }
}

const PAGE_FAULT: Exception = Exception { vector: 14, error_code: 0, address: 0 };

impl Calls for Link {
    type Guard = Guard;
    type Frame = Frame;

    fn lane(&self) -> Lane {
        let _side = Side::platform();
        Lane::new(actor().expect("traps happen on cores"))
    }

    fn guarding<T>(&self, calls: impl FnOnce(&Guard) -> T) -> T {
        let side = Side::platform();
        let guard = self.world().guard();
        drop(side);
        calls(&guard)
    }

    unsafe fn call(&self, guard: &Guard, frame: &Frame, call: &Call) -> Option<u64> {
        let _side = Side::platform();
        let world = self.world();
        frame.id.set(world.calls.fetch_add(1, Ordering::Relaxed) + 1);
        frame.guard.set(guard.0);
        // SAFETY: the data of every probe is a `Watch` that its machine keeps.
        let watch = unsafe { &*(call.arguments[0] as *const Watch) };
        assert!(watch.open.load(Ordering::Relaxed), "a handler ran after its probe was removed");
        let nothing = Vec::new();
        let (handler, program) = if call.function == pre as *const () {
            (Handler::Pre, watch.pre.as_ref().unwrap_or(&nothing))
        } else if call.function == post as *const () {
            (Handler::Post, watch.post.as_ref().unwrap_or(&nothing))
        } else {
            (Handler::Fix, &if watch.fix == Some(Fix::Faults) { vec![Do::Fault] } else { Vec::new() })
        };
        // SAFETY: the registers of the hit, or of the fault.
        let registers = unsafe { *(call.arguments[1] as *const Registers) };
        let (number, depth) = (registers.rdi, registers.rsi);
        let (cpu, probe) = (self.lane().number(), watch.id.load(Ordering::Relaxed));
        let trap = world.cores[cpu].traps.load(Ordering::Relaxed);
        lock(&world.journal).push(Called { probe, handler, cpu, trap, number, depth });
        if handler == Handler::Fix {
            watch.asked.fetch_add(1, Ordering::Relaxed);
        } else {
            // SAFETY: null, or what the call of a function carries.
            let carried = unsafe { (call.arguments[2] as *const Cell<[u64; 3]>).as_ref() };
            carry(watch, handler, carried, [cpu as u64, number, depth]);
        }
        for &step in program {
            world.scheduler.pause();
            match step {
                Do::Fault => {
                    if !world.handler_faults(frame) {
                        return None;
                    }
                }
                Do::Execute(address) => world.execute(address, 0, 0),
                Do::Interrupted => {
                    let (exception, mut registers) = (PAGE_FAULT, Registers::default());
                    // SAFETY: on a core, in its trap.
                    let recovery = unsafe { world.trap().fault(&exception, &mut registers, true) };
                    assert_eq!(recovery, Recovery::NotOurs, "it is not the handler's fault");
                }
            }
        }
        if handler == Handler::Post {
            watch.posts.fetch_add(1, Ordering::Relaxed);
        }
        Some(u64::from(handler == Handler::Fix && watch.fix == Some(Fix::Fixes)))
    }

    fn is_in(&self, guard: &Guard, frame: &Frame, registers: &Registers) -> bool {
        assert_eq!(guard.0, frame.guard.get(), "a call of another context");
        registers.rsp == frame.id.get()
    }

    unsafe fn abandon(&self, guard: &Guard, frame: &Frame, _: &mut Registers) {
        assert_eq!(guard.0, frame.guard.get(), "put back to another context");
        frame.abandoned.set(true);
    }
}

/// An entry handler leaves there which call it saw, and its return handler finds that.
fn carry(watch: &Watch, handler: Handler, carried: Option<&Cell<[u64; 3]>>, call: [u64; 3]) {
    match (handler, carried) {
        (Handler::Pre, Some(carried)) => carried.set(call),
        (Handler::Post, Some(carried)) if watch.pre.is_some() => {
            assert_eq!(carried.get(), call, "carried from another call's entry");
        }
        _ => {}
    }
}

impl World {
    /// A fault in the call of `frame`; returns whether it goes on.
    fn handler_faults(&self, frame: &Frame) -> bool {
        let mut registers = Registers { rsp: frame.id.get(), ..Registers::default() };
        // SAFETY: on a core, in its trap.
        match unsafe { self.trap().fault(&PAGE_FAULT, &mut registers, true) } {
            Recovery::Resume => true,
            Recovery::Abandon => {
                // SAFETY: as above.
                assert!(unsafe { self.trap().abandon(&mut registers) }, "it was the handler's a moment ago");
                assert!(frame.abandoned.get(), "another call was abandoned");
                false
            }
            other => panic!("a handler's fault became an oops: {other:?}"),
        }
    }
}
