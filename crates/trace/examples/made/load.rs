//! What a network card's driver does as it loads and sends, made up after e1000e: the NVM and the
//! PHY are read by polling, tables are written, the link comes up, packets go out and interrupts
//! come in.

use std::io;

use trapline_abi::{Change, Flags, Way};
use trapline_trace::{
    Access, Bar, Device, Direction, Event, Header, Lost, Map, Mark, Names, Registers, Sink, Site, Value, What,
};

const PHYSICAL: u64 = 0xfeb8_0000;
const LINEAR: u64 = 0xffff_c900_0100_0000;

/// Registers by their offsets in BAR 0 (Intel 82574 datasheet, section 10).
const CTRL: u64 = 0x0;
const STATUS: u64 = 0x8;
const EERD: u64 = 0x14;
const MDIC: u64 = 0x20;
const ICR: u64 = 0xc0;
const IMS: u64 = 0xd0;
const IMC: u64 = 0xd8;
const MTA: u64 = 0x5200;
const TDT: u64 = 0x3818;
const RDT: u64 = 0x2818;
const COUNTERS: u64 = 0x4000;

/// A trace that is being made up.
pub(crate) struct Load<'s> {
    sink: &'s mut dyn Sink,
    names: Names,
    time: u64,
    random: u64,
    task: (u32, &'static str),
    cpu: u16,
    function: &'static str,
}

impl<'s> Load<'s> {
    /// The machine that it is of.
    pub(crate) fn header() -> Header {
        let mut card = Device {
            address: "0000:00:03.0".into(),
            vendor: 0x8086,
            device: 0x10d3,
            class: 0x02_0000,
            driver: Some("e1000e".into()),
            ..Device::default()
        };
        card.bars[0] = Bar { start: PHYSICAL, length: 0x2_0000, flags: 0x4_0200 };
        Header {
            trapline: env!("CARGO_PKG_VERSION").into(),
            kernel: "6.1.0-56-amd64".into(),
            machine: "lab1".into(),
            cpus: 4,
            started: 1_795_000_000_000_000_000,
            command: "trapline mmio --driver e1000e -- sh -c 'modprobe e1000e; ping -c 20 10.0.2.2'".into(),
            devices: vec![card],
            ..Header::default()
        }
    }

    /// Into `sink`.
    pub(crate) fn new(sink: &'s mut dyn Sink) -> Self {
        let names = Names::new(&Self::header().devices, &Registers::shipped(), None);
        let (time, random, task, cpu, function) = (12_000_000_000, 1, (311, "modprobe"), 0, "e1000_probe");
        Self { sink, names, time, random, task, cpu, function }
    }

    /// All of it, with so many lost records in its middle.
    pub(crate) fn play(mut self, lost: u64) -> io::Result<()> {
        let map = Map {
            mapping: 1,
            address: LINEAR,
            physical: PHYSICAL,
            length: 0x2_0000,
            caller: 0,
            place: None,
            site: None,
        };
        self.event(What::Map(map))?;
        self.mark("load")?;
        self.reset()?;
        self.read_nvm()?;
        self.set_up()?;
        if lost > 0 {
            self.event(What::Lost(Lost { count: lost }))?;
        }
        self.read_phy()?;
        self.mark("link up")?;
        self.send()
    }

    fn reset(&mut self) -> io::Result<()> {
        self.by("e1000_reset_hw_82571", 0);
        self.write(IMC, 0xffff_ffff, 3_000)?;
        self.write(CTRL, 0x0400_0240, 12_000)?;
        self.poll(STATUS, 0x0008_0000, 0x0008_0080, 220)
    }

    /// 64 words, each asked for and polled for.
    fn read_nvm(&mut self) -> io::Result<()> {
        self.by("e1000e_read_nvm_eerd", 0);
        for word in 0..64 {
            self.write(EERD, word << 2 | 1, 1_500)?;
            let polls = 3 + self.below(6);
            let read = self.below(0x1_0000);
            self.poll(EERD, word << 2, read << 16 | word << 2 | 2, polls)?;
        }
        Ok(())
    }

