//! Modules of the kernel, and how far the code of each reaches.

/// Code of modules is given out by whole pages.
const PAGE: u64 = 1 << 12;

/// A module by its line in `/proc/modules`, without how often it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) name: String,
    /// Bytes of all its parts.
    pub(super) size: u64,
    /// Where its code begins. From 6.4 on its data may lie elsewhere.
    pub(super) base: u64,
    /// Whether it has begun: what it had to begin with, which has names too, is freed then.
    pub(super) is_live: bool,
}

/// A module, and how far its code reaches, which the kernel does not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Module {
    pub(super) listed: Listed,
    /// Its code ends here or before: all its parts would end here, or another module begins.
    pub(super) limit: u64,
    /// The end of the page of its last function: its code ends here or behind.
    pub(super) occupied: u64,
    /// Whether its data lie behind its code, so that nothing else lies before the limit.
    pub(super) is_whole: bool,
}

impl Listed {
    /// `nvme 65536 3 - Live 0xffffffffc0400000` (kernel/module/procfs.c, `m_show`).
    pub(super) fn from_line(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (name, size, state, base) = (words.next()?, words.next()?, words.nth(2)?, words.next()?);
        let base = u64::from_str_radix(base.strip_prefix("0x")?, 16).ok()?;
        Some(Self { name: name.into(), size: size.parse().ok()?, base, is_live: state == "Live" })
    }
}

impl Module {
    pub(super) fn name(&self) -> &str {
        &self.listed.name
    }

    /// Whether it is the one that was listed so, and did not go meanwhile.
    fn is_same(&self, listed: &Listed) -> bool {
        (self.name(), self.listed.base) == (listed.name.as_str(), listed.base)
    }

    /// Where its code ends, as far as is known.
    pub(super) fn end(&self) -> u64 {
        if self.is_whole { self.limit } else { self.occupied }
    }

    /// Whether its code may lie there.
    pub(super) fn holds(&self, address: u64) -> bool {
        (self.listed.base..self.end()).contains(&address)
    }

    /// Whether its code lies there.
    pub(super) fn occupies(&self, address: u64) -> bool {
        (self.listed.base..self.occupied).contains(&address)
    }

    /// Whether its code lies where that of `gone` was.
    pub(super) fn took(&self, gone: &Self) -> bool {
        self.occupies(gone.listed.base) || gone.holds(self.listed.base)
    }
}

/// How far the code of each module reaches; `before` is what was known of it, `lines` are those of
/// `/proc/kallsyms`.
///
/// `/proc/modules` gives the size of all parts together. Before 6.4 they lie together, data behind
/// code, so nothing else lies within that. After it the code lies apart, and from 6.13 on side by
/// side with that of others (mm/execmem.c): one that came and went before it was known may have
/// been anywhere behind the last function's page. So such a module ends with that page, and the
/// next one's beginning ends it too. (A last function that reaches into the next page has no name
/// there: rather none than another module's.)
pub(super) fn measure<'a, Lines>(
    before: &[Module],
    listed: Vec<Listed>,
    lines: impl Fn() -> Lines,
) -> Vec<Module>
where
    Lines: Iterator<Item = (u64, bool, &'a str, Option<&'a str>)>,
{
    let bases: Vec<u64> = listed.iter().map(|listed| listed.base).collect();
    let limit = |listed: &Listed| {
        let next = bases.iter().copied().filter(|base| *base > listed.base).min();
        let before = before.iter().find(|module| module.is_same(listed)).map(|module| module.limit);
        let all = listed.base.saturating_add(listed.size);
        next.into_iter().chain(before).fold(all, u64::min)
    };
    let mut modules: Vec<Module> = listed
        .into_iter()
        .map(|listed| Module { limit: limit(&listed), occupied: listed.base, is_whole: false, listed })
        .collect();
    // Symbols of one module follow each other.
    let mut last = 0;
    for (address, is_code, name) in
        lines().filter_map(|(address, is_code, _, name)| Some((address, is_code, name?)))
    {
        if modules.get(last).is_none_or(|module| module.name() != name) {
            let Some(at) = modules.iter().position(|module| module.name() == name) else { continue };
            last = at;
        }
        let module = &mut modules[last];
        if !(module.listed.base..module.limit).contains(&address) {
            continue;
        }
        if is_code {
            let page = (address / PAGE + 1).saturating_mul(PAGE);
            module.occupied = module.occupied.max(page.min(module.limit));
        } else {
            module.is_whole = true;
        }
    }
    modules
}
