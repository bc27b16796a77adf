//! Machines made of files and links, as sysfs has them.

use std::fs;

use super::*;
use crate::system::tests::Machine;

const DISK: &str = "0000:00:1f.2";
const NVME: &str = "0000:00:03.0";
const CARD: &str = "0000:00:02.0";
const PICTURE: &str = "0000:00:01.0";
const BRIDGE: &str = "0000:00:1c.0";

fn held(machine: &Machine, address: &str) -> Vec<String> {
    by(&machine.system, address).iter().map(Held::to_string).collect()
}

const MOUNTS: (&str, &str) = (
    "proc/self/mountinfo",
    "22 1 0:2 / / rw - rootfs rootfs rw\n\
     23 22 8:2 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
     24 23 0:21 / /proc rw shared:2 - proc proc rw\n\
     25 23 259:1 / /data\\040two rw shared:3 - ext4 /dev/nvme0n1p1 rw\n",
);

/// A SATA disk with two partitions and an NVMe disk with one.
fn machine(files: &[(&str, &str)]) -> Machine {
    Machine::new(files)
        .disk("pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda", "8:0")
        .disk("pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda/sda2", "8:2")
        .disk("pci0000:00/0000:00:1c.0/0000:00:03.0/nvme/nvme0/nvme0n1", "259:0")
        .disk("pci0000:00/0000:00:1c.0/0000:00:03.0/nvme/nvme0/nvme0n1/nvme0n1p1", "259:1")
}

#[test]
fn the_root_file_system_is_held_by_its_disk_and_by_nothing_else() {
    let machine = machine(&[MOUNTS]);
    assert_eq!(held(&machine, DISK), ["the root file system"]);
    assert_eq!(held(&machine, NVME), ["the file system mounted on /data two"]);
    assert!(by(&machine.system, DISK)[0].is_vital() && !by(&machine.system, NVME)[0].is_vital());
    // A bridge holds what is behind it.
    assert_eq!(held(&machine, BRIDGE), held(&machine, NVME));
    assert_eq!(held(&machine, CARD), [""; 0]);
    // And not one whose address begins alike.
    assert_eq!(held(&machine, "0000:00:1f"), [""; 0]);
}

#[test]
fn a_machine_that_tells_nothing_holds_nothing() {
    assert_eq!(held(&Machine::new(&[]), DISK), [""; 0]);
    let nonsense = [
        ("proc/self/mountinfo", "x\n1 2\n - \n1 2 3 4 5 - 6\n"),
        ("proc/swaps", "\n\n"),
        ("proc/consoles", " \n"),
    ];
    assert_eq!(held(&Machine::new(&nonsense), DISK), [""; 0]);
}

#[test]
fn a_file_system_with_numbers_of_its_own_is_found_by_its_disks_name() {
    let mounts = ("proc/self/mountinfo", "23 22 0:31 /@ / rw - btrfs /dev/mapper/all rw\n");
    let machine = machine(&[mounts])
        .disk("virtual/block/dm-0", "253:0")
        .file("sys/class/block/dm-0/slaves/sda2/size", "1");
    machine.link("dev/mapper/all", &machine.system.path("dev/dm-0"));
    fs::write(machine.system.path("dev/dm-0"), "").unwrap();
    assert_eq!(held(&machine, DISK), ["the root file system"]);
    assert_eq!(held(&machine, NVME), [""; 0]);
}

#[test]
fn what_a_disk_is_made_of_is_followed_and_a_circle_ends() {
    let mounts = ("proc/self/mountinfo", "23 22 9:0 / / rw - xfs /dev/md0 rw\n");
    let machine = machine(&[mounts])
        .disk("virtual/block/md0", "9:0")
        .file("sys/class/block/md0/slaves/nvme0n1p1/size", "1")
        .file("sys/class/block/md0/slaves/md0/size", "1");
    assert_eq!(held(&machine, NVME), ["the root file system"]);
    assert_eq!(held(&machine, DISK), [""; 0]);
}

#[test]
fn an_nvme_disk_with_several_ways_to_it_is_behind_each() {
    let mounts = ("proc/self/mountinfo", "23 22 259:7 / / rw - ext4 /dev/nvme1n1 rw\n");
    let machine = Machine::new(&[mounts])
        .device("pci0000:00/0000:00:03.0/nvme/nvme1", &[])
        .disk("virtual/nvme-subsystem/nvme-subsys1/nvme1n1", "259:7");
    let way = machine.system.path("sys/devices/pci0000:00/0000:00:03.0/nvme/nvme1");
    machine.link("sys/devices/virtual/nvme-subsystem/nvme-subsys1/nvme1", &way);
    assert_eq!(held(&machine, NVME), ["the root file system"]);
    assert_eq!(held(&machine, DISK), [""; 0]);
}

#[test]
fn a_root_of_an_image_is_held_by_the_disk_that_the_image_is_on() {
    let mounts = (
        "proc/self/mountinfo",
        "23 22 7:0 / / rw - squashfs /dev/loop0 ro\n24 23 259:1 / /media rw - ext4 /dev/nvme0n1p1 rw\n",
    );
    let machine = machine(&[mounts])
        .disk("virtual/block/loop0", "7:0")
        .file("sys/class/block/loop0/loop/backing_file", "/media/root.img\n");
    assert_eq!(held(&machine, NVME), ["the root file system", "the file system mounted on /media"]);
}

