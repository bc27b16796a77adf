//! Drivers that campaigns are made on: which device of QEMU's each has, and what has it work.

use anyhow::{Result, bail};

/// A driver with its device.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// The driver, and its module.
    pub name: &'static str,
    /// The device, at the address [`BDF`].
    qemu: &'static [&'static str],
    /// Whether the module is of the kernel's package, and not our own.
    is_stock: bool,
    /// What has the driver work while it is bound. Nothing in it waits without an end: that would
    /// be COMMAND's own hanging.
    pub command: &'static str,
}

/// Where the device is.
pub const BDF: &str = "0000:00:02.0";

/// A network card: the link comes up, and packets go and come.
const NETWORK: &str = "ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
for i in $(seq 100); do [ \"$(cat /sys/class/net/eth0/carrier)\" = 1 ] && break; sleep 0.05; done
ping -c 2 -i 0.2 -W 2 10.0.2.2";

/// A disk: some blocks are read.
const DISK: &str = "for i in $(seq 100); do [ -e /dev/nvme0n1 ] && break; sleep 0.05; done
timeout 5 dd if=/dev/nvme0n1 of=/dev/null bs=4k count=64 iflag=direct";

const fn network(name: &'static str, qemu: &'static [&'static str]) -> Subject {
    Subject { name, qemu, is_stock: true, command: NETWORK }
}

/// All of them.
pub const SUBJECTS: &[Subject] = &[
    Subject {
        name: "trapline_flaws",
        qemu: &["-device", "edu,addr=2"],
        is_stock: false,
        command: "cat /dev/trapline_flaws",
    },
    network("e1000e", &["-netdev", "user,id=net", "-device", "e1000e,addr=2,netdev=net,romfile="]),
    network("e1000", &["-netdev", "user,id=net", "-device", "e1000,addr=2,netdev=net,romfile="]),
    network("vmxnet3", &["-netdev", "user,id=net", "-device", "vmxnet3,addr=2,netdev=net,romfile="]),
    Subject {
        name: "nvme",
        qemu: &[
            "-drive",
            "if=none,id=disk,driver=null-co,size=64M,read-zeroes=on",
            "-device",
            "nvme,addr=2,serial=trapline,drive=disk",
        ],
        is_stock: true,
        command: DISK,
    },
];

impl Subject {
    /// The one called `name`.
    pub fn find(name: &str) -> Result<Self> {
        if let Some(found) = SUBJECTS.iter().find(|subject| subject.name == name) {
            return Ok(*found);
        }
        let names: Vec<&str> = SUBJECTS.iter().map(|subject| subject.name).collect();
        bail!("no device is known for a driver `{name}`: expected one of {}", names.join(", "))
    }

    /// QEMU's arguments.
    pub(super) fn qemu(&self) -> impl Iterator<Item = String> {
        self.qemu.iter().map(|word| (*word).to_owned())
    }

    /// The module of the kernel's package that it needs, if it needs one.
    pub(super) fn module(&self) -> Option<String> {
        self.is_stock.then(|| self.name.to_owned())
    }
}
