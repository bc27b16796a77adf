//! A large trace: accesses to 200 registers by 300 functions and 40 tasks on 4 CPUs, at random.

use trapline_abi::{Change, Flags, Way};
use trapline_trace::{Access, Direction, Event, Place, Site, Value, What};

/// Hands so many events to `each`, until that fails.
pub(crate) fn large<E>(events: u64, mut each: impl FnMut(&Event<'_>) -> Result<(), E>) -> Result<(), E> {
    let registers: Vec<String> = (0..200).map(|number| format!("REGISTER{number}")).collect();
    let functions: Vec<String> = (0..300).map(|number| format!("driver_function_{number}")).collect();
    let mut random = 1_u64;
    (0..events).try_for_each(|number| {
        // A linear congruential generator (Knuth's MMIX): enough to keep branches and dictionaries
        // from being predictable.
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        each(&event(number, random >> 16, &registers, &functions))
    })
}

fn event<'a>(number: u64, random: u64, registers: &'a [String], functions: &'a [String]) -> Event<'a> {
    let register = (random % registers.len() as u64) as usize;
    let function = (random >> 8) as usize % functions.len();
    Event {
        time: number * 731,
        cpu: (random % 4) as u16,
        pid: 300 + (random % 40) as u32,
        tgid: 300,
        comm: if random.is_multiple_of(3) { "kworker/1:2" } else { "modprobe" },
        what: What::Access(Access {
            direction: if random.is_multiple_of(5) { Direction::Write } else { Direction::Read },
            width: 4,
            value: Value::from_u64(random, 4),
            change: Change::None,
            original: None,
            mapping: 1,
            address: 0xffff_c900_0000_0000 + register as u64 * 4,
            physical: Some(0xfeb0_0000 + register as u64 * 4),
            flags: Flags(0),
            way: Some(Way::Emulate),
            ip: 0xffff_ffff_c000_0000 + function as u64 * 64,
            place: Some(Place {
                device: "0000:00:03.0",
                bar: 0,
                offset: register as u64 * 4,
                register: Some(&registers[register]),
            }),
            site: Some(Site { function: &functions[function], offset: random % 64, module: Some("driver") }),
        }),
    }
}
