//! An access to configuration space in JSON: `op` (`"R"`, `"W"`), `device`, `offset`, `register`,
//! `width`, `value`, `error` (if it failed), `way` (`"ports"`, `"memory"`), `took_ns`, `flags`,
//! `ip`, `function`, `function_offset`, `module`, `stack`.

use serde::Serialize;
use trapline_abi::Flags;

use super::{ConfigAccess, way_name};
use crate::json::Hex;
use crate::kinds::hit::JsonFrame;
use crate::write::{FlagNames, JsonSite};

/// What the flags are called.
const FLAGS: &[(u8, &str)] = &[(Flags::INTERRUPT, "interrupt")];

#[derive(Serialize)]
pub(super) struct Fields<'a> {
    op: &'static str,
    device: &'a str,
    offset: Hex,
    #[serde(skip_serializing_if = "Option::is_none")]
    register: Option<&'a str>,
    width: u8,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<u32>,
    way: &'static str,
    took_ns: u64,
    flags: FlagNames,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<Hex>,
    #[serde(flatten)]
    site: Option<JsonSite<'a>>,
    stack: Vec<JsonFrame<'a>>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(access: &'a ConfigAccess<'a>) -> Self {
        let value = access.digits().map_or_else(|| format!("{:#x}", access.value), |value| value.to_string());
        Self {
            op: access.direction.letter(),
            device: access.device.as_str(),
            offset: Hex(access.offset.into()),
            register: access.register,
            width: access.width,
            value,
            error: (access.error != 0).then_some(access.error),
            way: way_name(access.way),
            took_ns: access.took,
            flags: FlagNames(access.flags, FLAGS),
            ip: (access.ip != 0).then_some(Hex(access.ip)),
            site: access.site.map(JsonSite::from),
            stack: access.stack.iter().map(JsonFrame::from).collect(),
        }
    }
}
