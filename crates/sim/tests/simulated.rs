//! What only the simulated machine can be made to do: NMIs at any point, foreign faults, rings that
//! nobody reads.

use trapline_abi::{Flags, Way};
use trapline_engine::{ControlError, ErrorCode, Linear, Look, PageError, PageSize};
use trapline_sim::paging::{Rules, Size};
use trapline_sim::{
    Arming, Backing, Machine, Options, Outcome, PageSpec, ProbeSpec, Program, RecordedAccess, Region,
    Registrar, Simulated, Trace, code,
};

mod refusing_allocator;

fn machine(options: Options) -> (Simulated, Region) {
    let mut machine = Simulated::new(options);
    let region = machine.map(Backing::Device, &[PageSize::Small; 2]).expect("a device");
    machine.poke(region.start, &[3; 0x2000]);
    (machine, region)
}

fn at(code: &[u8], cpu: usize, address: u64) -> Program {
    Program { registers: code::registers(address, address + 64), ..Program::new(cpu, code) }
        .with(|r| r.rdx = 0)
}

fn record(machine: &mut Simulated, region: &Region) {
    machine.probe(&[ProbeSpec::recording(region.start, region.length)]).expect("a probe");
}

fn run(machine: &mut Simulated, program: Program) -> Outcome {
    machine.run(&[program], &mut |_| {})[0]
}

/// Per code address, since what interrupts an access may be performed and told of in the middle of
/// it.
fn assert_agree_by_code(told: &[RecordedAccess], seen: &[RecordedAccess]) {
    let mut codes: Vec<u64> = told.iter().chain(seen).map(|access| access.ip).collect();
    codes.sort_unstable();
    codes.dedup();
    for ip in codes {
        let told: Vec<_> = told.iter().filter(|access| access.ip == ip).collect();
        let seen: Vec<_> = seen.iter().filter(|access| access.ip == ip).collect();
        assert_eq!(told.len(), seen.len(), "at {ip:#x}: told {told:#?} seen {seen:#?}");
        assert!(told.iter().zip(&seen).all(|(told, seen)| told.tells_of(seen)), "{told:#?} {seen:#?}");
    }
}

#[test]
fn nmis_that_touch_armed_pages_in_the_middle_of_a_trap_lose_nothing() {
    // A load, a store, a vector load, a string, and a step.
    let code = [&[0x8b, 0x07][..], &[0x89, 0x07], &[0xf3, 0x0f, 0x6f, 0x07], &[0xf3, 0xa5]].concat();
    for (seed, nmi) in (0..40).zip([code::LOAD, code::STORE, &[0x01, 0x07], &[0xf3, 0xa5]].iter().cycle()) {
        let (mut machine, region) = machine(Options { cpus: 1, seed, ..Options::default() });
        record(&mut machine, &region);
        machine.set_nmi(&at(nmi, 0, region.start + 0x1400).with(|registers| registers.rcx = 2));
        let outcome = run(&mut machine, at(&code, 0, region.start + 0x400).times(5));
        assert_eq!((outcome.fault, outcome.registers.rip), (None, code.len() as u64));
        let (trace, seen) = (machine.take_trace(), machine.take_seen());
        assert!(seen.iter().any(|access| access.address >= region.start + 0x1000), "NMIs came");
        let told_as_interrupt = |access: &&RecordedAccess| access.flags & Flags::INTERRUPT != 0;
        assert!(trace.accesses.iter().filter(told_as_interrupt).all(|a| a.address >= region.start + 0x1000));
        assert_agree_by_code(&trace.accesses, &seen);
        assert_eq!(machine.take_missed(), []);
    }
}

