//! Whatever a file holds, reading it gives an answer: an error, or what makes sense of it. Nothing
//! panics, and no number is too large.

use std::convert::Infallible;
use std::fs;
use std::io;

use proptest::prelude::*;
use trapline_trace::{
    Ending, Event, FileWriter, Followed, Header, Human, JsonLines, Lived, Logged, Mapped, Mmiotrace, Names,
    ParquetFile, Perfetto, Ports, RegisterFile, Registers, Sink, Source, Summary, Symbols, Totals,
    TraceReader, Watched, What, devices,
};

use crate::any::{device, digits, number, source, spaces, what};

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
