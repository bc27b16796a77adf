//! What was done to a buffer in JSON: `op` (`"map"`, `"unmap"`, `"sync_cpu"`, `"sync_device"`,
//! `"alloc"`, `"free"`), `device`, `dma` (or `failed`: `true`), `physical`, `address`, `size`,
//! `direction` (`"to_device"`, `"from_device"`, `"both"`, `"none"`), `piece` and `pieces` of a
//! scatter list, `data`, `flags`, `ip`, `function`, `function_offset`, `module`, `stack`.
//!
//! `data` are two hexadecimal digits for each byte, the first byte first, without `0x`: they are no
//! number.

use serde::Serialize;
use trapline_abi::Flags;

use super::DmaCall;
use super::words::{direction_name, op_name};
use crate::json::Hex;
use crate::kinds::hit::JsonFrame;
use crate::write::{FlagNames, JsonSite};

/// What the flags are called.
const FLAGS: &[(u8, &str)] = &[(Flags::INTERRUPT, "interrupt")];

#[derive(Serialize)]
pub(super) struct Fields<'a> {
    op: &'static str,
    device: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dma: Option<Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    physical: Option<Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<Hex>,
    size: u32,
    direction: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    piece: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pieces: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    flags: FlagNames,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<Hex>,
    #[serde(flatten)]
    site: Option<JsonSite<'a>>,
    stack: Vec<JsonFrame<'a>>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(call: &'a DmaCall<'a>) -> Self {
        let is_list = call.pieces > 0;
        let data: String = call.data.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            op: op_name(call.op),
            device: call.device.as_str(),
            dma: call.dma.map(Hex),
            failed: call.dma.is_none().then_some(true),
            physical: call.physical.map(Hex),
            address: call.address.map(Hex),
            size: call.size,
            direction: direction_name(call.direction),
            piece: is_list.then_some(call.piece),
            pieces: is_list.then_some(call.pieces),
            data: (!data.is_empty()).then_some(data),
            flags: FlagNames(call.flags, FLAGS),
            ip: (call.ip != 0).then_some(Hex(call.ip)),
            site: call.site.map(JsonSite::from),
            stack: call.stack.iter().map(JsonFrame::from).collect(),
        }
    }
}
