//! Events, layouts of configuration space and devices of any kind, for tests that throw them at
//! whatever reads traces.

use proptest::prelude::*;
use trapline_abi::{
    Change, ConfigWay, DmaDirection, DmaOp, ErrorCode, Flags, LifecycleOp, PciFunction, Signal, Way,
};
use trapline_registers::config::{Capability, Layout};
use trapline_trace::{
    Access, Bar, ConfigAccess, Device, Direction, DmaCall, Frame, Interrupt, Lifecycle, LogLine, Lost, Map,
    Outcome, PageFault, PortAccess, Source, Space, Spaces, Unmap, Value, What, Window,
};

/// Numbers of every size, those at the edges often.
pub(crate) fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(u64::MAX),
        Just(u64::MAX - 1),
        Just(1 << 63),
        0..0x1_0000_u64,
        any::<u64>(),
    ]
}

/// What is written where a number belongs.
pub(crate) fn digits() -> impl Strategy<Value = String> {
    prop_oneof![
        number().prop_map(|number| number.to_string()),
        number().prop_map(|number| format!("{number:#x}")),
        number().prop_map(|number| format!("{number:016x}")),
        number().prop_map(|number| format!("0x{number:016x}")),
        any::<u128>().prop_map(|number| number.to_string()),
        "-?[0-9a-fx]{0,20}",
        any::<String>(),
    ]
}

/// DMA to a few addresses, so that some is given and taken back, and to any.
pub(crate) fn dma() -> BoxedStrategy<What<'static>> {
    let address = || prop::option::of(prop_oneof![(0..3_u64).prop_map(|page| page << 12), number()]);
    let lists = prop_oneof![Just((0, 0)), Just((1, 3)), Just((u16::MAX, u16::MAX)), any::<(u16, u16)>()];
    let rest = (prop::collection::vec(any::<u8>(), 0..40), prop::collection::vec(number(), 0..5));
    let numbers = any::<(u32, u8)>();
    let all = (numbers, 0..6_u8, 0..4_u8, [address(), address(), address()], lists, rest).prop_map(
        |((size, flags), op, direction, [dma, physical, address], (piece, pieces), (data, stack))| {
            What::Dma(DmaCall {
                device: PciFunction(u64::from(flags & 1)).into(),
                op: DmaOp::from_code(op).unwrap(),
                direction: DmaDirection::from_code(direction).unwrap(),
                dma,
                physical,
                address,
                size,
                piece,
                pieces,
                data: data.into(),
                flags: Flags(flags),
                ip: stack.first().copied().unwrap_or_default(),
                site: None,
                stack: stack.into_iter().map(|ip| Frame { ip, site: None }).collect(),
            })
        },
    );
    all.boxed()
}

/// Lines of the kernel log: any text, and any of the flags.
pub(crate) fn log() -> BoxedStrategy<What<'static>> {
    (any::<String>(), any::<(u32, u8)>())
        .prop_map(|(text, (cut, flags))| What::Log(LogLine { text: text.into(), cut, flags: Flags(flags) }))
        .boxed()
}

/// What is done with devices: any code of power states, any text as a name.
pub(crate) fn lifecycle() -> BoxedStrategy<What<'static>> {
    let one = (0..LifecycleOp::COUNT, any::<Option<(i32, u64)>>(), 0..16_u8, prop::option::of(0..15_u8));
    let other = (any::<String>(), any::<u8>(), prop::collection::vec(1..u64::MAX, 0..4));
    (any::<u16>(), one, other)
        .prop_map(|(function, (op, end, power, wanted), (name, flags, stack))| {
            What::Lifecycle(Lifecycle {
                device: PciFunction(function.into()).into(),
                op: LifecycleOp::from_code(op).unwrap(),
                end,
                power,
                wanted,
                name: name.into(),
                flags: Flags(flags),
                ip: stack.first().copied().unwrap_or_default(),
                site: None,
                stack: stack.into_iter().map(|ip| Frame { ip, site: None }).collect(),
            })
        })
        .boxed()
}

