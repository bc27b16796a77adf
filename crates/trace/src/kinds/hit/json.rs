//! A hit in JSON: `probe`, `moment` (`"before"`, `"after"`, `"return"`), `ip`, `function`,
//! `function_offset`, `module`, `flags`, `arguments`, `stack` (from `--stack`).
//!
//! `arguments` is an array in the order asked for: `name`, `type`, `value`, the text as the
//! kernel's probe events print it but without quotes, left out if it could not be fetched; of
//! `stack`, innermost first: `ip`, `function`, `function_offset`, `module`.

use serde::Serialize;
use trapline_abi::Flags;

use super::{Argument, Frame, Hit, Moment};
use crate::json::Hex;
use crate::write::{FlagNames, JsonSite};

/// What the flags are called.
const FLAGS: &[(u8, &str)] = &[(Flags::INTERRUPT, "interrupt")];

#[derive(Serialize)]
pub(super) struct Fields<'a> {
    probe: &'a str,
    moment: Moment,
    ip: Hex,
    #[serde(flatten)]
    site: Option<JsonSite<'a>>,
    flags: FlagNames,
    arguments: Vec<JsonArgument<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stack: Option<Vec<JsonFrame<'a>>>,
}

#[derive(Serialize)]
struct JsonArgument<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    form: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
}

/// A place on a stack.
#[derive(Serialize)]
pub(crate) struct JsonFrame<'a> {
    ip: Hex,
    #[serde(flatten)]
    site: Option<JsonSite<'a>>,
}

impl<'a> From<&Frame<'a>> for JsonFrame<'a> {
    fn from(frame: &Frame<'a>) -> Self {
        Self { ip: Hex(frame.ip), site: frame.site.map(JsonSite::from) }
    }
}

impl<'a> Fields<'a> {
    pub(super) fn new(hit: &'a Hit<'a>) -> Self {
        let argument = |Argument { name, form, value, .. }: &'a Argument<'a>| JsonArgument {
            name,
            form,
            value: value.as_deref(),
        };
        Self {
            probe: hit.probe,
            moment: hit.moment,
            ip: Hex(hit.ip),
            site: hit.site.map(JsonSite::from),
            flags: FlagNames(hit.flags, FLAGS),
            arguments: hit.arguments.iter().map(argument).collect(),
            stack: hit.stack.as_ref().map(|stack| stack.iter().map(JsonFrame::from).collect()),
        }
    }
}