#[test]
fn below_an_overlay_any_file_system_may_be_the_root() {
    let overlay = MOUNTS.1.to_owned() + "30 23 0:40 / / rw - overlay overlay rw,lowerdir=/lower\n";
    assert_eq!(held(&machine(&[("proc/self/mountinfo", &overlay)]), NVME), ["the root file system"]);
}

#[test]
fn a_root_that_comes_by_the_network_is_held_by_an_interface_that_is_up() {
    let mounts = ("proc/self/mountinfo", "23 22 0:19 / / rw - nfs4 10.0.2.2:/root rw\n");
    let machine = Machine::new(&[mounts])
        .device("pci0000:00/0000:00:02.0/net/eth0", &["sys/class/net/eth0"])
        .device("pci0000:00/0000:00:04.0/net/eth1", &["sys/class/net/eth1"])
        .file("sys/class/net/eth0/operstate", "up\n")
        .file("sys/class/net/eth1/operstate", "down\n");
    assert_eq!(held(&machine, CARD), ["the network that root comes by (eth0)"]);
    assert!(by(&machine.system, CARD)[0].is_vital());
    assert_eq!(held(&machine, "0000:00:04.0"), [""; 0]);
}

#[test]
fn swap_is_held_as_a_partition_and_as_a_file() {
    let swaps = "Filename\t\t\t\tType\t\tSize\n/dev/sda2 partition 1 0 -2\n/data\\040two/swap file 1 0 -3\n";
    let machine = machine(&[MOUNTS, ("proc/swaps", swaps)]);
    assert_eq!(held(&machine, DISK), ["the root file system", "swap (/dev/sda2)"]);
    assert_eq!(held(&machine, NVME), ["the file system mounted on /data two", "swap (/data two/swap)"]);
    assert!(by(&machine.system, NVME)[1].is_vital());
}

#[test]
fn a_console_is_held_if_there_is_no_other() {
    let with_consoles = |text| {
        Machine::new(&[("proc/consoles", text)])
            .device("pci0000:00/0000:00:01.0/graphics/fb0", &["sys/class/graphics/fb0"])
            .device("virtual/graphics/fbcon", &["sys/class/graphics/fbcon"])
            .device("pci0000:00/0000:00:02.0/tty/ttyS4", &["sys/class/tty/ttyS4"])
            .device("platform/serial8250/tty/ttyS0", &["sys/class/tty/ttyS0"])
    };
    let alone = with_consoles("tty0                 -WU (EC p  )    4:1\n");
    assert_eq!(held(&alone, PICTURE), ["the only console (tty0)"]);
    assert_eq!(held(&alone, CARD), [""; 0]);
    let serial = with_consoles("ttyS4                -W- (EC p a)    4:68\n");
    assert_eq!(
        (held(&serial, PICTURE), held(&serial, CARD)),
        (vec![], vec!["the only console (ttyS4)".into()])
    );
    let both = with_consoles("tty0 -WU (EC p  ) 4:1\nttyS0 -W- (E  p a) 4:64\n");
    assert_eq!(held(&both, PICTURE), [""; 0]);
}

#[test]
fn a_text_console_is_where_the_machine_booted_with_a_picture() {
    let machine = Machine::new(&[
        ("proc/consoles", "tty0 -WU (EC p  ) 4:1\n"),
        ("sys/bus/pci/devices/0000:00:01.0/boot_vga", "1\n"),
        ("sys/bus/pci/devices/0000:00:02.0/boot_vga", "0\n"),
    ]);
    assert_eq!(held(&machine, PICTURE), ["the only console (tty0)"]);
    assert_eq!(held(&machine, CARD), [""; 0]);
}

#[test]
fn a_picture_of_the_firmware_s_hides_no_card_that_the_machine_booted_with() {
    let machine = Machine::new(&[
        ("proc/consoles", "tty0 -WU (EC p  ) 4:1\n"),
        ("sys/bus/pci/devices/0000:00:01.0/boot_vga", "1\n"),
    ])
    .device("platform/efi-framebuffer.0/graphics/fb0", &["sys/class/graphics/fb0"]);
    assert_eq!(held(&machine, PICTURE), ["the only console (tty0)"]);
}

#[test]
fn a_btrfs_is_held_by_all_its_disks_also_as_dev_root() {
    for source in ["/dev/sda2", "/dev/root"] {
        let mounts = format!("23 22 0:31 / / rw - btrfs {source} rw\n");
        let machine = machine(&[("proc/self/mountinfo", &mounts)])
            .file("sys/fs/btrfs/1234/devices/sda2", "")
            .file("sys/fs/btrfs/1234/devices/nvme0n1p1", "");
        assert_eq!(held(&machine, DISK), ["the root file system"], "{source}");
        assert_eq!(held(&machine, NVME), ["the root file system"], "{source}");
    }
}

#[test]
fn a_console_of_virtio_is_behind_the_device_of_its_port() {
    let machine = Machine::new(&[("proc/consoles", "hvc0 -W- (EC p  ) 229:0\n")])
        .device("pci0000:00/0000:00:02.0/virtio0/virtio-ports/vport0p0", &["sys/class/virtio-ports/vport0p0"])
        .device("virtual/tty/hvc0", &["sys/class/tty/hvc0"]);
    assert_eq!(held(&machine, CARD), ["the only console (hvc0)"]);
    assert_eq!(held(&machine, PICTURE), [""; 0]);
}
