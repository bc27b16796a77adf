//! The packets of a trace: names that are sent once and then go by number, tracks, events.
//!
//! Everything is of one sequence, so a name or a track is known from the packet on that tells of
//! it. What is kept grows with the number of different names and tracks, not with that of events.

use hashbrown::HashMap;
use prost::encoding::message;

use super::proto::{
    CounterDescriptor, DebugAnnotation, EXPLICIT, INCREMENTAL_STATE_CLEARED, Interned, InternedData,
    NEEDS_INCREMENTAL_STATE, ThreadDescriptor, TracePacket, TrackDescriptor, TrackEvent, Type,
};
use crate::Event;
use crate::write::printable;

/// The sequence that all packets are of.
const SEQUENCE: u32 = 1;

/// The number of the field of a trace that packets are.
const PACKET: u32 = 1;

/// What a track is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Track {
    Markers,
    Cpus,
    Cpu(u16),
    Thread(u32),
    /// The idle task of a CPU: all have thread id 0.
    Idle(u16),
    Device(Box<str>),
    Register(Spot),
    /// A second and further track of a register, for slices that overlap those of the first.
    Lane(Spot, usize),
    Counter(Spot),
}

/// A register: the track of its device, BAR and offset, or an address outside of every device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Spot {
    pub(super) device: u64,
    pub(super) bar: u8,
    pub(super) offset: u64,
}

/// What a name is of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Name {
    Event,
    Argument,
    Text,
}

/// The packets.
#[derive(Default)]
pub(super) struct Sequence {
    /// Those that were not handed on yet, encoded.
    pub(super) bytes: Vec<u8>,
    names: [HashMap<Box<str>, u64>; 3],
    tracks: HashMap<Track, u64>,
    /// Where the last slice ends on each lane of a register.
    lanes: HashMap<Spot, Vec<u64>>,
    /// The value that each register's counter has.
    values: HashMap<Spot, u64>,
}

impl Sequence {
    /// Begins a trace.
    pub(super) fn new() -> Self {
        let mut sequence = Self::default();
        sequence.packet(TracePacket {
            sequence_flags: Some(INCREMENTAL_STATE_CLEARED),
            ..TracePacket::default()
        });
        sequence
    }

    fn packet(&mut self, packet: TracePacket) {
        let packet = TracePacket { trusted_packet_sequence_id: Some(SEQUENCE), ..packet };
        message::encode(PACKET, &packet, &mut self.bytes);
    }

    /// The number of a name, which is told of if it is new.
    pub(super) fn name(&mut self, of: Name, text: &str) -> u64 {
        let names = &mut self.names[of as usize];
        if let Some(number) = names.get(text) {
            return *number;
        }
        // 0 stands for none.
        let number = names.len() as u64 + 1;
        names.insert(text.into(), number);
        let new = vec![Interned { iid: Some(number), text: Some(text.into()) }];
        let mut interned_data = InternedData::default();
        match of {
            Name::Event => interned_data.event_names = new,
            Name::Argument => interned_data.debug_annotation_names = new,
            Name::Text => interned_data.debug_annotation_string_values = new,
        }
        self.packet(TracePacket {
            interned_data: Some(interned_data),
            sequence_flags: Some(NEEDS_INCREMENTAL_STATE),
            ..TracePacket::default()
        });
        number
    }

    /// The track of what is of no CPU and no task.
    pub(super) fn markers(&mut self) -> u64 {
        self.track(Track::Markers, || TrackDescriptor { name: Some("Markers".into()), ..Default::default() })
    }

    /// The track of a CPU.
    pub(super) fn cpu(&mut self, cpu: u16) -> u64 {
        let parent = self.track(Track::Cpus, || TrackDescriptor {
            name: Some("CPUs".into()),
            child_ordering: Some(EXPLICIT),
            ..Default::default()
        });
        self.track(Track::Cpu(cpu), || TrackDescriptor {
            name: Some(format!("CPU {cpu}")),
            parent_uuid: Some(parent),
            sibling_order_rank: Some(cpu.into()),
            ..Default::default()
        })
    }

