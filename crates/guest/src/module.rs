//! The open module: its commands, with data in place of addresses.
#![allow(unsafe_code, reason = "talks to the test module by ioctl")]

use std::fs::{File, OpenOptions};

use anyhow::{Context, Result, ensure};
use rustix::io::Errno;
use rustix::ioctl::{self, Opcode, Updater};

use crate::contract::{self, Array, Handler, Hit, Probe, Program, Region, command};

/// The open module. Closing it waits for programs and undoes everything.
#[derive(Debug)]
pub(crate) struct Module {
    file: File,
}

impl Module {
    pub(crate) fn open() -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(contract::PATH);
        Ok(Self { file: file.with_context(|| format!("cannot open {}", contract::PATH))? })
    }

    /// Gives a command.
    ///
    /// # Safety
    /// The argument of `COMMAND` is a `T`, plain data for which every bit pattern is valid, and
    /// addresses in it are of memory that the command may access as it does.
    unsafe fn give<const COMMAND: Opcode, T>(&self, argument: &mut T) -> Result<(), Errno> {
        // SAFETY: `Updater` passes the address of `argument`, which by the caller's word is what
        // the command takes.
        unsafe { ioctl::ioctl(&self.file, Updater::<COMMAND, T>::new(argument)) }
    }

    /// Maps a region; `Errno::OPNOTSUPP` if the kernel does not map it with such pages.
    pub(crate) fn map(&self, region: &mut Region) -> Result<(), Errno> {
        // SAFETY: a `Region`, without addresses of ours.
        unsafe { self.give::<{ command::MAP }, _>(region) }
    }

    /// The page-table entries of `length` bytes from `start` on.
    pub(crate) fn entries(&self, start: u64, length: u64) -> Result<Vec<u64>, Errno> {
        let mut entries = vec![0u64; (length / 4096) as usize];
        let to = entries.as_mut_ptr() as u64;
        let mut argument = contract::Entries { start, length, to, count: entries.len() as u64 };
        // SAFETY: an `Entries`; the module writes at most `count` words at `to`, which `entries`
        // has.
        unsafe { self.give::<{ command::ENTRIES }, _>(&mut argument) }?;
        entries.truncate(argument.count as usize);
        Ok(entries)
    }

    /// Reads RAM of a region.
    pub(crate) fn peek(&self, address: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        let (length, user) = (bytes.len() as u64, bytes.as_mut_ptr() as u64);
        let mut argument = contract::Copy { address, length, user, write: 0, reserved: 0 };
        // SAFETY: a `Copy`; the module writes `length` bytes at `user`, which are `bytes`.
        unsafe { self.give::<{ command::COPY }, _>(&mut argument) }
    }

    /// Writes RAM of a region.
    pub(crate) fn poke(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let (length, user) = (bytes.len() as u64, bytes.as_ptr() as u64);
        let mut argument = contract::Copy { address, length, user, write: 1, reserved: 0 };
        // SAFETY: a `Copy`; the module reads `length` bytes at `user`, which are `bytes`.
        unsafe { self.give::<{ command::COPY }, _>(&mut argument) }
    }

    /// Starts programs.
    pub(crate) fn start(&self, programs: &mut [Program]) -> Result<(), Errno> {
        // SAFETY: an `Array` of `Program`s, which are plain data; the module copies them.
        unsafe { self.give::<{ command::START }, _>(&mut array(programs)) }
    }

    /// Waits until the programs that were started have ended, and stores how. As many as were
    /// started must be given.
    pub(crate) fn wait(&self, programs: &mut [Program]) -> Result<(), Errno> {
        // SAFETY: an `Array` of `Program`s; the module writes as many as it was given last, and the
        // one caller gives it the same slice.
        unsafe { self.give::<{ command::WAIT }, _>(&mut array(programs)) }
    }

    /// Registers probes, and stores their ids.
    pub(crate) fn probe(&self, probes: &mut [Probe]) -> Result<(), Errno> {
        // SAFETY: an `Array` of `Probe`s; the module copies them and writes their ids.
        unsafe { self.give::<{ command::PROBE }, _>(&mut array(probes)) }
    }

    /// Removes probes by their ids.
    pub(crate) fn unprobe(&self, ids: &mut [u64]) -> Result<(), Errno> {
        // SAFETY: an `Array` of numbers, which the module reads.
        unsafe { self.give::<{ command::UNPROBE }, _>(&mut array(ids)) }
    }

    /// Registers a page-fault handler, and stores its id.
    pub(crate) fn register(&self, handler: &mut Handler) -> Result<(), Errno> {
        // SAFETY: a `Handler`, without addresses of ours.
        unsafe { self.give::<{ command::REGISTER }, _>(handler) }
    }

    /// Removes a page-fault handler; `Errno::NOENT` if it was not registered.
    pub(crate) fn unregister(&self, id: u64) -> Result<(), Errno> {
        // SAFETY: a `Handler`, without addresses of ours.
        unsafe { self.give::<{ command::UNREGISTER }, _>(&mut Handler { id, ..Handler::default() }) }
    }

    /// The hits since the last call; while no program runs.
    pub(crate) fn hits(&self) -> Result<Vec<Hit>> {
        let mut hits = vec![Hit::NONE; contract::HITS];
        let mut argument = contract::Hits { to: hits.as_mut_ptr() as u64, count: hits.len() as u64, lost: 0 };
        // SAFETY: a `Hits`; the module writes at most `count` hits, plain data, at `to`.
        unsafe { self.give::<{ command::HITS }, _>(&mut argument) }?;
        ensure!(argument.lost == 0, "{} calls of handlers found no room in the module", argument.lost);
        hits.truncate(argument.count as usize);
        Ok(hits)
    }
}

fn array<T>(elements: &mut [T]) -> Array {
    Array { elements: elements.as_mut_ptr() as u64, count: elements.len() as u64 }
}
