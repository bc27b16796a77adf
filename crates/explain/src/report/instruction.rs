//! Where the instruction is, in the forms that kernels print.

use super::*;
use crate::call::with_module_behind;

impl Report {
    pub(super) fn take_rip(&mut self, rest: &str) {
        let (selector, place) = rest.split_once(':').unwrap_or(("", rest));
        // `0033:` of native kernels, `e033:` of Xen's.
        let user = matches!(selector, "0033" | "e033" | "0023" | "0073");
        if matches!(self.part, Part::Calls | Part::Frame) && (user || !self.calls.is_empty()) {
            self.part = if user { Part::User } else { Part::Frame };
            return;
        }
        let name = |place: &str| place.split(' ').next().unwrap_or("").to_owned();
        let place_now = place_of(place);
        if self.part == Part::Registers
            && let (Some(known), Some(now)) = (&self.instruction, &place_now)
            && name(known) != name(now)
            && !now.contains("[inline]")
        {
            self.note_second_value();
        }
        self.part = Part::Registers;
        // 32-bit kernels before 4.x have it at the end of this line.
        self.cpu = self.cpu.or_else(|| after(rest, " CPU: ").and_then(decimal));
        match place_now {
            // The function that it is inlined in has a line of its own, the last.
            Some(place) if place.ends_with("[inline]") || place.contains(" [inline] ") => {
                self.inlined.push(place);
            }
            Some(place) if self.instruction.is_none() || self.kind == Kind::Warning => {
                self.in_user_mode = user;
                self.is_program_32 = matches!(selector, "0023" | "0073");
                self.instruction = Some(place);
            }
            _ => {}
        }
    }
}

/// What follows RIP or EIP.
pub(super) fn rip(text: &str) -> Option<&str> {
    ["RIP: ", "EIP: "].iter().find_map(|mark| text.strip_prefix(mark))
}

/// What follows a "RIP: 0010:" without the addresses in brackets that kernels before 4.11 put
/// there, or what stands in the brackets if that is all.
pub(super) fn place_of(text: &str) -> Option<String> {
    let text = text.split(" EFLAGS:").next().unwrap_or(text);
    let place = text.rsplit_once(">]").map_or(text, |(_, place)| place);
    let place = place.split(" Not tainted").next().unwrap_or(place).trim();
    if place.is_empty() {
        let (inside, _) = after(text, "[<")?.split_once(">]")?;
        return Some(format!("0x{}", inside.trim_start_matches("0x"))).filter(|_| hex(inside).is_some());
    }
    let place = &*with_module_behind(place);
    // 2.6's `[gdth_get_info+5319/5778]`.
    Some(place.trim_start_matches('[').to_owned()).map(|place| match place.strip_suffix(']') {
        Some(inner) if !place.contains(" [") => inner.to_owned(),
        _ => place,
    })
}
