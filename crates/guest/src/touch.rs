//! `trapline-touch [--sampled] COUNT`: raises COUNT page faults, the first touch of a page each,
//! and says how many nanoseconds they took.
//!
//! For `cargo xtask bench`. With `--sampled` the kernel writes a sample of each fault into a ring
//! of perf's, as it does for `perf trace -F all`; nobody reads it.

#![allow(unsafe_code, reason = "its purpose is to touch memory")]

use std::ptr;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use perf_event::events::Software;
use perf_event::{Builder, SampleFlag};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

const PAGE: usize = 4096;
/// Pages that are touched, then given back, so that a measurement takes little memory.
const PAGES: usize = 4096;
/// Bytes of perf's ring: room for a sample of each of some hundred thousand faults.
const RING: usize = 32 << 20;

fn main() -> Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let sampled = arguments.first().is_some_and(|first| first == "--sampled");
    arguments.drain(..usize::from(sampled));
    let count: usize = arguments.first().context("usage: trapline-touch [--sampled] COUNT")?.parse()?;
    let rounds = count.div_ceil(PAGES);
    let length = PAGES * PAGE;
    // SAFETY: the kernel chooses addresses that nothing is at.
    let memory = unsafe {
        mmap_anonymous(ptr::null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
    }?;
    // SAFETY: memory of our own, just made. Each page shall fault for itself.
    unsafe { madvise(memory, length, Advice::LinuxNoHugepage) }?;
    let sampler = if sampled {
        let flags = SampleFlag::IP | SampleFlag::TID | SampleFlag::TIME | SampleFlag::ADDR;
        let mut builder = Builder::new(Software::PAGE_FAULTS);
        builder.sample_period(1).sample(flags);
        let counter = builder.build().context("perf does not count page faults")?;
        Some(counter.sampled(RING).context("perf has no ring")?)
    } else {
        None
    };
    let touch = || -> Result<u128> {
        let begun = Instant::now();
        for page in 0..PAGES {
            // A read gets the page of zeros: quicker than a page of its own, and so a smaller part
            // of what is measured.
            // SAFETY: within the memory, which nothing else refers to.
            unsafe { memory.cast::<u8>().add(page * PAGE).read_volatile() };
        }
        let took = begun.elapsed().as_nanos();
        // SAFETY: nothing refers to the memory.
        unsafe { madvise(memory, length, Advice::LinuxDontNeed) }?;
        Ok(took)
    };
    // The first time, the kernel makes the page tables as well.
    touch()?;
    let mut sampler = sampler;
    if let Some(sampler) = &mut sampler {
        sampler.enable()?;
    }
    let mut took = 0;
    for _ in 0..rounds {
        took += touch()?;
    }
    if let Some(sampler) = &mut sampler {
        sampler.disable()?;
        let seen = sampler.read()?;
        ensure!(seen >= (rounds * PAGES) as u64, "perf has seen {seen} faults of {}", rounds * PAGES);
    }
    println!("count {} nanoseconds {took}", rounds * PAGES);
    Ok(())
}
