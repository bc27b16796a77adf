//! Memory that devices access by themselves (DMA): what their drivers tell the kernel of it.

use trapline_abi::{DMA_FUNCTIONS, DmaWatch};
use trapline_trace::{Header, Mapped};

use super::devices::{Followed, NoDevice, Words};
use crate::args::Beside;
use crate::device::Control;
use crate::refusal::Refusal;
use crate::system::System;
use crate::trace::{Arming, Counted, Source};

/// Why there is no DMA to record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DmaError {
    /// What was asked for is not there.
    #[error(transparent)]
    Device(#[from] NoDevice),
    /// Nothing to copy from.
    #[error("--dma-data is about buffers, which --without leaves out: take `dma` out of --without")]
    LeftOut,
}

/// What drivers do by the functions of [`DMA_FUNCTIONS`], and by which: a kernel has at least one
/// of each.
const NEEDED: [(&str, &[&str]); 10] = [
    ("mapping a buffer", &["dma_map_page_attrs", "dma_map_phys"]),
    ("unmapping a buffer", &["dma_unmap_page_attrs", "dma_unmap_phys"]),
    ("mapping a scatter list", &["dma_map_sg_attrs"]),
    ("unmapping a scatter list", &["dma_unmap_sg_attrs"]),
    ("synchronising a buffer for the CPU", &["dma_sync_single_for_cpu", "__dma_sync_single_for_cpu"]),
    (
        "synchronising a buffer for the device",
        &["dma_sync_single_for_device", "__dma_sync_single_for_device"],
    ),
    ("synchronising a scatter list for the CPU", &["dma_sync_sg_for_cpu", "__dma_sync_sg_for_cpu"]),
    ("synchronising a scatter list for the device", &["dma_sync_sg_for_device", "__dma_sync_sg_for_device"]),
    ("allocating memory for DMA", &["dma_alloc_attrs"]),
    ("freeing memory for DMA", &["dma_free_attrs"]),
];

/// DMA of devices.
pub(crate) struct Dma {
    followed: Followed,
    /// Bytes of a buffer that are recorded.
    data: u32,
}

const WORDS: Words = Words {
    of: "of DMA",
    recording: |name| format!("the memory that {name} is given (DMA)"),
    refusal: |device, source| Refusal::Dma { device, source },
};

impl Dma {
    /// That of the devices that are asked for, which must be there in any case; `None` if their DMA
    /// is not asked for.
    pub(crate) fn new(system: &System, wanted: &Beside) -> Result<Option<Self>, DmaError> {
        let followed = Followed::new(system, wanted)?;
        match (wanted.dma, wanted.dma_data) {
            (true, data) => Ok(Some(Self { followed, data })),
            (false, 0) => Ok(None),
            (false, _) => Err(DmaError::LeftOut),
        }
    }

    /// Tells whether nothing else is traced: then what is left out must not be all.
    pub(crate) fn alone(self, is_alone: bool) -> Self {
        Self { followed: self.followed.alone(is_alone), ..self }
    }
}

impl Source for Dma {
    fn arm(&mut self, control: &dyn Control, arming: &Arming) -> Result<(), Refusal> {
        let data = self.data;
        self.followed.arm(arming.quiet, &WORDS, |device| {
            let mut watch = DmaWatch { device: device.into(), data, ..DmaWatch::default() };
            control.dma(&mut watch).map(|()| not_followed(&watch))
        })
    }

    fn describe(&self, header: &mut Header) {
        if let Some((devices, not_followed)) = self.followed.describe(header) {
            let mapped = Mapped { devices, data: self.data, not_followed };
            header.sources.push(trapline_trace::Source::Dma(mapped));
        }
    }

    fn counted(&mut self, control: &dyn Control) -> Counted {
        let counts = control.dma_counts().unwrap_or_default();
        Counted { dma_missed: counts.missed, dma_pieces_missed: counts.pieces, ..Counted::default() }
    }
}

