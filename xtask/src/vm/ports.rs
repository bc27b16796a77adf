//! The ways out of the guest: one virtio serial port, a socket on the host, for each kind of data.
//!
//! Chosen over a serial line, which is slow under emulation and fills QEMU's record with an access
//! for every byte, and over 9p and a disk, which would deliver nothing if the guest went down.

use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The ports, by the names that the guest's init looks for.
pub(super) const NAMES: [&str; 5] = ["status", "stdout", "stderr", "out", "log"];

/// A socket that QEMU will connect to.
pub(super) struct Listener {
    /// Which port it is for.
    pub name: &'static str,
    path: PathBuf,
    socket: UnixListener,
}

impl Listener {
    /// One listener for each port, with sockets in a folder whose path is short.
    pub(super) fn all(folder: &Path) -> Result<Vec<Self>> {
        NAMES.iter().map(|name| Self::new(name, folder)).collect()
    }

    fn new(name: &'static str, folder: &Path) -> Result<Self> {
        let path = folder.join(name);
        let socket = UnixListener::bind(&path)
            .with_context(|| format!("cannot make the socket {}", path.display()))?;
        socket.set_nonblocking(true)?;
        Ok(Self { name, path, socket })
    }

    /// QEMU's arguments for this port.
    pub(super) fn arguments(&self) -> [OsString; 4] {
        let mut chardev = OsString::from(format!("socket,id=trapline-{},path=", self.name));
        chardev.push(&self.path);
        let device = format!("virtserialport,chardev=trapline-{0},name=trapline.{0}", self.name);
        ["-chardev".into(), chardev, "-device".into(), device.into()]
    }

    /// QEMU's end, if it has connected by now.
    pub(super) fn accept(&self) -> Result<Option<UnixStream>> {
        match self.socket.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                Ok(Some(stream))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).context("cannot accept QEMU's connection"),
        }
    }
}

/// Reads a port to its end, handing each piece to `sink`. QEMU's going away is the end.
pub(super) fn drain(mut stream: impl Read, mut sink: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => sink(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