    /// The track of the task that an event was in, if that is known.
    pub(super) fn task(&mut self, event: &Event<'_>) -> Option<u64> {
        let &Event { cpu, pid, tgid, comm, .. } = event;
        if !event.has_task() {
            return None;
        }
        if pid == 0 {
            return Some(self.track(Track::Idle(cpu), || TrackDescriptor {
                name: Some(printable(comm)),
                ..Default::default()
            }));
        }
        Some(self.track(Track::Thread(pid), || TrackDescriptor {
            thread: Some(ThreadDescriptor {
                pid: Some(if tgid == 0 { pid } else { tgid } as i32),
                tid: Some(pid.into()),
                thread_name: Some(printable(comm)),
            }),
            ..Default::default()
        }))
    }

    /// The track that those of a device's registers are below.
    pub(super) fn device(&mut self, name: &str) -> u64 {
        self.track(Track::Device(name.into()), || TrackDescriptor {
            name: Some(name.into()),
            child_ordering: Some(EXPLICIT),
            ..Default::default()
        })
    }

    /// The track of a register.
    pub(super) fn register(&mut self, spot: Spot, label: &str) -> u64 {
        self.track(Track::Register(spot), || below(spot, label))
    }

    /// The track of a register on which a slice with these ends overlaps no other.
    pub(super) fn lane(&mut self, spot: Spot, label: &str, begin: u64, end: u64) -> u64 {
        let lanes = self.lanes.entry(spot).or_default();
        let lane = lanes.iter().position(|last| *last <= begin).unwrap_or(lanes.len());
        match lanes.get_mut(lane) {
            Some(last) => *last = end,
            None => lanes.push(end),
        }
        match lane {
            0 => self.register(spot, label),
            // Perfetto shows tracks of one name below one parent as one.
            lane => self.track(Track::Lane(spot, lane), || below(spot, label)),
        }
    }

    fn track(&mut self, track: Track, descriptor: impl FnOnce() -> TrackDescriptor) -> u64 {
        if let Some(uuid) = self.tracks.get(&track) {
            return *uuid;
        }
        let uuid = self.tracks.len() as u64 + 1;
        self.tracks.insert(track, uuid);
        let descriptor = TrackDescriptor { uuid: Some(uuid), ..descriptor() };
        self.packet(TracePacket { track_descriptor: Some(descriptor), ..TracePacket::default() });
        uuid
    }

    /// Notes the value that a register has now.
    pub(super) fn value(&mut self, time: u64, spot: Spot, label: &str, value: u64) {
        if self.values.insert(spot, value) == Some(value) {
            return;
        }
        let track = self.track(Track::Counter(spot), || TrackDescriptor {
            counter: Some(CounterDescriptor {}),
            ..below(spot, &format!("{label} value"))
        });
        let counter_value = i64::try_from(value).ok();
        let double_counter_value = counter_value.is_none().then_some(value as f64);
        let event = TrackEvent { counter_value, double_counter_value, ..TrackEvent::default() };
        self.event(time, track, Type::Counter, event);
    }

    /// Writes an event on a track.
    pub(super) fn event(&mut self, time: u64, track: u64, of: Type, event: TrackEvent) {
        let event = TrackEvent { r#type: Some(of as i32), track_uuid: Some(track), ..event };
        self.packet(TracePacket {
            timestamp: Some(time),
            track_event: Some(event),
            sequence_flags: Some(NEEDS_INCREMENTAL_STATE),
            ..TracePacket::default()
        });
    }

    /// An argument with a name and what `value` fills in.
    pub(super) fn argument(&mut self, name: &str, value: DebugAnnotation) -> DebugAnnotation {
        DebugAnnotation { name_iid: Some(self.name(Name::Argument, name)), ..value }
    }
}

/// A track of a register, below its device and in the order of offsets.
fn below(spot: Spot, label: &str) -> TrackDescriptor {
    TrackDescriptor {
        name: Some(label.into()),
        parent_uuid: Some(spot.device),
        sibling_order_rank: Some((u64::from(spot.bar) << 24 | spot.offset & 0xff_ffff) as i32),
        ..Default::default()
    }
}