/// What of DMA the module does not follow: what there is no function for, and functions that it may
/// not probe.
fn not_followed(watch: &DmaWatch) -> Vec<String> {
    let has = |bits: u32, name: &str| {
        let place = DMA_FUNCTIONS.iter().position(|known| *known == name);
        place.is_some_and(|place| bits >> place & 1 != 0)
    };
    let refused = DMA_FUNCTIONS.iter().filter(|name| has(watch.refused, name));
    let mut missing: Vec<String> = refused.map(|name| format!("{name}()")).collect();
    for (what, names) in NEEDED {
        if !names.iter().any(|name| has(watch.followed | watch.refused, name)) {
            missing.push(format!("{what} ({}())", names.join("(), ")));
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::args::Targets;
    use crate::device::fake::Module;
    use crate::system::tests::{with, with_devices};
    use crate::trace::tests::quietly;

    fn dma(names: &[&str], is_enough: bool) -> Dma {
        let (_root, system) = with_devices(&["0000:00:01.0", "0000:00:02.0"]);
        let devices = names.iter().map(|name| name.parse().unwrap()).collect();
        let targets = Targets { devices, ..Targets::default() };
        let beside = Beside { dma: true, dma_data: 64, is_enough, ..Beside::of(targets) };
        Dma::new(&system, &beside).unwrap().unwrap()
    }

    /// The bits of these functions.
    fn bits(names: &[&str]) -> u32 {
        names.iter().map(|name| 1 << DMA_FUNCTIONS.iter().position(|known| known == name).unwrap()).sum()
    }

    #[test]
    fn each_device_is_asked_for_once_with_what_is_to_be_copied_and_the_header_has_them() {
        let mut dma = dma(&["00:01.0", "00:02.0", "00:01.0"], false);
        let (module, mut header) = (Module::default(), Header::default());
        dma.arm(&module, &quietly(false)).unwrap();
        let asked: Vec<_> = module.dma.borrow().iter().map(|watch| (watch.device.0, watch.data)).collect();
        assert_eq!(asked, [(1 << 3, 64), (2 << 3, 64)]);
        dma.describe(&mut header);
        let [trapline_trace::Source::Dma(mapped)] = &header.sources[..] else { panic!("{header:?}") };
        assert_eq!((mapped.devices.len(), mapped.data, header.devices.len()), (2, 64, 2));
        assert!(mapped.not_followed.is_empty(), "{mapped:?}");
        let counted = dma.counted(&module);
        assert_eq!((counted.dma_missed, counted.dma_pieces_missed), (3, 4));
    }

    #[test]
    fn what_is_left_out_has_no_data_to_copy_and_its_devices_must_be_there_all_the_same() {
        let (_root, system) = with(&[]);
        std::fs::create_dir_all(system.path("sys/bus/pci/devices")).unwrap();
        let new = |names: &[&str], dma_data| {
            let devices = names.iter().map(|name| name.parse().unwrap()).collect();
            let targets = Targets { devices, ..Targets::default() };
            Dma::new(&system, &Beside { dma_data, ..Beside::of(targets) }).map(|dma| dma.is_some())
        };
        assert!(matches!(new(&[], 0), Ok(false)));
        assert!(matches!(new(&[], 64), Err(DmaError::LeftOut)));
        assert!(matches!(new(&["00:09.0"], 0), Err(DmaError::Device(_))));
    }

    #[test]
    fn what_no_function_is_followed_for_is_told() {
        let all = NEEDED.iter().map(|(_, names)| bits(&names[..1])).sum::<u32>();
        let told = |followed, refused| not_followed(&DmaWatch { followed, refused, ..DmaWatch::default() });
        assert_eq!(told(all, 0), [""; 0]);
        let pages = bits(&["dma_map_page_attrs"]);
        assert_eq!(told(all & !pages, 0), ["mapping a buffer (dma_map_page_attrs(), dma_map_phys())"]);
        // The other name will do; one that can't be probed is told once.
        assert_eq!(told(all & !pages | bits(&["dma_map_phys"]), 0), [""; 0]);
        assert_eq!(told(all & !pages, pages), ["dma_map_page_attrs()"]);
    }

    #[test]
    fn a_kernel_without_the_functions_is_an_error_or_left_out_where_the_rest_is_enough() {
        let module = Module { no_dma: Some(Errno::NOSYS), ..Module::default() };
        let error = dma(&["00:01.0"], false).arm(&module, &quietly(false)).unwrap_err().to_string();
        assert!(error.contains("0000:00:01.0 (no driver)") && error.contains("dma_map"), "{error}");
        let (mut some, mut header) = (dma(&["00:01.0"], true), Header::default());
        some.arm(&module, &quietly(false)).unwrap();
        some.describe(&mut header);
        assert!(header.sources.is_empty());
        assert!(dma(&["00:01.0"], true).alone(true).arm(&module, &quietly(false)).is_err(), "an empty trace");
        let module = Module { no_dma: Some(Errno::NOENT), ..Module::default() };
        let error = dma(&["00:01.0"], true).arm(&module, &quietly(false)).unwrap_err().to_string();
        assert!(error.contains("unplugged"), "{error}");
    }
}
