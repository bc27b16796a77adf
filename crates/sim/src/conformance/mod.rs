//! The conformance suite: scenarios, each named for what it shows, over any [`Machine`].
//!
//! A scenario panics where the machine does not hold what its name says; the caller catches that as
//! any test runner does.

mod cpus;
mod faults;
mod forms;
mod handlers;
mod lifetime;
mod pages;

use crate::{Bus, Machine, Outcome, ProbeSpec, Program, RecordedAccess, Region, Registrar, Trace, code};
use trapline_engine::PageSize;

/// One scenario.
pub struct Scenario {
    /// What it shows.
    pub name: &'static str,
    /// CPUs that it needs.
    pub cpus: usize,
    /// Runs it; `None` if the machine can't set it up.
    pub run: fn(&mut dyn Machine) -> Option<()>,
}

macro_rules! scenarios {
    ($($module:ident: $($name:ident on $cpus:literal),+;)+) => {
        /// All scenarios.
        pub const ALL: &[Scenario] = &[
            $($(Scenario { name: stringify!($name), cpus: $cpus, run: $module::$name },)+)+
        ];
    };
}

scenarios! {
    forms:
        every_form_of_move_acts_as_untraced on 1,
        every_form_of_arithmetic_acts_as_untraced on 1,
        every_locked_form_acts_as_untraced on 1,
        every_string_form_acts_as_untraced on 1,
        every_redirected_form_acts_as_untraced on 1,
        every_stepped_form_acts_as_untraced on 1,
        every_locked_form_on_ram_acts_as_untraced on 1,
        a_masked_vector_access_is_recorded_with_unknown_value on 1,
        strings_between_ram_and_device_act_as_untraced on 1,
        registers_with_side_effects_are_accessed_once on 1,
        changed_instruction_bytes_at_one_address_are_decoded_anew on 1;
    pages:
        an_access_across_two_armed_pages_stays_in_one_piece on 1,
        an_access_across_the_border_of_what_is_armed_reaches_both_sides on 1,
        a_write_that_a_page_forbids_is_the_systems_and_recorded_as_forbidden on 1,
        a_store_that_faults_beyond_an_armed_page_leaves_the_device_alone on 1,
        mixed_page_sizes_are_armed_and_restored on 1,
        one_instruction_with_two_armed_operands_makes_both_accesses on 1,
        a_stepped_instruction_with_two_armed_pages_opens_and_records_both on 1,
        accesses_beside_the_probe_are_performed_silently_and_counted on 1,
        ten_thousand_probes_are_found on 1;
    handlers:
        several_probes_on_one_byte_are_all_asked on 1,
        a_pre_handler_can_supply_drop_and_pass on 1,
        a_supplied_write_reaches_a_locked_instruction_on_ram on 1,
        what_interrupts_an_update_of_armed_ram_is_not_lost on 1,
        an_update_of_partly_armed_ram_is_left_to_the_cpu on 1,
        a_post_handler_sees_the_value on 1,
        handlers_of_a_stepped_access_are_told on 1,
        a_probe_of_reads_only_ignores_writes_and_the_other_way_round on 1,
        a_handler_that_hits_another_armed_page_loses_nothing on 1,
        the_newest_page_fault_handler_is_asked_first_and_the_first_claim_wins on 1,
        page_fault_handlers_leave_while_others_walk_the_list on 4;
    faults:
        a_fault_of_every_cause_is_delivered_with_its_error_code_and_address on 1,
        where_several_rules_forbid_an_access_the_manuals_bits_are_set on 1,
        an_access_that_no_rule_forbids_is_no_fault on 1,
        a_fault_on_the_second_page_of_an_access_has_that_pages_address on 1;
    lifetime:
        removing_a_probe_twice_changes_nothing on 1,
        a_page_stays_armed_until_its_last_user_leaves on 1,
        entries_are_bit_for_bit_as_before on 1,
        a_refused_probe_changes_nothing on 1,
        once_a_page_is_armed_every_cpu_faults_on_it on 4,
        probes_come_and_go_while_all_cpus_fault on 4,
        probes_come_and_go_while_all_cpus_step on 4,
        no_handler_runs_after_its_removal on 4;
    cpus:
        four_cpus_on_one_page_lose_no_access on 4,
        locked_increments_of_armed_ram_lose_none on 4,
        locked_increments_while_ram_is_armed_and_disarmed_lose_none on 4,
        steps_of_several_cpus_on_one_page_all_end on 4,
        a_step_window_is_counted_told_and_closed on 2;
}

/// One device page, filled with a pattern, none of its bytes 0.
fn device(machine: &mut dyn Machine, pages: usize) -> Option<Region> {
    let region = machine.map(crate::Backing::Device, &vec![PageSize::Small; pages])?;
    fill(machine, &region);
    Some(region)
}

fn fill(machine: &mut dyn Machine, region: &Region) {
    let bytes: Vec<u8> = (0..region.length).map(|offset| (offset * 7 % 251 + 1) as u8).collect();
    machine.poke(region.start, &bytes);
}

/// Runs with nothing beside.
fn run(machine: &mut dyn Machine, programs: &[Program]) -> Vec<Outcome> {
    machine.run(programs, &mut |_| {})
}

/// Runs one program on CPU 0.
fn run_one(machine: &mut dyn Machine, program: Program) -> Outcome {
    run(machine, &[program])[0]
}

/// A program on CPU 0 whose operand is at `address`.
fn program_at(code: &[u8], address: u64) -> Program {
    Program { registers: code::registers(address, address + 0x40), ..Program::new(0, code) }
}

/// Records everything of a region.
fn record_all(machine: &mut (impl Registrar + ?Sized), region: &Region) -> Vec<trapline_engine::ProbeId> {
    machine
        .probe(&[ProbeSpec::recording(region.start, region.length)])
        .expect("a mapped region can be probed")
}

/// The trace tells of each access that the device saw, once, in each CPU's order, and of no other.
fn assert_agree(bus: Bus, trace: &Trace, seen: &[RecordedAccess], what: &str) {
    assert_eq!(trace.lost, 0, "{what}: records were lost");
    let cpus = trace.accesses.iter().chain(seen).map(|access| access.cpu + 1).max().unwrap_or(0);
    for cpu in 0..cpus {
        let of_cpu = |access: &&RecordedAccess| access.cpu == cpu;
        let told: Vec<_> =
            trace.accesses.iter().filter(of_cpu).filter(|access| !access.is_held_back()).copied().collect();
        let seen: Vec<_> = seen.iter().filter(of_cpu).copied().collect();
        if let Some((before, arrived)) = bus.difference(&told, &seen) {
            let few = |all: &[RecordedAccess], from: usize| {
                format!("{:#?}", all.iter().skip(from.saturating_sub(1)).take(4).collect::<Vec<_>>())
            };
            let (told, seen) = (few(&told, before), few(&seen, arrived));
            panic!("{what}: access {before} of cpu{cpu} differs; traced {told} seen {seen}");
        }
    }
}

/// The same, for what may reach the device in smaller pieces than it was traced in, or the other
/// way round.
fn assert_agree_by_bytes(bus: Bus, trace: &Trace, seen: &[RecordedAccess], what: &str) {
    let split = |all: &[RecordedAccess]| all.iter().flat_map(RecordedAccess::split).collect::<Vec<_>>();
    match bus {
        Bus::Whole => {
            assert_agree(
                bus,
                &Trace { accesses: split(&trace.accesses), ..trace.clone() },
                &split(seen),
                what,
            );
        }
        // How it splits them is known.
        Bus::Words => assert_agree(bus, trace, seen, what),
    }
}
