//! Kinds of events read together: what interrupts' handlers read first, how long it is from a
//! doorbell to the next interrupt, and which function touches what.
//!
//! Each is told only of a trace that was asked for the kinds that it relates, so it costs nothing
//! for others. What a kind of event is, is no matter here: it says what it touched
//! ([`Touch`](super::Touch)).

mod causes;
mod doorbells;
mod functions;

use std::io;

use super::{Of, Page, Texts};
use crate::{Event, Header, Names, Source, What};
use causes::Causes;
use doorbells::Doorbells;
use functions::Functions;

/// What is counted of several kinds of events together.
#[derive(Debug, Default)]
pub(super) struct Together {
    names: Names,
    /// If interrupts were asked for.
    causes: Option<Causes>,
    doorbells: Option<Doorbells>,
    /// If several kinds of things that functions touch were asked for.
    functions: Option<Functions>,
}

impl Together {
    /// Nothing counted yet, of a trace with this header.
    pub(super) fn new(header: &Header) -> Self {
        let touched = |source: &Source| match source {
            Source::Access(_) => Some(Of::Registers),
            Source::Port(_) => Some(Of::Ports),
            Source::Config(_) => Some(Of::Config),
            Source::Dma(_) => Some(Of::Buffers),
            Source::Hit(_)
            | Source::Fault(_)
            | Source::Interrupt(_)
            | Source::Lifecycle(_)
            | Source::Log(_) => None,
        };
        let asked: Vec<Of> = header.sources.iter().filter_map(touched).collect();
        let are_several = asked.iter().any(|of| Some(of) != asked.first());
        let has_interrupts = header.sources.iter().any(|source| matches!(source, Source::Interrupt(_)));
        Self {
            names: Names::default(),
            causes: has_interrupts.then(Causes::default),
            doorbells: has_interrupts.then(Doorbells::default),
            functions: are_several.then(Functions::default),
        }
    }

    /// What knows the fields of registers, and which of them are doorbells.
    pub(super) fn set_names(&mut self, names: Names) {
        self.names = names;
    }

    /// Counts `event`.
    pub(super) fn add(&mut self, event: &Event<'_>, texts: &mut Texts) {
        let Self { names, causes, doorbells, functions } = self;
        if causes.is_none() && functions.is_none() {
            return;
        }
        let touch = event.touch();
        if let Some(causes) = causes {
            causes.add(event, touch.as_ref(), texts);
        }
        if let Some(doorbells) = doorbells {
            match &event.what {
                What::Access(access) => doorbells.access(event.time, access, names, texts),
                What::Interrupt(interrupt) => doorbells.interrupt(event.time, interrupt),
                What::Lost(_) => doorbells.lost(),
                _ => {}
            }
        }
        if let (Some(functions), Some(touch)) = (functions, &touch) {
            functions.add(touch, texts);
        }
    }

    /// Writes its tables and a line without words behind them; nothing if there is nothing to
    /// relate.
    pub(super) fn tables(&self, page: &mut Page<'_>) -> io::Result<()> {
        let mut tables = Vec::new();
        self.write(&mut Page { out: &mut tables, ..*page })?;
        if tables.is_empty() {
            return Ok(());
        }
        page.out.write_all(&tables)?;
        writeln!(page.out)
    }

    fn write(&self, page: &mut Page<'_>) -> io::Result<()> {
        if let Some(causes) = &self.causes {
            causes.write(page, &self.names)?;
        }
        if let Some(doorbells) = &self.doorbells {
            doorbells.write(page)?;
        }
        if let Some(functions) = &self.functions {
            functions.write(page)?;
        }
        Ok(())
    }
}