#[test]
fn nmis_and_locked_changes_of_another_core_in_the_middle_of_an_update_of_ram_are_kept() {
    for seed in 0..60 {
        let mut machine = Simulated::new(Options { cpus: 2, seed, nmi_rarity: 8, ..Options::default() });
        let ram = machine.map(Backing::Ram, &[PageSize::Small]).expect("RAM");
        record(&mut machine, &ram);
        let word = ram.start + 0x400;
        machine.set_nmi(&at(code::INCREMENT, 0, word));
        let programs = [at(code::INCREMENT, 0, word), at(code::LOCKED_INCREMENT, 1, word)];
        machine.run(&programs.map(|program| program.times(20)), &mut |_| {});
        let mut bytes = [0; 4];
        machine.peek(word, &mut bytes);
        let written = machine.take_trace().accesses.iter().filter(|access| access.write).count();
        assert!(written > 40, "seed {seed}: no NMI came");
        assert_eq!(u32::from_le_bytes(bytes) as usize, written, "seed {seed}: an increment was lost");
    }
}

#[test]
fn nmis_that_have_to_be_stepped_in_the_middle_of_a_step_come_through() {
    for seed in 0..40 {
        let (mut machine, region) = machine(Options { cpus: 1, seed, nmi_rarity: 8, ..Options::default() });
        let before = machine.entries(&region);
        record(&mut machine, &region);
        machine.set_nmi(&at(code::DIVIDE, 0, region.start + 0x1400));
        let outcome = run(&mut machine, at(code::DIVIDE, 0, region.start + 0x400).times(10));
        assert_eq!((outcome.fault, outcome.registers.rip), (None, 2));
        assert_eq!(outcome.registers.rflags & 0x300, 0x200, "the trap flag is gone, interrupts are on");
        assert_eq!(machine.take_missed(), []);
        machine.remove_mapping(&region);
        assert_eq!(machine.entries(&region), before);
    }
}

/// The fault of `program` on a machine whose second page can't be written, traced or not, and what
/// the trace tells.
fn on_a_read_only_page(program: impl Fn(u64) -> Program) -> [(Outcome, Trace); 2] {
    [false, true].map(|armed| {
        let (mut machine, region) = machine(Options { cpus: 1, ..Options::default() });
        machine.write_protect(region.start + 0x1000);
        if armed {
            record(&mut machine, &region);
        }
        let outcome = run(&mut machine, program(region.start));
        let mut memory = [0; 0x2000];
        machine.peek(region.start, &mut memory);
        assert!(memory == [3; 0x2000], "nothing was written");
        assert_eq!(machine.take_seen().iter().filter(|access| access.write).count(), 0);
        (outcome, machine.take_trace())
    })
}

#[test]
fn a_write_that_is_forbidden_on_the_second_page_that_it_touches_is_not_begun() {
    // A word, a vector, an update, and an element from one armed page to another.
    for code in [&[0x48, 0x89, 0x07][..], &[0xf3, 0x0f, 0x7f, 0x07], &[0x48, 0x01, 0x07], &[0x48, 0xa5]] {
        let program = |start: u64| at(code, 0, start + 0xffc).with(|registers| registers.rsi = start + 0x400);
        let [(untraced, _), (traced, trace)] = on_a_read_only_page(program);
        let code = ErrorCode(ErrorCode::PRESENT | ErrorCode::WRITE);
        assert_eq!(traced.fault.map(|fault| fault.error_code), Some(code));
        assert_eq!(traced, untraced, "as if nothing were armed");
        let forbidden = trace.accesses.iter().filter(|access| access.way == Some(Way::Forbidden)).count();
        assert_eq!(forbidden, 1, "{trace:#?}");
    }
}

#[test]
fn user_mode_and_fetches_meet_the_rights_of_an_armed_page() {
    let fetch = |address: u64| [&[0xff, 0x25, 0, 0, 0, 0][..], &address.to_le_bytes()].concat();
    let program = |user, fetches: bool| {
        move |start: u64| {
            let code = if fetches { fetch(start + 0x400) } else { code::LOAD.to_vec() };
            Program { user, ..at(&code, 0, start + 0x400) }
        }
    };
    let cases = [
        (true, false, ErrorCode::USER),
        (false, true, ErrorCode::FETCH),
        (true, true, ErrorCode::USER | ErrorCode::FETCH),
    ];
    for (user, fetches, bits) in cases {
        let [(untraced, _), (traced, trace)] = on_a_read_only_page(program(user, fetches));
        assert_eq!(traced.fault.map(|fault| fault.error_code), Some(ErrorCode(ErrorCode::PRESENT | bits)));
        assert_eq!(traced, untraced, "as if nothing were armed");
        let [told] = trace.accesses[..] else { panic!("told once: {trace:#?}") };
        assert_eq!((told.way, told.write), (Some(Way::Forbidden), false));
    }
}

