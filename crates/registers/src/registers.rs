//! Which file describes which device.

use crate::{DeviceRegisters, Identity, RegisterFile};

/// Files that come with Trapline.
const SHIPPED: [(&str, &str); 3] = [
    ("edu", include_str!("../shipped/edu.toml")),
    ("nvme", include_str!("../shipped/nvme.toml")),
    ("e1000e", include_str!("../shipped/e1000e.toml")),
];

/// Register files, the most important first.
#[derive(Clone, Debug)]
pub struct Registers {
    files: Vec<RegisterFile>,
}

impl Registers {
    /// The files that come with Trapline: QEMU's edu, NVMe, e1000e.
    pub fn shipped() -> Self {
        Self { files: Self::shipped_files().into_iter().map(|(_, file)| file).collect() }
    }

    /// The same with the names by which they are asked for.
    pub fn shipped_files() -> Vec<(&'static str, RegisterFile)> {
        let parse = |(name, text)| match RegisterFile::parse_for_devices(name, text) {
            Ok(file) => (name, file),
            Err(error) => {
                unreachable!("a shipped register file is wrong, which a test would have told: {error}")
            }
        };
        SHIPPED.map(parse).into()
    }

    /// No files at all: nothing gets a name.
    pub fn none() -> Self {
        Self { files: Vec::new() }
    }

    /// Adds a person's own file, which is asked before all others.
    pub fn add(&mut self, file: RegisterFile) {
        self.files.insert(0, file);
    }

    /// The first file that describes `device`.
    pub fn file_of(&self, device: &Identity<'_>) -> Option<&RegisterFile> {
        self.files.iter().find(|file| file.describes(device))
    }

    /// The registers of `device`, from that file.
    pub fn of(&self, device: &Identity<'_>) -> Option<DeviceRegisters> {
        self.file_of(device).map(DeviceRegisters::new)
    }
}
