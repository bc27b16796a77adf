//! What stands at the instructions: hooks, as the kernel's kprobes.
//!
//! Those of an address form a list that cores walk while it changes, newest first: a walk does not
//! meet what came after it had begun, nor what went before it got there. The first alone at its
//! address is no list yet, so a hit of it knows nothing of what comes meanwhile
//! (`register_aggr_kprobe()`); once there is a list it stays one.

use std::collections::{BTreeMap, BTreeSet};

/// What a hook tells of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum HookKind {
    /// Hits, to the [`Point`](trapline_engine::code::Point) at this address.
    Hit(u64),
    /// Ends of steps, to the same.
    Step(u64),
    /// Entries of a function, and thereby returns, to the
    /// [`CodeProbe`](trapline_engine::code::CodeProbe) at this address.
    Entry(u64),
}

/// A kprobe.
#[derive(Clone, Copy)]
pub(super) struct Hook {
    pub number: u64,
    pub kind: HookKind,
    /// Hits that came inside of another.
    pub missed: u64,
    /// Its module is gone.
    pub gone: bool,
    /// It is about to go.
    disabled: bool,
}

impl Hook {
    fn is_called(&self) -> bool {
        !self.gone && !self.disabled
    }
}

#[derive(Default)]
struct Place {
    /// Oldest first.
    hooks: Vec<Hook>,
    is_list: bool,
}

/// A core's way through the hooks of an address.
pub(super) enum Walk {
    /// Over the one that is no list.
    Lone(Option<Hook>),
    /// Over those that came before this one.
    List { below: u64 },
}

#[derive(Default)]
pub(super) struct Text {
    places: BTreeMap<u64, Place>,
    hooks: u64,
    by_ftrace: BTreeSet<u64>,
    /// Hooks at addresses probed by ftrace that want to be told of the step, which is none.
    /// Outlives the hook, as a walk may.
    wants_step: BTreeSet<u64>,
    /// Bodies of the functions: addresses that are executed after the first.
    functions: BTreeMap<u64, Vec<u64>>,
}

impl Text {
    /// Adds a hook; returns its number. `is_list`: even if it is alone there, as what may be
    /// optimised is.
    pub(super) fn insert(&mut self, address: u64, kind: HookKind, is_list: bool) -> u64 {
        self.hooks += 1;
        let place = self.places.entry(address).or_default();
        place.is_list |= is_list || !place.hooks.is_empty();
        place.hooks.push(Hook { number: self.hooks, kind, missed: 0, gone: false, disabled: false });
        self.hooks
    }

    /// Takes a hook away.
    pub(super) fn remove(&mut self, address: u64, number: u64) {
        let Some(place) = self.places.get_mut(&address) else { return };
        place.hooks.retain(|hook| hook.number != number);
        if place.hooks.is_empty() {
            self.places.remove(&address);
        }
    }

    /// Has a hook not called any more.
    pub(super) fn disable(&mut self, address: u64, number: u64) {
        self.hooks_at(address).filter(|hook| hook.number == number).for_each(|hook| hook.disabled = true);
    }

    /// The module with this address goes.
    pub(super) fn unload(&mut self, address: u64) {
        self.hooks_at(address).for_each(|hook| hook.gone = true);
    }

    fn hooks_at(&mut self, address: u64) -> impl Iterator<Item = &mut Hook> {
        self.places.get_mut(&address).into_iter().flat_map(|place| &mut place.hooks)
    }

    /// The hook, while it is there.
    pub(super) fn hook(&self, address: u64, number: u64) -> Option<&Hook> {
        self.places.get(&address)?.hooks.iter().find(|hook| hook.number == number)
    }

    /// Addresses at which an execution traps.
    pub(super) fn armed(&self) -> impl Iterator<Item = u64> {
        self.places
            .iter()
            .filter(|(_, place)| place.hooks.iter().any(Hook::is_called))
            .map(|(address, _)| *address)
    }

    /// An execution's walk, if it traps.
    pub(super) fn begin(&self, address: u64) -> Option<Walk> {
        let place = self.places.get(&address)?;
        match place.hooks[..] {
            _ if !place.hooks.iter().any(Hook::is_called) => None,
            [lone] if !place.is_list => Some(Walk::Lone(Some(lone))),
            _ => Some(Walk::List { below: u64::MAX }),
        }
    }

    /// The next hook of a walk.
    pub(super) fn next(&self, address: u64, walk: &mut Walk) -> Option<Hook> {
        match walk {
            Walk::Lone(hook) => hook.take(),
            Walk::List { below } => {
                let mut met = self.places.get(&address)?.hooks.iter().rev();
                let hook = *met.find(|hook| hook.number < *below && hook.is_called())?;
                *below = hook.number;
                Some(hook)
            }
        }
    }

    /// Whether anything at an address wants to be told of ends of steps.
    pub(super) fn tells_steps(&self, address: u64) -> bool {
        let hooks = self.places.get(&address).map_or(&[][..], |place| &place.hooks);
        hooks.iter().any(|hook| matches!(hook.kind, HookKind::Step(_)) || self.wants_step(hook.number))
    }

    /// A hit that is delivered to nobody.
    pub(super) fn miss(&mut self, address: u64) {
        self.hooks_at(address).for_each(|hook| hook.missed += 1);
    }

    /// A hit that is not delivered to this one.
    pub(super) fn miss_one(&mut self, address: u64, number: u64) {
        self.hooks_at(address).filter(|hook| hook.number == number).for_each(|hook| hook.missed += 1);
    }

    /// Has hits at `address` come by ftrace: there is no instruction to step over.
    pub(super) fn set_by_ftrace(&mut self, address: u64) {
        self.by_ftrace.insert(address);
    }

    pub(super) fn is_by_ftrace(&self, address: u64) -> bool {
        self.by_ftrace.contains(&address)
    }

    /// Has a hook told of the step at once after a hit, or no more.
    pub(super) fn set_wants_step(&mut self, number: u64, wanted: bool) {
        if wanted {
            self.wants_step.insert(number);
        } else {
            self.wants_step.remove(&number);
        }
    }

    pub(super) fn wants_step(&self, number: u64) -> bool {
        self.wants_step.contains(&number)
    }

    /// Has the instruction at `address` be the first of a function that goes on to execute `body`.
    pub(super) fn set_function(&mut self, address: u64, body: &[u64]) {
        self.functions.insert(address, body.to_vec());
    }

    /// What a function executes after its first instruction; `None` if none begins there.
    pub(super) fn body(&self, address: u64) -> Option<Vec<u64>> {
        self.functions.get(&address).cloned()
    }
}