#[test]
fn a_page_that_is_read_only_to_user_mode_alone_is_written_by_the_kernel() {
    let (mut machine, region) = machine(Options { cpus: 1, ..Options::default() });
    machine.page(Rules { write_protect: false, ..Rules::default() }, &PageSpec::open(Size::Small, false));
    machine.write_protect(region.start);
    record(&mut machine, &region);
    let outcome = run(&mut machine, at(code::STORE, 0, region.start + 0x400));
    assert_eq!(outcome.fault, None, "CR0.WP is clear");
    let (trace, seen) = (machine.take_trace(), machine.take_seen());
    assert_agree_by_code(&trace.accesses, &seen);
    assert_eq!((trace.accesses.len(), trace.accesses[0].way), (1, Some(Way::Emulate)));
}

#[test]
fn pages_of_which_one_changes_while_they_are_armed_are_all_as_they_were_afterwards() {
    for seed in 0..20 {
        let mut machine = Simulated::new(Options { cpus: 2, seed, ..Options::default() });
        let region = machine.map(Backing::Device, &[PageSize::Small; 4]).expect("a device");
        let changed = region.start + 0x2000;
        let mut before = machine.entries(&region);
        machine.change_when_armed(changed);
        let programs = [0, 1].map(|cpu| at(code::LOAD, cpu, region.start + 0x400).times(40));
        let outcomes = machine.run(&programs, &mut |registrar| {
            let all = ProbeSpec::recording(region.start, region.length);
            let refused = registrar.probe(&[all]);
            let error = PageError::Changed;
            assert_eq!(refused, Err(ControlError::Page { address: Linear(changed), error }));
        });
        assert!(outcomes.iter().all(|outcome| outcome.fault.is_none()), "{outcomes:?}");
        // But for what its owner has made of it.
        let mut after = machine.entries(&region);
        assert_ne!(after.remove(2), before.remove(2));
        assert_eq!(after, before, "seed {seed}");
        assert_eq!((machine.armed_pages(), machine.changed_pages()), (0, 0));
        assert_eq!(machine.take_seen().len(), 80);
    }
}

#[test]
fn a_page_that_its_owner_changed_while_it_was_armed_is_left_alone_and_counted() {
    let (mut machine, region) = machine(Options { cpus: 1, ..Options::default() });
    let ids = machine.probe(&[ProbeSpec::recording(region.start, region.length)]).expect("a probe");
    let armed = machine.entries(&region);
    machine.unmap(region.start);
    machine.unprobe(&ids);
    let left = machine.entries(&region);
    assert_eq!((left.len(), machine.changed_pages()), (1, 1), "the second page is all that there is");
    assert_ne!(left[0], armed[1], "disarmed");
}

#[test]
fn a_ring_that_nobody_reads_counts_what_it_drops_and_tells_of_it_afterwards() {
    let (mut machine, region) = machine(Options { cpus: 1, ring: 16, reader_pace: 0, ..Options::default() });
    record(&mut machine, &region);
    run(&mut machine, at(code::LOAD, 0, region.start + 0x400).times(50));
    let first = machine.take_trace();
    let dropped = machine.counters().dropped;
    assert_eq!((first.accesses.len(), first.lost), (15, 0), "one slot was the task's: {first:?}");
    assert_eq!(dropped, 35);
    run(&mut machine, at(code::LOAD, 0, region.start + 0x400));
    let second = machine.take_trace();
    assert_eq!((second.accesses.len(), second.gaps, second.lost), (1, 1, dropped), "{second:?}");
    run(&mut machine, at(code::LOAD, 0, region.start + 0x400));
    assert_eq!(machine.take_trace().gaps, 0, "told once");
    assert_eq!(machine.take_seen().len(), 52, "dropping a record drops no access");
}