    fn set_up(&mut self) -> io::Result<()> {
        self.by("e1000e_update_mc_addr_list_generic", 0);
        for entry in 0..128 {
            self.write(MTA + entry * 4, 0, 700)?;
        }
        self.by("e1000_configure", 0);
        for (offset, value) in
            [(0x100, 0x0400_8002), (0x400, 0x3103_f0fa), (0x2800, 0x0345_6000), (0x3800, 0x0345_7000)]
        {
            self.write(offset, value, 2_000)?;
        }
        Ok(())
    }

    /// The PHY's registers, as the watchdog's worker reads them.
    fn read_phy(&mut self) -> io::Result<()> {
        self.task = (77, "kworker/2:1");
        self.by("e1000e_read_phy_reg_mdic", 2);
        for register in 0..24 {
            self.write(MDIC, 0x0820_0000 | register << 16, 2_000)?;
            let (polls, read) = (20 + self.below(40), self.below(0x1_0000));
            self.poll(MDIC, 0x0820_0000 | register << 16, 0x1820_0000 | register << 16 | read, polls)?;
        }
        self.by("e1000_has_link", 2);
        self.read(STATUS, 0x0008_0083, 1_000)
    }

    /// Packets out, interrupts in, and the statistics now and then.
    fn send(&mut self) -> io::Result<()> {
        for packet in 0..600_u64 {
            (self.task, self.cpu, self.function) = ((420, "ping"), 0, "e1000_xmit_frame");
            let gap = 40_000 + self.below(90_000);
            self.write(TDT, (packet + 1) % 256, gap)?;
            (self.task, self.cpu, self.function) = ((0, "swapper/1"), 1, "e1000_intr_msi");
            let (wait, cause) = (9_000 + self.below(8_000), [0x8000_0003, 0x8000_0080][packet as usize % 2]);
            self.read(ICR, cause, wait)?;
            self.function = "e1000e_poll";
            self.write(RDT, (packet * 2 + 15) % 256, 4_000)?;
            self.write(IMS, 0x0150_0004, 1_200)?;
            if packet % 150 == 149 {
                (self.task, self.cpu, self.function) = ((77, "kworker/2:1"), 2, "e1000e_update_stats");
                for counter in 0..60 {
                    let value = self.below(3);
                    self.read(COUNTERS + counter * 4, value, 900)?;
                }
            }
        }
        Ok(())
    }

    fn by(&mut self, function: &'static str, cpu: u16) {
        (self.function, self.cpu) = (function, cpu);
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random = self.random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.random >> 33) % end
    }

    /// Reads `before` so often, then `after`.
    fn poll(&mut self, offset: u64, before: u64, after: u64, times: u64) -> io::Result<()> {
        for _ in 0..times {
            self.read(offset, before, 2_400)?;
        }
        self.read(offset, after, 2_400)
    }

    fn read(&mut self, offset: u64, value: u64, after: u64) -> io::Result<()> {
        self.access(Direction::Read, offset, value, after)
    }

    fn write(&mut self, offset: u64, value: u64, after: u64) -> io::Result<()> {
        self.access(Direction::Write, offset, value, after)
    }

    fn mark(&mut self, text: &'static str) -> io::Result<()> {
        self.event(What::Mark(Mark { text: text.into() }))
    }

    fn access(&mut self, direction: Direction, offset: u64, value: u64, after: u64) -> io::Result<()> {
        self.time += after;
        self.event(What::Access(Access {
            direction,
            width: 4,
            value: Value::from_u64(value, 4),
            change: Change::None,
            original: None,
            mapping: 1,
            address: LINEAR + offset,
            physical: Some(PHYSICAL + offset),
            flags: Flags(0),
            way: Some(Way::Emulate),
            ip: 0xffff_ffff_c040_0000,
            place: None,
            site: Some(Site { function: self.function, offset: 0x20, module: Some("e1000e") }),
        }))
    }

    fn event(&mut self, what: What<'_>) -> io::Result<()> {
        self.time += 100;
        let (pid, comm) = self.task;
        let event = Event { time: self.time, cpu: self.cpu, pid, tgid: pid, comm, what };
        self.sink.event(&self.names.name(event))
    }
}
