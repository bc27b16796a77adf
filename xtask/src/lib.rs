//! What a person types to try, test and measure Trapline: a stock kernel in a virtual machine, and
//! what runs in it.

pub mod access;
pub mod bench;
pub mod breakages;
pub mod build;
pub mod compare;
pub mod demo;
pub mod drivers;
pub mod exec;
pub mod failure;
pub mod harden;
pub mod imports;
pub mod interrupt;
pub mod package;
pub mod pages;
pub mod progress;
pub mod queries;
pub mod record;
pub mod scenarios;
pub mod setup;
pub mod test;
pub mod trace;
pub mod vm;
pub mod witnesses;
pub mod workspace;