#[test]
fn a_slow_reader_and_nmis_do_not_confuse_the_count_of_lost_records() {
    for seed in 0..60 {
        let options = Options { cpus: 2, seed, ring: 8, reader_pace: 2, nmi_rarity: 4, ..Options::default() };
        let (mut machine, region) = machine(options);
        record(&mut machine, &region);
        for cpu in 0..2 {
            machine.set_nmi(&at(code::LOAD, cpu, region.start + 0x1400));
        }
        let programs = [0, 1].map(|cpu| at(code::LOAD, cpu, region.start + 0x400).times(40));
        machine.run(&programs, &mut |_| {});
        let mut trace = machine.take_trace();
        // One more access after the rings are empty brings the last gaps to light.
        machine.run(&[0, 1].map(|cpu| at(code::LOAD, cpu, region.start + 0x400)), &mut |_| {});
        let rest = machine.take_trace();
        trace.lost += rest.lost;
        trace.accesses.extend(rest.accesses);
        trace.tasks.extend(rest.tasks);
        let (seen, dropped) = (machine.take_seen().len(), machine.counters().dropped);
        assert!(trace.lost <= dropped, "seed {seed}: tells of {} lost, {dropped} were", trace.lost);
        // NMIs of the very last access may have been dropped with nothing after them to tell of it.
        let records = trace.accesses.len() as u64 + trace.tasks.len() as u64;
        assert!(records + dropped >= seen as u64 && trace.accesses.len() <= seen, "seed {seed}");
        assert!(dropped - trace.lost < 16, "seed {seed}: {dropped} dropped, {} told", trace.lost);
    }
}

#[test]
fn what_no_copy_can_be_run_for_is_stepped_and_read_once() {
    let (mut machine, region) = machine(Options { cpus: 1, copy_levels: 0, ..Options::default() });
    record(&mut machine, &region);
    for form in code::vectors() {
        let mut program = at(&form.code, 0, region.start + 0x400);
        (form.set)(&mut program.registers);
        assert_eq!(run(&mut machine, program).fault, None);
        let (trace, seen) = (machine.take_trace(), machine.take_seen());
        assert_eq!(trace.accesses.len(), seen.len(), "{}: told {trace:#?} seen {seen:#?}", form.name);
        assert!(trace.accesses.iter().all(|access| access.way == Some(Way::Step)), "{}", form.name);
    }
}

#[test]
fn a_step_closes_its_pages_itself_and_does_not_wait_for_a_repair() {
    for arming in Arming::ALL {
        let (mut machine, region) =
            machine(Options { cpus: 1, repairs: false, arming, ..Options::default() });
        record(&mut machine, &region);
        let armed = machine.entries(&region);
        // On one page, and across the border of two.
        for (code, address) in [(code::DIVIDE, 0x400), (code::DIVIDE, 0xffe)] {
            assert_eq!(run(&mut machine, at(code, 0, region.start + address)).fault, None);
            assert_eq!(machine.entries(&region), armed, "{arming:?}: left open at {address:#x}");
        }
        assert_eq!(machine.counters().windows, 3, "each page was open once");
    }
}

#[test]
fn a_step_across_the_border_of_what_is_armed_is_told_of_as_far_as_that_goes() {
    // `movdqu (%rdi),%xmm1` at the last eight bytes of the first page.
    for (page, told) in [(0, 0xff8), (1, 0x1000)] {
        let (mut machine, region) = machine(Options { cpus: 1, ..Options::default() });
        machine.probe(&[ProbeSpec::recording(region.start + page * 0x1000, 0x1000)]).expect("a probe");
        let outcome = run(&mut machine, at(&[0xf3, 0x0f, 0x6f, 0x0f], 0, region.start + 0xff8));
        assert_eq!(outcome.fault, None);
        let accesses = machine.take_trace().accesses;
        let [access] = accesses[..] else { panic!("{accesses:?}") };
        assert_eq!((access.address, access.width, access.write), (region.start + told, 8, false));
        assert_eq!((access.way, access.value), (Some(Way::Step), None));
    }
}

