//! Rules of injection on the simulated machine: what the driver gets, what the device sees, and
//! what the trace tells of both.

use std::sync::Arc;

use trapline_abi::{ALWAYS, InjectAction, InjectRule, WATCH_READS, WATCH_WRITES};
use trapline_engine::PageSize;
use trapline_engine::inject::Rules;
use trapline_sim::{
    Backing, Machine, Options, Outcome, ProbeSpec, Program, Region, Registrar, Simulated, code,
};

mod forms;
mod lies;
mod numbers;
#[path = "../refusing_allocator/mod.rs"]
mod refusing_allocator;

/// A rule about reads and writes of `length` bytes at `address`, with nothing else asked for.
fn rule(action: InjectAction, address: u64, length: u64) -> InjectRule {
    InjectRule {
        physical: address,
        length,
        action: action as u32,
        flags: WATCH_READS | WATCH_WRITES,
        and: u64::MAX,
        size: 4,
        first: 1,
        count: u64::MAX,
        chance: ALWAYS,
        cpu: u32::MAX,
        thread: u32::MAX,
        ip_last: u64::MAX,
        ..InjectRule::default()
    }
}

/// The same of reads alone.
fn of_reads(rule: InjectRule) -> InjectRule {
    InjectRule { flags: WATCH_READS, ..rule }
}

/// The same of writes alone.
fn of_writes(rule: InjectRule) -> InjectRule {
    InjectRule { flags: WATCH_WRITES, ..rule }
}

/// A device whose bytes are `bytes`, over and over, all of it recorded under the rules that `rules`
/// makes for it.
fn device(
    cpus: usize,
    bytes: &[u8],
    rules: impl FnOnce(u64) -> Vec<InjectRule>,
) -> (Simulated, Region, Arc<Rules>) {
    let mut machine = Simulated::new(Options { cpus, ..Options::default() });
    let region = machine.map(Backing::Device, &[PageSize::Small; 2]).expect("a device");
    let all: Vec<u8> = bytes.iter().copied().cycle().take(region.length as usize).collect();
    machine.poke(region.start, &all);
    let rules = machine.inject(Rules::new(&rules(region.start), 0).expect("rules that can be carried out"));
    machine.probe(&[ProbeSpec::recording(region.start, region.length)]).expect("a probe");
    (machine, region, rules)
}

fn at(code: &[u8], cpu: usize, address: u64) -> Program {
    Program { registers: code::registers(address, address + 0x40), ..Program::new(cpu, code) }
}

fn run(machine: &mut Simulated, program: Program) -> Outcome {
    machine.run(&[program], &mut |_| {})[0]
}

/// What a load of 4 bytes gets.
fn load(machine: &mut Simulated, address: u64) -> u64 {
    run(machine, at(code::LOAD, 0, address)).registers.rax
}

/// Stores 4 bytes.
fn store(machine: &mut Simulated, address: u64, value: u32) {
    run(machine, at(code::STORE, 0, address).with(|registers| registers.rax = value.into()));
}

fn word(machine: &Simulated, address: u64) -> u32 {
    let mut bytes = [0; 4];
    machine.peek(address, &mut bytes);
    u32::from_le_bytes(bytes)
}