pub(crate) fn what() -> impl Strategy<Value = What<'static>> {
    let way = prop_oneof![Just(Way::Emulate), Just(Way::Redirect), Just(Way::Step)];
    let widths = prop_oneof![Just(0_u8), Just(1), Just(4), Just(8), Just(64)];
    let access = (number(), number(), number(), widths, way, any::<(bool, bool, u32)>()).prop_map(
        |(address, physical, value, width, way, (read, known, mapping))| {
            let original =
                (known && mapping.is_multiple_of(3)).then(|| Value::from_u64(physical, width)).flatten();
            let change = match original {
                Some(_) => Change::Known,
                None if mapping % 5 == 1 => Change::Unknown,
                None if mapping % 5 == 2 => Change::Repeated,
                None => Change::None,
            };
            What::Access(Access {
                direction: if read { Direction::Read } else { Direction::Write },
                width,
                value: known.then(|| Value::from_u64(value, width)).flatten(),
                change,
                original,
                mapping,
                address,
                physical: known.then_some(physical),
                flags: Flags(mapping as u8),
                way: known.then_some(way),
                ip: address,
                place: None,
                site: None,
            })
        },
    );
    let map =
        (any::<u32>(), number(), number(), number()).prop_map(|(mapping, address, physical, length)| {
            What::Map(Map { mapping, address, physical, length, caller: length, place: None, site: None })
        });
    let fault =
        (number(), number(), any::<(u32, u8, bool)>()).prop_map(|(address, took, (code, flags, timed))| {
            What::Fault(PageFault {
                address,
                error_code: ErrorCode(code),
                ip: took,
                stack: address,
                flags: Flags(flags),
                took: timed.then_some(took),
                memory: None,
                site: None,
            })
        });
    let interrupt = (any::<(u64, u32, u16, u8)>(), number(), 0..3_u8, prop::option::of(any::<u32>()))
        .prop_map(|((handler, irq, index, flags), took, signal, result)| {
            What::Interrupt(Interrupt {
                device: PciFunction(handler).into(),
                irq,
                signal: Signal::from_code(signal).unwrap(),
                index,
                flags: Flags(flags),
                handler,
                site: None,
                outcome: result.map(|result| [Outcome::None, Outcome::Handled][result as usize % 2]),
                took: result.map(|_| took),
            })
        });
    let offsets = prop_oneof![0..0x1100_u32, 0xfff0..0x1_0010_u32, any::<u32>()];
    let rest = (number(), prop::collection::vec(number(), 0..4));
    let config = (any::<(u64, u8, u32, u32, u8)>(), offsets, rest).prop_map(
        |((device, width, value, error, flags), offset, (took, stack))| {
            What::Config(ConfigAccess {
                device: PciFunction(device).into(),
                direction: if flags & 1 == 0 { Direction::Read } else { Direction::Write },
                offset,
                width,
                value,
                error,
                way: ConfigWay::from_code(flags & 1).unwrap(),
                flags: Flags(flags),
                took,
                register: None,
                ip: took,
                site: None,
                stack: stack.into_iter().map(|ip| Frame { ip, site: None }).collect(),
            })
        },
    );
    let port = (any::<(u16, u8, u8, bool)>(), number(), number(), prop::option::of(number())).prop_map(
        |((port, width, flags, known), value, ip, caller)| {
            What::Port(PortAccess {
                direction: if flags & 1 == 0 { Direction::Read } else { Direction::Write },
                port,
                width,
                value: known.then(|| Value::from_u64(value, width)).flatten(),
                flags: Flags(flags),
                place: None,
                ip,
                site: None,
                caller: caller.map(|ip| Frame { ip, site: None }),
            })
        },
    );
    // All of them as one value are more than a thread's stack has room for.
    prop_oneof![
        dma(),
        log(),
        lifecycle(),
        access.boxed(),
        map.boxed(),
        fault.boxed(),
        interrupt.boxed(),
        config.boxed(),
        port.boxed(),
        any::<u32>().prop_map(|mapping| What::Unmap(Unmap { mapping })),
        number().prop_map(|count| What::Lost(Lost { count })),
        (number(), number()).prop_map(|(address, nanoseconds)| What::Window(Window { address, nanoseconds })),
    ]
}

/// Configuration spaces of devices with events, and of others, as a header may tell of them.
pub(crate) fn spaces() -> impl Strategy<Value = Vec<Layout>> {
    let edges = prop::sample::select(vec![0, 0x40, 0xff, 0x100, 0xffe, 0xfff, 0x1000, 0xfffe, u16::MAX]);
    let offset = prop_oneof![edges, 0..0x1000_u16, any::<u16>()];
    let id = prop_oneof![0..0x30_u16, any::<u16>()];
    let capability = (offset, id, any::<bool>(), any::<u16>())
        .prop_map(|(offset, id, extended, detail)| Capability { offset, id, extended, detail });
    let layout = (any::<u8>(), prop::collection::vec(capability, 0..20), any::<bool>())
        .prop_map(|(header, capabilities, no_ids)| Layout { header, capabilities, no_ids });
    prop::collection::vec(layout, 0..4)
}

/// The source that has them.
pub(crate) fn source(layouts: &[Layout], events: &[(u64, u16, What<'static>)]) -> Source {
    let accessed = events.iter().filter_map(|(_, _, what)| match what {
        What::Config(access) => Some(access.device.as_str().to_owned()),
        _ => None,
    });
    let named = accessed.chain(["0000:00:03.0".into(), String::new()]).zip(layouts.iter().cycle());
    let devices = named.map(|(device, layout)| Space { device, layout: layout.clone() }).collect();
    Source::Config(Spaces { devices, not_followed: vec!["x".into()] })
}

pub(crate) fn device(numbers: [u64; 3]) -> Device {
    let [start, length, flags] = numbers;
    let mut device = Device { address: "0000:00:03.0".into(), vendor: 1, ..Device::default() };
    device.bars[0] = Bar { start, length, flags: flags | 0x200 };
    device.bars[1] = Bar { start: start & 0xffff, length, flags: flags & !0x200 | 0x100 };
    device
}
