//! What is told of functions that a pattern matches and that are not probed, or not as asked for.

use trapline_abi::ProbeError;

/// Names that are told of each kind at most.
const MOST: usize = 5;

/// What there is to tell of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// The function tracer has no place in it.
    NotTraceable,
    /// It is on the kernel's list of what may not be probed.
    Forbidden,
    /// It is in Trapline's own module.
    Own,
    /// The module refused it, and why.
    Refused(String),
    /// It is recorded without the arguments that were asked for.
    WithoutArguments,
}

impl Note {
    /// What is told of a refusal; `None` of one that would be everybody's.
    pub(super) fn of(reason: Option<ProbeError>) -> Option<Self> {
        let why = match reason? {
            ProbeError::NotProbeable => "the kernel allows no probe at their first instruction",
            ProbeError::InsideInstruction => {
                "somebody has changed their first instruction, as a debugger does"
            }
            ProbeError::Own => "they run while a probe is served",
            ProbeError::Taken => "somebody else has them in a way that can't be shared, as a live patch",
            ProbeError::NotAFunction => "the kernel can't follow their returns",
            ProbeError::Other => "the kernel refuses a probe in them",
            ProbeError::NoMemory | ProbeError::Program | ProbeError::Flags => return None,
        };
        Some(Self::Refused(why.into()))
    }

    fn text(&self, count: usize) -> String {
        let functions = format!("{count} {}", if count == 1 { "function" } else { "functions" });
        let why = match self {
            Self::NotTraceable => {
                "the function tracer has no place in them (notrace, or a part of another function)"
            }
            Self::Forbidden => "the kernel allows no probe in them (/sys/kernel/debug/kprobes/blacklist)",
            Self::Own => "they are in Trapline's own module",
            Self::Refused(why) => why,
            Self::WithoutArguments => {
                return format!(
                    "{functions} recorded without parameters, which the kernel's type information does not tell"
                );
            }
        };
        format!("{functions} left out: {why}")
    }
}

/// What there is to tell, kind by kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    kinds: Vec<(Note, Vec<String>)>,
}

impl Notes {
    /// Adds the function called `name`.
    pub(super) fn add(&mut self, note: Note, name: String) {
        match self.kinds.iter_mut().find(|(known, _)| *known == note) {
            Some((_, names)) => names.push(name),
            None => self.kinds.push((note, vec![name])),
        }
    }

    /// A line for each kind: how many, why, and the first of them.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        self.kinds.iter().map(|(note, names)| format!("{}: {}", note.text(names.len()), some(names)))
    }
}

/// The first of `names`.
pub(super) fn some(names: &[impl AsRef<str>]) -> String {
    let first: Vec<&str> = names.iter().take(MOST).map(AsRef::as_ref).collect();
    let list = first.join(", ");
    if names.len() > MOST { format!("{list}, …") } else { list }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_a_line_with_how_many_why_and_the_first_ones() {
        let mut notes = Notes::default();
        notes.add(Note::Forbidden, "one".into());
        (1..8).for_each(|number| notes.add(Note::NotTraceable, format!("f{number}")));
        let lines: Vec<String> = notes.lines().collect();
        assert_eq!(
            lines[0],
            "1 function left out: the kernel allows no probe in them (/sys/kernel/debug/kprobes/blacklist): one"
        );
        assert!(lines[1].starts_with("7 functions left out: the function tracer has no place in them"));
        assert!(lines[1].ends_with(": f1, f2, f3, f4, f5, …"), "{}", lines[1]);
    }

    #[test]
    fn a_refusal_that_is_of_one_function_is_told_and_one_of_everything_is_not() {
        assert!(matches!(Note::of(Some(ProbeError::Taken)), Some(Note::Refused(_))));
        assert_eq!(Note::of(Some(ProbeError::NoMemory)), None);
        assert_eq!(Note::of(None), None);
    }
}
