//! Performs the accesses of a trapped instruction, and shows each to the probes that cover it.
//!
//! [`Performer`] is the memory that an emulated instruction sees: what lies on an armed page is accessed through its alias, once, with the instruction's
//! own width; everything else as the instruction itself would.

use crate::counters::{CpuCounters, count};
use crate::sink::Sink;
use crate::space::{ActiveProbe, ArmedPage, Space};
use crate::value::{WIDEST, bytes_of, fill, narrow, pieces, truncate, wide, words_of};
use crate::{Access, Decision, Fault, Platform, Trap};
use trapline_abi::{AccessPayload, Flags, Kind, Record, Way};
use trapline_insn::{Memory, Registers, Segment};

/// How often a locked access to RAM is tried before the interrupted code is let go and comes back by itself.
const LOCKED_ATTEMPTS: usize = 1000;

/// Why an emulated instruction ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// An access to memory that is not ours faulted.
    Fault(Fault),
    /// Other CPUs kept changing the location: nothing was done, let the instruction fault again.
    Retry,
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Bytes that lie on one armed page, or on two of one mapping.
#[derive(Clone, Copy)]
pub(crate) struct Span<'a> {
    page: &'a ArmedPage,
    next: Option<&'a ArmedPage>,
    address: u64,
    width: u16,
}

impl Span<'_> {
    pub(crate) fn alias(&self) -> u64 {
        self.page.alias_of(self.address)
    }
}

/// Where some bytes lie.
enum Place<'a> {
    Armed(Span<'a>),
    /// Not on any armed page.
    Other,
    /// Partly: each byte is an access of its own.
    Mixed,
}

/// What the probes that cover an access want.
#[derive(Clone, Copy, Default)]
struct Interest {
    covered: bool,
    record: bool,
    handlers: bool,
}

/// One trapped instruction's memory.
pub(crate) struct Performer<'a, P> {
    pub platform: &'a P,
    pub trap: &'a Trap,
    pub space: &'a Space,
    pub sink: Option<&'a Sink>,
    pub counters: &'a CpuCounters,
    /// The page that the fault was on, where most of the accesses are.
    pub page: &'a ArmedPage,
    /// The registers as they were at the fault, if there are handlers to show them to and they may be called here.
    pub before: Option<&'a Registers>,
    /// Address of the trapped instruction.
    pub ip: u64,
    /// Of all its events.
    pub flags: u8,
    /// Of all its events.
    pub way: Way,
}

fn wants(active: &ActiveProbe, write: bool) -> bool {
    if write { active.probe.writes } else { active.probe.reads }
}

