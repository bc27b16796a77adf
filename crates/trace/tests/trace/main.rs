//! What comes of records and of files, in every format: one program for all, since each would be
//! linked with all that the crate needs.

mod any;
mod anything;
mod common;
mod config;
mod dma;
mod faults;
mod files;
mod first_reads;
mod format3;
mod formats;
mod hits;
mod html;
mod interrupts;
mod kind;
mod lies;
mod lifecycle;
mod log;
mod mmiotrace;
mod not_watched;
mod older_formats;
mod port;
mod property;
mod schema;
mod sense;
mod several;
mod together;
