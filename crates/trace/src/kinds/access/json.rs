//! An access in JSON: `op` (`"R"`, `"W"`), `device`, `bar`, `offset`, `register`, `physical`,
//! `address`, `width`, `value`, `change` (`"changed"`, `"repeated"`), `original`, `mapping`,
//! `flags`, `way`, `ip`, `function`, `function_offset`, `module`.

use serde::{Serialize, Serializer};
use trapline_abi::Flags;

use super::{Access, Value, lies, way_name};
use crate::json::Hex;
use crate::write::{FlagNames, JsonPlace, JsonSite};

/// What the flags are called.
const FLAGS: &[(u8, &str)] = &[
    (Flags::MODIFY, "modify"),
    (Flags::LOCKED, "locked"),
    (Flags::STRING, "string"),
    (Flags::SUPPLIED, "supplied"),
    (Flags::DROPPED, "dropped"),
    (Flags::UNKNOWN, "unknown"),
    (Flags::INTERRUPT, "interrupt"),
];

#[derive(Serialize)]
pub(super) struct Fields<'a> {
    op: &'static str,
    #[serde(flatten)]
    place: Option<JsonPlace<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    physical: Option<Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<Hex>,
    width: u8,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    value: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    original: Option<Value>,
    mapping: u32,
    flags: FlagNames,
    #[serde(skip_serializing_if = "Option::is_none")]
    way: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<Hex>,
    #[serde(flatten)]
    site: Option<JsonSite<'a>>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(access: &Access<'a>) -> Self {
        Self {
            op: access.direction.letter(),
            place: access.place.map(JsonPlace::from),
            physical: access.physical.map(Hex),
            address: (access.address != 0).then_some(Hex(access.address)),
            width: access.width,
            value: access.value,
            change: lies::change_name(access.change),
            original: access.original,
            mapping: access.mapping,
            flags: FlagNames(access.flags, FLAGS),
            way: access.way.map(way_name),
            ip: (access.ip != 0).then_some(Hex(access.ip)),
            site: access.site.map(JsonSite::from),
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
