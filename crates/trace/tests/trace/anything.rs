//! Whatever a file holds, reading it gives an answer: an error, or what makes sense of it. Nothing
//! panics, and no number is too large.

use std::convert::Infallible;
use std::fs;
use std::io;

use proptest::prelude::*;
use trapline_abi::{
    Change, ConfigWay, DmaDirection, DmaOp, ErrorCode, Flags, LifecycleOp, PciFunction, Signal, Way,
};
use trapline_registers::config::{Capability, Layout};
use trapline_trace::{
    Access, Bar, ConfigAccess, Device, Direction, DmaCall, Ending, Event, FileWriter, Followed, Frame,
    Header, Human, Interrupt, JsonLines, Lifecycle, Lived, LogLine, Logged, Lost, Map, Mapped, Mmiotrace,
    Names, Outcome, PageFault, ParquetFile, Perfetto, PortAccess, Ports, RegisterFile, Registers, Sink,
    Source, Space, Spaces, Summary, Symbols, Totals, TraceReader, Unmap, Value, Watched, What, Window,
    devices,
};

/// Numbers of every size, those at the edges often.
fn number() -> impl Strategy<Value = u64> {
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
fn digits() -> impl Strategy<Value = String> {
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
fn dma() -> BoxedStrategy<What<'static>> {
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
fn log() -> BoxedStrategy<What<'static>> {
    (any::<String>(), any::<(u32, u8)>())
        .prop_map(|(text, (cut, flags))| What::Log(LogLine { text: text.into(), cut, flags: Flags(flags) }))
        .boxed()
}

/// What is done with devices: any code of power states, any text as a name.
fn lifecycle() -> BoxedStrategy<What<'static>> {
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

fn what() -> impl Strategy<Value = What<'static>> {
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
fn spaces() -> impl Strategy<Value = Vec<Layout>> {
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
fn source(layouts: &[Layout], events: &[(u64, u16, What<'static>)]) -> Source {
    let accessed = events.iter().filter_map(|(_, _, what)| match what {
        What::Config(access) => Some(access.device.as_str().to_owned()),
        _ => None,
    });
    let named = accessed.chain(["0000:00:03.0".into(), String::new()]).zip(layouts.iter().cycle());
    let devices = named.map(|(device, layout)| Space { device, layout: layout.clone() }).collect();
    Source::Config(Spaces { devices, not_followed: vec!["x".into()] })
}

fn device(numbers: [u64; 3]) -> Device {
    let [start, length, flags] = numbers;
    let mut device = Device { address: "0000:00:03.0".into(), vendor: 1, ..Device::default() };
    device.bars[0] = Bar { start, length, flags: flags | 0x200 };
    device.bars[1] = Bar { start: start & 0xffff, length, flags: flags & !0x200 | 0x100 };
    device
}

/// A trace file of these events.
fn file(header: &Header, events: &[(u64, u16, What<'static>)], totals: &Totals) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = FileWriter::new(&mut bytes, header).unwrap();
    for (time, cpu, what) in events {
        let event = Event { time: *time, cpu: *cpu, pid: 7, tgid: 7, comm: "dd", what: what.clone() };
        writer.event(&event).unwrap();
    }
    writer.end(totals).unwrap();
    drop(writer);
    bytes
}

/// Does with a file what `report` and `convert` do.
fn read(bytes: &[u8], registers: &Registers) {
    let Ok(mut reader) = TraceReader::new(bytes, "it") else { return };
    let header = reader.header().clone();
    let names = Names::new(&header.devices, registers, None).with_spaces(&header);
    let of_registers = Names::new(&header.devices, registers, None).with_spaces(&header);
    let mut summary = Summary::new(&header).with_names(of_registers);
    let fields = Names::new(&header.devices, registers, None).with_spaces(&header);
    let mut sinks: Vec<Box<dyn Sink>> = vec![
        Box::new(Human::new(io::sink(), true).with_fields(fields)),
        Box::new(JsonLines::new(io::sink(), &header).unwrap()),
        Box::new(Mmiotrace::new(io::sink(), &header, true).unwrap()),
        Box::new(ParquetFile::new(Vec::new(), &header).unwrap()),
        Box::new(Perfetto::new(io::sink())),
    ];
    let Ok(ending) = reader.read(|event| {
        let event = names.name(event.clone());
        summary.add(&event);
        // An error is an answer too: a format that can't have such an event says so.
        sinks.iter_mut().for_each(|sink| drop(sink.event(&event)));
        Ok::<(), Infallible>(())
    });
    match &ending {
        Ending::Whole(totals) => {
            summary.end(totals);
            sinks.iter_mut().for_each(|sink| drop(sink.end(totals)));
        }
        Ending::Cut(cut) => {
            let _ = cut.to_string();
            summary.cut(cut);
            sinks.iter_mut().for_each(|sink| drop(sink.cut()));
        }
    }
    for rows in [0, 1, usize::MAX] {
        summary.write(&mut io::sink(), true, rows).unwrap();
    }
    let _ = (summary.picture(), summary.dropped(), summary.possibly_missed(), summary.probe_totals());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_trace_of_any_events_is_summed_up_and_converted(
        events in prop::collection::vec((number(), 0..4_u16, what()), 0..40),
        bar in [number(), number(), number()],
        layouts in spaces(),
        counts in [number(), number(), number()],
    ) {
        let ports = Ports { devices: vec![String::new()], modules: vec!["x".into()] };
        let mapped = Mapped { not_followed: vec!["x".into()], ..Mapped::default() };
        let lived = Lived { not_followed: vec!["x".into()], ..Lived::default() };
        let [access, interrupt] = [Source::Access(Watched::default()), Source::Interrupt(Followed::default())];
        let config = source(&layouts, &events);
        let [log, lifecycle] = [Source::Log(Logged {}), Source::Lifecycle(lived)];
        let sources = vec![access, interrupt, config, Source::Port(ports), Source::Dma(mapped), log, lifecycle];
        let header = Header { devices: vec![device(bar)], cpus: 4, sources, ..Header::default() };
        let [dropped, windows, performed] = counts;
        let totals = Totals { dropped, windows, performed: [performed; 3], ..Totals::default() };
        read(&file(&header, &events, &totals), &Registers::shipped());
    }

    #[test]
    fn a_damaged_trace_is_read_as_far_as_it_makes_sense(
        events in prop::collection::vec((number(), 0..2_u16, what()), 1..10),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = file(&Header::default(), &events, &Totals::default());
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        read(&bytes, &Registers::none());
    }

    #[test]
    fn any_lines_of_mmiotrace_are_read_or_left_out_and_read_back_as_they_are_written(
        lines in prop::collection::vec(
            (
                prop::sample::select(vec![
                    "R 4", "W 255", "R 8", "MAP", "UNMAP", "UNKNOWN", "MARK", "MARK 0.0 Lost",
                    "PCIDEV 0018 808610d3", "PCIDEV", "CPU:1 [LOST", "#", "LSPCI", "", " ", "VERSION",
                ]),
                prop_oneof![Just("1.000001".to_owned()), "[0-9.]{0,12}"],
                prop::collection::vec(prop_oneof!["0x[0-9a-f]{1,18}", "[0-9]{1,11}", Just("events.".into()), "\\PC{0,4}"], 0..18),
            ),
            0..12,
        ),
        bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut text = bytes.clone();
        for (keyword, time, words) in &lines {
            text.extend(format!("{keyword} {time} {}\n", words.join(" ")).bytes());
        }
        crate::property::check(&text);
        text.extend(bytes);
        crate::property::check(&text);
    }

    #[test]
    fn any_register_file_is_taken_or_refused(
        numbers in prop::collection::vec(prop_oneof![number().prop_map(|n| n.to_string()), (0..65_u64).prop_map(|n| n.to_string()), digits()], 6),
        bits in "[0-9:x-]{0,8}",
        bar in [number(), number(), number()],
        at in number(),
    ) {
        let [offset, width, count, stride, number_of_bar, value] = &numbers[..] else { unreachable!() };
        let text = format!(
            "name = \"x\"\n[[match]]\nvendor = 1\n[[register]]\noffset = {offset}\nname = \"A{{}}\"\nwidth = {width}\n\
             count = {count}\nstride = {stride}\nbar = {number_of_bar}\nfields = [{{ bits = \"{bits}\", name = \"F\", values = {{ {value} = \"v\" }} }}]\n"
        );
        if let Ok(file) = RegisterFile::parse_for_devices("it", &text) {
            let mut registers = Registers::none();
            registers.add(file);
            let names = Names::new(&[device(bar)], &registers, None);
            let _ = (names.place(at), names.place(bar[0]), names.place(bar[0].wrapping_add(at)));
        }
    }

    #[test]
    fn any_symbols_name_any_address(
        lines in prop::collection::vec((digits(), "[tTdDw]", "[a-c]{1,2}", prop::option::of("\\[[mn]\\]")), 0..12),
        modules in prop::collection::vec(("[mn]", digits(), digits()), 0..3),
        addresses in prop::collection::vec(number(), 1..8),
    ) {
        let proc = tempfile::tempdir().unwrap();
        let kallsyms: String = lines
            .iter()
            .map(|(address, kind, name, module)| format!("{address} {kind} {name}\t{}\n", module.as_deref().unwrap_or("")))
            .collect();
        let modules: String =
            modules.iter().map(|(name, size, base)| format!("{name} {size} 0 - Live {base}\n")).collect();
        fs::write(proc.path().join("kallsyms"), kallsyms).unwrap();
        fs::write(proc.path().join("modules"), modules).unwrap();
        let symbols = Symbols::load(proc.path()).unwrap();
        let listed: Vec<u64> = symbols.all().map(|symbol| symbol.address).collect();
        for address in addresses.into_iter().chain(listed) {
            let _ = (symbols.resolve(address), symbols.describe(address), symbols.function(address));
        }
        let _ = symbols.named("a").count();
    }

    #[test]
    fn any_sysfs_is_described_or_refused(
        numbers in prop::collection::vec(digits(), 4),
        resource in prop::collection::vec((digits(), digits(), digits()), 0..4),
        at in number(),
    ) {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("bus/pci/devices/0000:00:04.0");
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in ["vendor", "device", "class", "irq"].iter().zip(&numbers) {
            fs::write(folder.join(name), text).unwrap();
        }
        let lines: String = resource.iter().map(|(start, end, flags)| format!("{start} {end} {flags}\n")).collect();
        fs::write(folder.join("resource"), lines).unwrap();
        if let Ok(devices) = devices(root.path()) {
            let _ = Names::new(&devices, &Registers::shipped(), None).place(at);
        }
    }
}