#[test]
fn foreign_faults_are_not_ours() {
    let (mut machine, region) = machine(Options { cpus: 1, ..Options::default() });
    let first = Region { length: 0x1000, ..region.clone() };
    record(&mut machine, &first);
    // Not mapped at all; and present but not writable, on a page that is not armed.
    let nowhere = region.start + 0x10_0000;
    let outcome = run(&mut machine, at(code::STORE, 0, nowhere));
    assert_eq!(outcome.fault.map(|fault| fault.address.0), Some(nowhere));
    machine.write_protect(region.start + 0x1000);
    let outcome = run(&mut machine, at(code::STORE, 0, region.start + 0x1400));
    let fault = outcome.fault.expect("the page is not writable");
    assert_eq!(fault.error_code, ErrorCode(ErrorCode::PRESENT | ErrorCode::WRITE));
    assert_eq!(outcome.registers.rip, 0);
    assert_eq!(machine.take_seen(), []);
}

#[test]
fn only_what_arming_does_to_data_accesses_of_the_kernel_looks_like_an_armed_page() {
    let reserved = ErrorCode::PRESENT | ErrorCode::RESERVED;
    for (arming, why) in [(Arming::NotPresent, 0), (Arming::Reserved, reserved)] {
        for bits in 0..32 {
            let armed = bits & !ErrorCode::WRITE == why;
            assert_eq!(arming.look(ErrorCode(bits)) == Look::Armed, armed, "{arming:?}: {bits:#x}");
        }
    }
}

#[test]
fn a_foreign_fault_of_an_instruction_being_stepped_undoes_the_step() {
    let (mut machine, region) = machine(Options { cpus: 1, ..Options::default() });
    let first = Region { length: 0x1000, ..region.clone() };
    record(&mut machine, &first);
    let armed = machine.entries(&first);
    machine.write_protect(region.start + 0x1000);
    // It reads the armed page, and writes one that is not writable.
    let mut program = Program::new(0, code::MOVE_64);
    (program.registers.rsi, program.registers.r8) = (region.start + 0x100, region.start + 0x1100);
    let outcome = run(&mut machine, program);
    let fault = outcome.fault.expect("the system's fault");
    assert_eq!(fault.address.0, region.start + 0x1100);
    assert!(fault.error_code.has(ErrorCode::PRESENT));
    assert_eq!(outcome.registers.rip, 0);
    assert_eq!(outcome.registers.rflags & 0x300, 0x200, "as before the step");
    assert_eq!(machine.entries(&first), armed, "closed again");
    assert_eq!(machine.counters().windows, 1, "the page was open: counted");
    // The next step works.
    assert_eq!(run(&mut machine, at(code::DIVIDE, 0, region.start + 0x100)).fault, None);
}

#[test]
fn a_second_fault_on_the_address_of_a_step_under_way_is_somebody_elses_in_the_end() {
    let (mut machine, region) = machine(Options { cpus: 1, ..Options::default() });
    let (first, second) = (Region { length: 0x1000, ..region.clone() }, region.start + 0x1000);
    record(&mut machine, &region);
    let armed = machine.entries(&region);
    machine.hold_closed(first.start);
    let outcome = run(&mut machine, at(code::DIVIDE, 0, first.start + 0x100));
    assert_eq!(outcome.fault.map(|fault| fault.address.0), Some(first.start + 0x100), "given to the system");
    assert_eq!((outcome.registers.rip, outcome.registers.rflags & 0x300), (0, 0x200), "as before the step");
    assert_eq!(machine.entries(&region), armed);
    assert_eq!(machine.counters().windows, 1);
    assert_eq!(machine.take_seen(), [], "it was never made");
    // Other pages are stepped on as ever.
    assert_eq!(run(&mut machine, at(code::DIVIDE, 0, second + 0x100)).fault, None);
}

