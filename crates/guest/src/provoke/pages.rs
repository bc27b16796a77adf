//! Pages with rights, and protection keys.
#![allow(unsafe_code, reason = "maps memory")]

use std::fs;
use std::io;
use std::ptr;

use anyhow::{Context, Result};
use trapline_sim::paging::Size;

/// `jmp *%rdx`.
const BACK: [u8; 2] = [0xff, 0xe2];
/// Where Linux is told how many pages of 2 MiB it should keep, and how many we need at most.
const HUGE: (&str, &str) = ("/proc/sys/vm/nr_hugepages", "16");

fn checked(result: i64) -> io::Result<i64> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// One page of its own, filled, so that it is present if its rights let it; unmapped when dropped.
pub(crate) struct Page {
    start: *mut u8,
    length: usize,
}

impl Page {
    /// With these rights (`PROT_*`), holding a way back for [`attempt`](super::access::attempt) in
    /// its middle.
    pub(crate) fn new(size: Size, rights: i32) -> Result<Self> {
        let mut flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        if size == Size::Large {
            fs::write(HUGE.0, HUGE.1).with_context(|| format!("cannot write {}", HUGE.0))?;
            flags |= libc::MAP_HUGETLB | libc::MAP_HUGE_2MB;
        }
        let length = size.bytes() as usize;
        let open = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, where the kernel likes it.
        let start = unsafe { libc::mmap(ptr::null_mut(), length, open, flags, -1, 0) };
        checked(start as i64).with_context(|| format!("no page of {length:#x} bytes"))?;
        let page = Self { start: start.cast(), length };
        // SAFETY: within the page, which can be written and is nobody else's.
        unsafe { page.start.add(length / 2).copy_from_nonoverlapping(BACK.as_ptr(), BACK.len()) };
        // SAFETY: the page is our own.
        checked(unsafe { libc::mprotect(start, length, rights) }.into()).context("cannot set rights")?;
        Ok(page)
    }

    /// Its address.
    pub(crate) fn start(&self) -> u64 {
        self.start as u64
    }

    /// Unmaps it; returns where it was.
    pub(crate) fn unmap(self) -> Result<u64> {
        Ok(self.start())
    }

    /// Gives it a protection key, and every right.
    pub(crate) fn give(&self, key: &Key) -> Result<()> {
        let rights = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        // SAFETY: the page is our own.
        let result = unsafe {
            libc::syscall(libc::SYS_pkey_mprotect, self.start, self.length, rights, i64::from(key.0))
        };
        checked(result).context("pkey_mprotect").map(drop)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the page is our own, and nobody has a reference into it.
        unsafe { libc::munmap(self.start.cast(), self.length) };
    }
}

/// A protection key, given back when dropped.
pub(crate) struct Key(u8);

impl Key {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers.
        let number = checked(unsafe { libc::syscall(libc::SYS_pkey_alloc, 0, 0) })?;
        u8::try_from(number).map(Self).map_err(io::Error::other)
    }

    pub(crate) fn number(&self) -> u8 {
        self.0
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: no pointers.
        unsafe { libc::syscall(libc::SYS_pkey_free, i64::from(self.0)) };
    }
}
