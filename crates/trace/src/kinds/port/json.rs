//! An access to an I/O port in JSON: `op` (`"R"`, `"W"`), `port`, `device`, `bar`, `offset`,
//! `register`, `width`, `value` (if it is known), `flags`, `ip`, `function`, `function_offset`,
//! `module`, `caller` (if it is known): `ip`, `function`, `function_offset`, `module`.

use serde::{Serialize, Serializer};
use trapline_abi::Flags;

use super::PortAccess;
use crate::Value;
use crate::json::Hex;
use crate::kinds::hit::JsonFrame;
use crate::write::{FlagNames, JsonPlace, JsonSite};

/// What the flags are called.
const FLAGS: &[(u8, &str)] =
    &[(Flags::STRING, "string"), (Flags::UNKNOWN, "unknown"), (Flags::INTERRUPT, "interrupt")];

#[derive(Serialize)]
pub(super) struct Fields<'a> {
    op: &'static str,
    port: Hex,
    #[serde(flatten)]
    place: Option<JsonPlace<'a>>,
    width: u8,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    value: Option<Value>,
    flags: FlagNames,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<Hex>,
    #[serde(flatten)]
    site: Option<JsonSite<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<JsonFrame<'a>>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(access: &PortAccess<'a>) -> Self {
        Self {
            op: access.direction.letter(),
            port: Hex(access.port.into()),
            place: access.place.map(JsonPlace::from),
            width: access.width,
            value: access.value,
            flags: FlagNames(access.flags, FLAGS),
            ip: (access.ip != 0).then_some(Hex(access.ip)),
            site: access.site.map(JsonSite::from),
            caller: access.caller.as_ref().map(JsonFrame::from),
        }
    }
}

/// A value as text, with all its digits.
fn text<S: Serializer>(value: &Option<Value>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