#[test]
fn an_operand_on_a_segment_base_is_found() {
    let (mut machine, region) = machine(Options { cpus: 1, ..Options::default() });
    record(&mut machine, &region);
    machine.set_gs_base(0, region.start);
    // `mov %gs:(%rdi),%eax`
    let outcome = run(&mut machine, at(&[0x65, 0x8b, 0x07], 0, 0x400));
    assert_eq!(outcome.registers.rax, 0x0303_0303);
    assert_eq!(machine.take_trace().accesses[0].address, region.start + 0x400);
}

#[test]
fn a_removed_mapping_takes_its_probes_along_while_cores_fault() {
    let (mut traced, mut untraced) = (0, 0);
    for seed in 0..20 {
        let (mut machine, region) = machine(Options { cpus: 4, seed, ..Options::default() });
        let before = machine.entries(&region);
        record(&mut machine, &region);
        let programs: Vec<_> =
            (0..4).map(|cpu| at(code::STORE, cpu, region.start + 0x400).times(10)).collect();
        let mut removal = Some(machine.removal(&region));
        let outcomes = machine.run(&programs, &mut |registrar| {
            registrar.linger();
            removal.take().expect("it is removed once")();
        });
        assert!(outcomes.iter().all(|outcome| outcome.fault.is_none()));
        let (told, seen) = (machine.take_trace().accesses.len(), machine.take_seen().len());
        (traced, untraced) = (traced + told, untraced + seen - told);
        assert_eq!((machine.entries(&region), machine.armed_pages()), (before, 0));
        let error = machine.probe(&[ProbeSpec::recording(region.start, 4)]).expect_err("no mapping any more");
        assert!(matches!(error, trapline_engine::ControlError::NoMapping { .. }));
    }
    assert!(traced > 100 && untraced > 100, "it goes amid accesses: {traced} before, {untraced} after");
}

#[test]
fn what_a_removal_overtakes_is_tried_again_and_closes_no_page() {
    // Of a step only an interleaving in thousands is of interest.
    for (code, seeds) in [(code::LOAD, 300), (code::DIVIDE, 1500)] {
        for seed in 0..seeds {
            let (mut machine, region) = machine(Options { cpus: 3, seed, ..Options::default() });
            let before = machine.entries(&region);
            record(&mut machine, &region);
            let programs = [0, 1, 2].map(|cpu| at(code, cpu, region.start + 0x400).times(4));
            let mut removal = Some(machine.removal(&region));
            let outcomes = machine.run(&programs, &mut |_| removal.take().expect("it is removed once")());
            assert!(outcomes.iter().all(|outcome| outcome.fault.is_none()), "seed {seed}: {outcomes:?}");
            assert_eq!(machine.entries(&region), before, "seed {seed}");
        }
    }
}

#[test]
fn a_step_opens_and_closes_four_pages() {
    let mut machine = Simulated::new(Options { cpus: 1, ..Options::default() });
    let region = machine.map(Backing::Device, &[PageSize::Small; 8]).expect("a device");
    record(&mut machine, &region);
    let armed = machine.entries(&region);
    // Both operands of `movdir64b` across borders are four pages; that is the most an instruction
    // of this machine has.
    let mut program = Program::new(0, code::MOVE_64);
    (program.registers.rsi, program.registers.r8) = (region.start + 0xff0, region.start + 0x4ff0);
    let outcome = run(&mut machine, program);
    assert_eq!(outcome.fault, None);
    assert_eq!(machine.entries(&region), armed);
    let trace = machine.take_trace();
    assert_eq!(trace.windows.len(), 4);
    assert!(trace.accesses.iter().all(|access| access.way == Some(Way::Step)));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let (mut machine, region) = machine(Options { seed, ..Options::default() });
        record(&mut machine, &region);
        let programs: Vec<_> =
            (0..4).map(|cpu| at(&[0x01, 0x07], cpu, region.start + 0x400).times(10)).collect();
        machine.run(&programs, &mut |registrar| registrar.linger());
        machine.take_seen()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
