//! What a fault of memory was: page faults, general protection faults, stacks that overflowed.

use super::*;

impl Report {
    pub(super) fn page_fault(&self, told: &mut Explanation) {
        let is_32 = self.machine == Machine::I386;
        if let Some(code) = self.code32() {
            // The upper quarter is the kernel's with the usual split.
            let half = self.address.map(|address| {
                if is_32 && address >= 0xc000_0000 { address | !0xffff_ffff } else { address }
            });
            let text = match half.filter(|half| self.is_smap(code, *half)) {
                Some(_) => fault::sentence(code, Cause::UserPage),
                None => sentence(code, half),
            };
            told.row("what", text);
            let set: Vec<&str> = bits(code).filter(|bit| bit.set).map(|bit| bit.name).collect();
            let set = if set.is_empty() { "no bit set".into() } else { set.join(", ") };
            told.row("error code", format!("{:#x}: {set}", code.0));
        }
        if let Some(address) = self.address {
            told.row(
                "address",
                if is_32 {
                    place::describe_32(address)
                } else if self.is_misleading(address) {
                    place::bare(address, self.levels())
                } else {
                    place::describe(address, self.levels())
                },
            );
        }
        self.shadow(told);
        if let Some(entry) = self.entries.last() {
            told.row("page table", format!("{} {}: {}", entry.level, entry.digits, entry.meaning()));
        }
        if self.is_address_short() {
            told.note("the address has 8 digits, where a 64-bit kernel prints 16: it is a 32-bit kernel's, or cut off, so it is not told");
        }
        let half = self.address.unwrap_or(u64::MAX);
        if self.code32().is_some_and(|code| self.is_smap(code, half)) {
            told.row("meaning", "the printed entries allow the write, so SMAP forbade it: the kernel used a program's address outside of its functions for that, as copy_to_user()");
        }
        if self.is_null_call() {
            let caller =
                self.calls.iter().find(|call| call.sure).map(|call| format!(", called by {}", call.text));
            told.row(
                "meaning",
                format!(
                    "a call or jump to address 0: a function pointer that is NULL{}",
                    caller.unwrap_or_default()
                ),
            );
        }
    }

    /// Whether SMAP forbade a write: the page's entries allow it, to user mode, too.
    pub(super) fn is_smap(&self, code: ErrorCode, address: u64) -> bool {
        const SMAP: u64 = 1 << 21;
        let is_on = self.registers.get("CR4").is_none_or(|cr4| cr4 & SMAP != 0);
        let granted = granted(&self.entries);
        is_on && may_be_smap(code, address) && granted == Some(Granted::Page { writable: true, user: true })
    }

    /// The error code against the page's entries.
    pub(super) fn against_entries(&self, told: &mut Explanation, code: ErrorCode, address: u64) {
        let granted = granted(&self.entries);
        if may_be_smap(code, address) && granted.is_none() {
            told.note(MAY_BE_SMAP);
        }
        let differs = match granted {
            None => false,
            Some(Granted::Nothing) => code.has(ErrorCode::PRESENT),
            Some(Granted::Page { writable, user }) => {
                let write = may_be_smap(code, address) && writable && !(user && self.is_smap(code, address));
                !code.has(ErrorCode::PRESENT) || write
            }
        };
        if differs {
            told.note("the printed entries do not fit the error code: they were changed since the fault, or the CPU had an old translation");
        }
    }

    /// Whether the CPU could not fetch the instruction.
    pub(super) fn is_fetch(&self) -> bool {
        self.is_page_fault() && self.code32().is_some_and(|code| code.has(ErrorCode::FETCH))
    }

    /// The instruction and those around it, if the bytes are what the CPU ran.
    pub(super) fn listing(&self) -> Option<Listing> {
        // After a fetch that faulted the bytes are what lies there, which was not run.
        let readable = self.machine.is_x86() && !self.is_fetch();
        let bits = if self.is_narrow() { 32 } else { 64 };
        self.code.as_ref().filter(|_| readable).and_then(|code| code.listing(bits))
    }

    /// Whether the address looks like a null pointer or an error number, and the instruction's
    /// register holds another: a field before a null pointer, one behind an error.
    pub(super) fn is_misleading(&self, address: u64) -> bool {
        let Some(pointer) = self.listing().and_then(|listing| pointer(self, &listing.instruction)) else {
            return false;
        };
        let is_error = |value: u64| value >= NEAR.wrapping_neg();
        is_error(address) && pointer != address || address < NEAR && is_error(pointer)
    }

    /// Whether the instruction is at address 0.
    pub(super) fn is_null_call(&self) -> bool {
        let fetch = self.is_fetch();
        let at_zero = matches!(self.instruction.as_deref(), Some("0x0" | "0x0000000000000000" | "(null)"));
        self.address == Some(0) && (fetch || at_zero)
    }

    /// KASAN's shadow memory, whose access faults where the address that it stands for is wild.
    pub(super) fn shadow(&self, told: &mut Explanation) {
        /// CONFIG_KASAN_SHADOW_OFFSET of x86-64.
        const SHADOW: u64 = 0xdfff_fc00_0000_0000;
        let has_kasan = self.details.iter().any(|line| line == "KASAN")
            || self.hints.iter().any(|hint| hint.contains("KASAN"));
        let Some(shadow) = self.address.filter(|_| has_kasan && self.machine == Machine::X86_64) else {
            return;
        };
        let first = shadow.wrapping_sub(SHADOW) << 3;
        // Anything is the shadow of something. Told is that of programs' addresses, which a null
        // pointer has, and that of the kernel's half, where the shadow really is.
        let offset = shadow.wrapping_sub(SHADOW);
        let first_of_kernel = match self.levels() {
            Levels::Four => 0xffff_ec00_0000_0000,
            Levels::Five => 0xffdf_0000_0000_0000,
        };
        if offset < 1 << 45 || (first_of_kernel..=0xffff_fbff_ffff_ffff).contains(&shadow) {
            told.row("shadow", format!("{shadow:#x} is KASAN's shadow of {first:#x} to {:#x} (computed): that is the address that the code was about to use", first | 7));
        }
    }

    pub(super) fn general_protection(&self, told: &mut Explanation) {
        told.row("what", "general protection fault: no page fault, so there is no address in CR2");
        self.address(told, self.address);
        self.shadow(told);
    }

    pub(super) fn double_fault(&self, told: &mut Explanation) {
        told.row("what", "double fault: an exception came up while the CPU was delivering another one");
        self.stack(told);
        if self.in_user_mode {
            told.row("mode", "the instruction is in user mode: the CPU could not enter the kernel for an interrupt, an exception or a system call of it");
        }
    }

    /// CR2 against RSP.
    pub(super) fn stack(&self, told: &mut Explanation) {
        let (Some(cr2), Some(rsp)) = (self.registers.get("CR2"), self.registers.get("RSP")) else { return };
        let below = rsp.wrapping_sub(cr2);
        if !self.in_user_mode && (1..NEAR).contains(&below) {
            told.row("stack", format!("CR2 {cr2:#x} is {below:#x} below RSP {rsp:#x}: what was written below the stack pointer faulted: the stack overflowed"));
        } else if !self.in_user_mode && cr2 >= rsp && cr2 - rsp < NEAR {
            told.row(
                "stack",
                format!(
                    "CR2 {cr2:#x} is {:#x} above RSP {rsp:#x}: the stack itself could not be accessed",
                    cr2 - rsp
                ),
            );
        }
    }
}
