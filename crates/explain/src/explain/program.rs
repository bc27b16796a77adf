//! What an exception of a program means.

use super::*;

impl Trap {
    /// What it means, `count` of its kind being in the text.
    pub fn explain(&self, count: usize) -> Explanation {
        let mut told = Explanation { headlines: vec![self.line.clone()], ..Explanation::default() };
        let code = self.error_code.and_then(|code| u32::try_from(code).ok()).map(ErrorCode);
        match self.kind {
            Kind::Segfault => {
                if let Some(code) = code {
                    told.row("what", format!("{}: a program was ended by it", sentence(code, self.address)));
                    let set: Vec<&str> = bits(code).filter(|bit| bit.set).map(|bit| bit.name).collect();
                    told.row("error code", format!("{:#x}: {}", code.0, set.join(", ")));
                }
                if let Some(address) = self.address {
                    told.row("address", place::of_program(address));
                }
            }
            Kind::UserFault => {
                told.row(
                    "machine",
                    format!(
                        "{}: a program on another architecture, of which only the common parts are read",
                        self.machine.unwrap_or("not told")
                    ),
                );
                told.row("what", format!("a fault of a program, which ends it: {}", self.what));
                if let Some(address) = self.address {
                    told.row("address", format!("{address:#x}"));
                }
            }
            Kind::SplitLock => {
                let what = match self.what.as_str() {
                    "bus lock" => {
                        "a locked access of a program locks the bus (it lies over two cache lines, or memory is not cached)"
                    }
                    _ => "a locked access of a program lies over two cache lines",
                };
                told.row(
                    "what",
                    format!("{}: {what}, which stops all other CPUs: no fault of memory", self.what),
                );
            }
            _ => {
                told.row("what", format!("{} in a program, which is sent a signal: no page fault", self.what))
            }
        }
        if let Some(place) = self.place() {
            told.row("instruction", place);
        } else if let Some(file) = &self.file {
            told.row("instruction", format!("in {}", file.name));
        }
        if let Some(listing) = self.code.as_ref().and_then(|code| code.listing(self.bits())) {
            told.row("code", listing_text(&listing));
        }
        if let Some(task) = &self.task {
            let cpu = self.cpu.map(|cpu| format!(" on CPU {cpu}")).unwrap_or_default();
            told.row("task", format!("{task}{cpu}"));
        }
        if count > 1 {
            told.row("how often", format!("{count} times, by this program at this place"));
        }
        if let (Kind::Segfault, Some(code)) = (self.kind, code) {
            if let Some(address) = self.address {
                told.address_oddities(code, address, Levels::Four);
            }
            told.notes.extend(oddities(code));
        }
        told
    }
}