impl<'a, P: Platform> Performer<'a, P> {
    #[inline(always)]
    fn page_of(&self, address: u64) -> Option<&'a ArmedPage> {
        let page = self.page.page();
        if address.wrapping_sub(page.address) < page.size.bytes() {
            Some(self.page)
        } else {
            self.space.find(address)
        }
    }

    #[inline(always)]
    fn place(&self, address: u64, width: u16) -> Place<'a> {
        let last = address.wrapping_add(u64::from(width.max(1)) - 1);
        let Some(page) = self.page_of(address) else {
            let crosses = (address ^ last) >> 12 != 0;
            return if crosses && self.space.find(last).is_some() { Place::Mixed } else { Place::Other };
        };
        if last.wrapping_sub(page.page().address) < page.page().size.bytes() {
            return Place::Armed(Span { page, next: None, address, width });
        }
        match self.space.find(last) {
            // Aliases of one mapping are contiguous, so the access can stay in one piece.
            Some(next) if next.mapping == page.mapping => {
                Place::Armed(Span { page, next: Some(next), address, width })
            }
            _ => Place::Mixed,
        }
    }

    /// The armed bytes at `address`, if all of them are.
    pub(crate) fn span(&self, address: u64, width: u16) -> Option<Span<'a>> {
        match self.place(address, width) {
            Place::Armed(span) => Some(span),
            Place::Other | Place::Mixed => None,
        }
    }

    /// What of the bytes at `address` is armed: all, one end, both ends on pages of different mappings, or nothing.
    pub(crate) fn armed_parts(&self, address: u64, width: u16) -> [Option<Span<'a>>; 2] {
        match self.place(address, width) {
            Place::Armed(span) => [Some(span), None],
            Place::Other => [None, None],
            Place::Mixed => {
                let last = address.wrapping_add(u64::from(width) - 1);
                let head = self.page_of(address).map(|page| {
                    let width = page.page().end().wrapping_sub(address) as u16;
                    Span { page, next: None, address, width }
                });
                let tail = self.page_of(last).map(|page| {
                    let address = page.page().address;
                    Span { page, next: None, address, width: (last.wrapping_sub(address) + 1) as u16 }
                });
                [head, tail]
            }
        }
    }

    #[inline(always)]
    fn visit(&self, span: &Span, mut visit: impl FnMut(&ActiveProbe)) {
        let width = u64::from(span.width);
        self.space.visit(span.page, span.address, width, true, &mut visit);
        if let Some(next) = span.next {
            let begin = next.page().address;
            let rest = span.address.wrapping_add(width).wrapping_sub(begin);
            self.space.visit(next, begin, rest, false, &mut visit);
        }
    }

    #[inline(always)]
    fn interest(&self, span: &Span, write: bool) -> Interest {
        let mut interest = Interest::default();
        self.visit(span, |active| {
            interest.covered = true;
            if wants(active, write) {
                interest.record |= active.probe.record;
                interest.handlers |=
                    active.probe.handlers.pre.is_some() || active.probe.handlers.post.is_some();
            }
        });
        interest
    }

    fn access<'v>(&'v self, span: &Span, write: bool, value: &'v [u8]) -> Option<Access<'v>> {
        let registers = self.before?;
        Some(Access { address: span.address, width: span.width, write, value, ip: self.ip, registers })
    }

    /// Asks the pre handlers. All are asked; the first that does not let the access pass decides.
    fn ask(&self, span: &Span, write: bool, value: &[u8]) -> Decision {
        let mut decision = Decision::Pass;
        let Some(access) = self.access(span, write, value) else { return decision };
        self.visit(span, |active| {
            if wants(active, write)
                && let Some(pre) = active.probe.handlers.pre
            {
                // SAFETY: the contract of `Control::add_probes`: the handler may be called with its data in any trap while the probe is registered.
                let answer = unsafe { pre(active.probe.handlers.data, &access) };
                if decision == Decision::Pass {
                    decision = answer;
                }
            }
        });
        decision
    }

    fn tell(&self, span: &Span, write: bool, value: &[u8]) {
        let Some(access) = self.access(span, write, value) else { return };
        self.visit(span, |active| {
            if wants(active, write)
                && let Some(post) = active.probe.handlers.post
            {
                // SAFETY: as for the pre handlers.
                unsafe { post(active.probe.handlers.data, &access) };
            }
        });
    }

    #[inline(always)]
    fn record(&self, span: &Span, flags: u8, words: &[u64]) {
        let Some(sink) = self.sink else { return };
        let word = |number: usize| words.get(number).copied().unwrap_or(0);
        let payload = AccessPayload { address: span.address, ip: self.ip, value: [word(0), word(1)] };
        let record = Record {
            kind: Kind::Access as u8,
            flags: self.flags | flags,
            width: if usize::from(span.width) <= WIDEST { span.width as u8 } else { 0 },
            way: self.way as u8,
            mapping: span.page.mapping,
            payload: payload.to_words(),
            ..Record::EMPTY
        };
        if words.len() > 2 && span.width > 16 {
            self.record_wide(sink, &record, words);
        } else {
            sink.push(self.trap, self.platform, record, &[]);
        }
    }

    /// An event with a value wider than the 16 bytes that fit into its own record.
    #[inline(never)]
    fn record_wide(&self, sink: &Sink, record: &Record, words: &[u64]) {
        let word = |number: usize| words.get(number).copied().unwrap_or(0);
        let part =
            |from: usize| Record { payload: core::array::from_fn(|i| word(from + i)), ..Record::EMPTY };
        let parts = [part(2), part(6)];
        let needed = usize::from(record.width).saturating_sub(16).div_ceil(32);
        sink.push(self.trap, self.platform, *record, parts.get(..needed).unwrap_or(&parts));
    }

    #[inline(always)]
    fn performed(&self, interest: Interest) {
        if let Some(counter) = self.counters.accesses.get(self.way as usize) {
            count(counter);
        }
        if !interest.covered {
            count(&self.counters.beside);
        }
    }

    /// Reads a word: the common case, which nothing but the device decides about, on the shortest way.
    #[inline(always)]
    fn read_word(&mut self, span: &Span) -> u64 {
        let interest = self.interest(span, false);
        if interest.handlers {
            let mut word = [0];
            self.read_span(span, 0, &mut word);
            return word[0];
        }
        // SAFETY: as in `load`; the instruction's width is that of a register.
        let value = unsafe { self.platform.load(span.alias(), span.width as u8) };
        if interest.record {
            self.record(span, 0, &[value]);
        }
        self.performed(interest);
        value
    }

    /// Writes a word, likewise.
    #[inline(always)]
    fn write_word(&mut self, span: &Span, value: u64) {
        let interest = self.interest(span, true);
        if interest.handlers {
            return self.write_span(span, 0, &mut [value]);
        }
        // SAFETY: as in `read_word`.
        unsafe { self.platform.store(span.alias(), span.width as u8, value) };
        if interest.record {
            self.record(span, Flags::WRITE, &[value]);
        }
        self.performed(interest);
    }

    /// Reads the span into `words` (little endian, the unused rest zero), once.
    pub(crate) fn read_span(&mut self, span: &Span, flags: u8, words: &mut [u64]) {
        let interest = self.interest(span, false);
        let decision = if interest.handlers { self.ask(span, false, &[]) } else { Decision::Pass };
        let mut extra = 0;
        match decision {
            Decision::Pass => self.load(span, words),
            Decision::Supply(_) | Decision::Drop => {
                words.fill(0);
                if let (Decision::Supply(value), Some(word)) = (decision, words.first_mut()) {
                    *word = truncate(value, span.width);
                }
                extra = Flags::SUPPLIED;
            }
        }
        if interest.handlers {
            self.tell(span, false, bytes_of(words, span.width).as_slice());
        }
        if interest.record {
            self.record(span, flags | extra, words);
        }
        self.performed(interest);
    }

    /// Writes `words` to the span, once.
    pub(crate) fn write_span(&mut self, span: &Span, flags: u8, words: &mut [u64]) {
        let interest = self.interest(span, true);
        let decision = if interest.handlers {
            self.ask(span, true, bytes_of(words, span.width).as_slice())
        } else {
            Decision::Pass
        };
        let extra = self.apply_write(span, decision, words);
        self.wrote(span, interest, flags | extra, words);
    }

    /// Carries out what was decided about a write; returns the flags that tell of it.
    fn apply_write(&self, span: &Span, decision: Decision, words: &mut [u64]) -> u8 {
        match decision {
            Decision::Pass => {
                self.store(span, words);
                0
            }
            Decision::Supply(value) => {
                words.fill(0);
                if let Some(word) = words.first_mut() {
                    *word = truncate(value, span.width);
                }
                self.store(span, words);
                Flags::SUPPLIED
            }
            Decision::Drop => Flags::DROPPED,
        }
    }

    fn wrote(&self, span: &Span, interest: Interest, flags: u8, words: &[u64]) {
        if interest.handlers {
            self.tell(span, true, bytes_of(words, span.width).as_slice());
        }
        if interest.record {
            self.record(span, Flags::WRITE | flags, words);
        }
        self.performed(interest);
    }

    /// Shows an access of unknown value to recorders and handlers: one that the CPU makes, or made, by itself.
    pub(crate) fn show_unknown(&mut self, span: &Span, write: bool) {
        let interest = self.interest(span, write);
        if interest.handlers {
            // What a pre handler decides can't be carried out here: the access has been made. See `Decision`.
            self.ask(span, write, &[]);
            self.tell(span, write, &[]);
        }
        if interest.record {
            let direction = if write { Flags::WRITE } else { 0 };
            self.record(span, Flags::UNKNOWN | direction, &[]);
        }
        self.performed(interest);
    }

    #[inline(always)]
    fn load(&self, span: &Span, words: &mut [u64]) {
        match span.width {
            // SAFETY: a span lies on the alias of its mapping, which lives as long as the page is in the snapshot.
            1 | 2 | 4 | 8 => fill(words, &[unsafe { self.platform.load(span.alias(), span.width as u8) }]),
            _ => self.load_wide(span, words),
        }
    }

    #[inline(never)]
    fn load_wide(&self, span: &Span, words: &mut [u64]) {
        let alias = span.alias();
        match span.width {
            16 | 32 | 64 => {
                let mut bytes = [0; WIDEST];
                let Some(used) = bytes.get_mut(..usize::from(span.width)) else { return };
                // SAFETY: as in `load`; operands this wide are vectors, or the 16 bytes of `cmpxchg16b`, which every x86-64 CPU has SSE for.
                unsafe { self.platform.load_wide(alias, used) };
                fill(words, &words_of(&bytes));
            }
            // Ten bytes of x87 and the like: as the CPU does it, in pieces.
            width => {
                words.fill(0);
                for (offset, piece) in pieces(width) {
                    // SAFETY: as in `load`.
                    let value = unsafe { self.platform.load(alias.wrapping_add(offset), piece) };
                    if let Some(word) = words.get_mut((offset / 8) as usize) {
                        *word |= value << (8 * (offset % 8));
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn store(&self, span: &Span, words: &[u64]) {
        match span.width {
            1 | 2 | 4 | 8 => {
                let word = words.first().copied().unwrap_or(0);
                // SAFETY: as in `load`.
                unsafe { self.platform.store(span.alias(), span.width as u8, word) }
            }
            _ => self.store_wide(span, words),
        }
    }

    #[inline(never)]
    fn store_wide(&self, span: &Span, words: &[u64]) {
        let alias = span.alias();
        match span.width {
            16 | 32 | 64 => {
                let bytes = bytes_of(words, span.width);
                // SAFETY: as in `load_wide`.
                unsafe { self.platform.store_wide(alias, bytes.as_slice()) };
            }
            width => {
                for (offset, piece) in pieces(width) {
                    let word = words.get((offset / 8) as usize).copied().unwrap_or(0);
                    let value = truncate(word >> (8 * (offset % 8)), u16::from(piece));
                    // SAFETY: as in `load`.
                    unsafe { self.platform.store(alias.wrapping_add(offset), piece, value) };
                }
            }
        }
    }

    fn update_span(
        &mut self,
        span: &Span,
        locked: bool,
        compute: &mut dyn FnMut(u128) -> u128,
    ) -> Result<u128, Stop> {
        let flags = Flags::MODIFY | if locked { Flags::LOCKED } else { 0 };
        if locked && span.page.ram {
            return self.update_ram(span, flags, compute);
        }
        // A device: a read and a write, which is what it gets from a locked instruction too, since neither PCI Express nor a bridge to it
        // carries the lock.
        let mut words = [0; 2];
        self.read_span(span, flags, &mut words);
        let old = wide(words);
        words = narrow(compute(old), span.width);
        self.write_span(span, flags, &mut words);
        Ok(old)
    }

    /// RAM: one atomic step against every CPU and device, whether they are trapped or not, unless a pre handler wants it otherwise.
    fn update_ram(
        &mut self,
        span: &Span,
        flags: u8,
        compute: &mut dyn FnMut(u128) -> u128,
    ) -> Result<u128, Stop> {
        let (reads, writes) = (self.interest(span, false), self.interest(span, true));
        let mut now = [0; 2];
        self.load(span, &mut now);
        let mut old = wide(now);
        let (mut read_flags, mut write_flags) = (flags, flags | Flags::WRITE);
        let mut decision = Decision::Pass;
        if reads.handlers || writes.handlers {
            match self.ask(span, false, &[]) {
                Decision::Pass => {}
                Decision::Supply(value) => (old, read_flags) = (value.into(), flags | Flags::SUPPLIED),
                Decision::Drop => (old, read_flags) = (0, flags | Flags::SUPPLIED),
            }
            let proposed = bytes_of(&narrow(compute(old), span.width), span.width);
            decision = self.ask(span, true, proposed.as_slice());
        }
        let new_for = |old: u128, compute: &mut dyn FnMut(u128) -> u128| {
            // Computed in any case: the flags come of it.
            let computed = compute(old);
            match decision {
                Decision::Supply(value) => value.into(),
                Decision::Pass | Decision::Drop => computed,
            }
        };
        let mut new = new_for(old, compute);
        match decision {
            Decision::Drop => write_flags |= Flags::DROPPED,
            Decision::Pass | Decision::Supply(_) => {
                let supplied = read_flags & Flags::SUPPLIED != 0;
                let mut attempts = 0;
                loop {
                    let expected = wide(now);
                    // SAFETY: as in `load`; and RAM is behind the alias.
                    let found = unsafe {
                        self.platform.compare_exchange(span.alias(), span.width as u8, expected, new)
                    };
                    if found == expected {
                        break;
                    }
                    attempts += 1;
                    if attempts == LOCKED_ATTEMPTS {
                        return Err(Stop::Retry);
                    }
                    now = [found as u64, (found >> 64) as u64];
                    if !supplied {
                        old = found;
                        new = new_for(old, compute);
                    }
                }
                if let Decision::Supply(_) = decision {
                    write_flags |= Flags::SUPPLIED;
                }
            }
        }
        for (interest, write, flags, value) in
            [(reads, false, read_flags, old), (writes, true, write_flags, new)]
        {
            let words = narrow(value, span.width);
            if interest.handlers {
                self.tell(span, write, bytes_of(&words, span.width).as_slice());
            }
            if interest.record {
                self.record(span, flags, &words);
            }
            self.performed(interest);
        }
        Ok(old)
    }
}

impl<P: Platform> Memory for Performer<'_, P> {
    type Fault = Stop;

    fn read(&mut self, address: u64, width: u8) -> Result<u64, Stop> {
        match self.place(address, u16::from(width)) {
            Place::Armed(span) => Ok(self.read_word(&span)),
            Place::Other => Ok(self.platform.read_other(address, width)?),
            Place::Mixed => {
                let mut value = 0;
                for (offset, at) in outer_first(self, address, width) {
                    value |= self.read(at, 1)? << (8 * (offset & 7));
                }
                Ok(value)
            }
        }
    }

    fn write(&mut self, address: u64, width: u8, value: u64) -> Result<(), Stop> {
        match self.place(address, u16::from(width)) {
            Place::Armed(span) => {
                self.write_word(&span, truncate(value, u16::from(width)));
                Ok(())
            }
            Place::Other => Ok(self.platform.write_other(address, width, value)?),
            Place::Mixed => outer_first(self, address, width)
                .try_for_each(|(offset, at)| self.write(at, 1, value >> (8 * (offset & 7)))),
        }
    }

    fn update(
        &mut self,
        address: u64,
        width: u8,
        locked: bool,
        compute: &mut dyn FnMut(u128) -> u128,
    ) -> Result<u128, Stop> {
        if let Some(span) = self.span(address, u16::from(width)) {
            return self.update_span(&span, locked, compute);
        }
        // Across the border of what is armed, in words: not atomic, as no locked access across such a border is in hardware either once
        // split-lock detection is on.
        let low = width.min(8);
        let mut old = u128::from(self.read(address, low)?);
        if width > 8 {
            old |= u128::from(self.read(address.wrapping_add(8), 8)?) << 64;
        }
        let new = compute(old);
        self.write(address, low, new as u64)?;
        if width > 8 {
            self.write(address.wrapping_add(8), 8, (new >> 64) as u64)?;
        }
        Ok(old)
    }

    fn segment_base(&self, segment: Segment) -> u64 {
        self.platform.segment_base(segment)
    }
}

/// Offsets and addresses of the bytes of an access that is partly on armed pages: those that are not come first, so that their fault, if they
/// raise one, comes before the device is accessed.
fn outer_first<'a, P: Platform>(
    performer: &Performer<'a, P>,
    address: u64,
    width: u8,
) -> impl Iterator<Item = (u8, u64)> + use<'a, P> {
    let (space, at) = (performer.space, move |offset: u8| address.wrapping_add(offset.into()));
    let bytes = move |armed| {
        (0..width)
            .map(move |offset| (offset, at(offset)))
            .filter(move |&(_, at)| space.find(at).is_some() == armed)
    };
    bytes(false).chain(bytes(true))
}
