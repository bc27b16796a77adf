//! Who asked for what a function of the kernel did: the first on the stack that does more than pass
//! on what others ask for.

use super::hit::Frame;
use crate::{Names, Site};

/// Functions that only pass on what others ask for, or are a part of one that does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passing {
    /// Their names.
    pub(super) names: &'static [&'static str],
    /// What the names of others begin with.
    pub(super) families: &'static [&'static str],
}

impl Passing {
    /// Whether a function only passes on what others ask for.
    fn has(&self, function: &str) -> bool {
        // What the compiler has made of one: `pci_read.part.0`, `pci_write.isra.0`.
        let name = function.split('.').next().unwrap_or(function);
        self.names.contains(&name) || self.families.iter().any(|family| name.starts_with(family))
    }

    /// Who asked for it, of return addresses with the innermost first; the outermost that is known
    /// if all of them pass it on.
    pub(super) fn caller<'s, 'a>(&self, stack: &'s [Frame<'a>]) -> Option<&'s Frame<'a>> {
        let asks = |frame: &&Frame<'_>| frame.site.is_none_or(|site| !self.has(site.function));
        stack.iter().find(asks).or(stack.last())
    }

    /// Names the functions of a stack, and gives who asked: the address, and the function if that
    /// is known.
    pub(super) fn name<'a>(
        &self,
        stack: &mut [Frame<'a>],
        names: &'a Names,
    ) -> Option<(u64, Option<Site<'a>>)> {
        for frame in &mut *stack {
            frame.site = names.site(frame.ip).or(frame.site);
        }
        self.caller(stack).map(|caller| (caller.ip, caller.site))
    }

    /// Whose module that was for, if who asked is of the kernel itself.
    pub(super) fn for_whom<'s, 'a>(&self, stack: &'s [Frame<'a>]) -> Option<&'s Frame<'a>> {
        let asked = self.caller(stack)?;
        if asked.site?.module.is_some() {
            return None;
        }
        let outside = stack.iter().skip_while(|frame| !std::ptr::eq(*frame, asked));
        outside.into_iter().find(|frame| frame.site.is_some_and(|site| site.module.is_some()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A function on a stack, and its module. One without a name is not known.
    pub(in crate::kinds) type Called = (&'static str, Option<&'static str>);

    fn stack(functions: &[Called]) -> Vec<Frame<'static>> {
        let frame = |(number, (function, module)): (usize, &Called)| {
            let site = (!function.is_empty()).then_some(Site { function, offset: 1, module: *module });
            Frame { ip: number as u64 + 1, site }
        };
        functions.iter().enumerate().map(frame).collect()
    }

    /// Which of the functions asked, counted from 1, and for which of them.
    pub(in crate::kinds) fn asked(passing: &Passing, functions: &[Called]) -> (u64, Option<u64>) {
        let stack = stack(functions);
        (passing.caller(&stack).unwrap().ip, passing.for_whom(&stack).map(|frame| frame.ip))
    }

    #[test]
    fn who_asked_is_the_first_that_is_in_no_list_or_the_last_of_all() {
        let passing = Passing { names: &["one"], families: &["two_"] };
        let driver = ("probe", Some("driver"));
        assert_eq!(asked(&passing, &[("one", None), ("two_x", None), driver]), (3, None));
        assert_eq!(asked(&passing, &[("one.isra.0", None), ("three", None), driver]), (2, Some(3)));
        assert_eq!(asked(&passing, &[("one", None), ("two_x.part.0", None)]), (2, None));
        assert_eq!(asked(&passing, &[("one_more", None), ("three", None)]), (1, None));
        assert_eq!(asked(&passing, &[("", None), driver]), (1, None), "no name is known");
        assert!(passing.caller(&[]).is_none() && passing.for_whom(&[]).is_none());
    }
}
