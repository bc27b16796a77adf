//! Which devices a register file describes.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::Identity;

/// A kind of devices: all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Vendor id.
    pub vendor: Option<u16>,
    /// Any of these device ids.
    pub devices: Option<Vec<u16>>,
    /// Class, subclass and programming interface.
    pub class: Option<u32>,
    /// The driver's name.
    pub driver: Option<String>,
}

impl Match {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn holds(&self, device: &Identity<'_>) -> bool {
        self.vendor.is_none_or(|vendor| vendor == device.vendor)
            && self.devices.as_ref().is_none_or(|devices| devices.contains(&device.device))
            && self.class.is_none_or(|class| class == device.class)
            && self.driver.as_ref().is_none_or(|driver| Some(&**driver) == device.driver)
    }
}

/// As a person types it, and reads it back.
impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        match (self.vendor, &self.devices) {
            (vendor, Some(devices)) => {
                let devices: Vec<String> = devices.iter().map(|device| format!("{device:04x}")).collect();
                let vendor = vendor.map_or("*".into(), |vendor| format!("{vendor:04x}"));
                words.push(format!("{vendor}:{}", devices.join(",")));
            }
            (Some(vendor), None) => words.push(format!("{vendor:04x}")),
            (None, None) => {}
        }
        words.extend(self.class.map(|class| format!("class={class:#08x}")));
        words.extend(self.driver.as_ref().map(|driver| format!("driver={driver}")));
        f.write_str(&words.join(" "))
    }
}

/// `8086:10d3`, `8086:10d3,10f6`, `8086`, `class=0x010802`, `driver=e1000e`.
impl FromStr for Match {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            format!(
                "`{text}` names no devices: {what}; expected VENDOR:DEVICE[,DEVICE...] in hexadecimal as lspci -n \
                 prints it, class=0x010802 or driver=NAME"
            )
        };
        let id = |digits: &str, most: usize| {
            let is_hex = (1..=most).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_hexdigit());
            u32::from_str_radix(digits, 16)
                .ok()
                .filter(|_| is_hex)
                .ok_or_else(|| wrong(&format!("`{digits}` is no number of 1 to {most} hexadecimal digits")))
        };
        if let Some(class) = text.strip_prefix("class=") {
            let class = id(class.strip_prefix("0x").unwrap_or(class), 6)?;
            return Ok(Self { class: Some(class), ..Self::default() });
        }
        if let Some(driver) = text.strip_prefix("driver=") {
            if driver.is_empty() {
                return Err(wrong("the driver has no name"));
            }
            return Ok(Self { driver: Some(driver.into()), ..Self::default() });
        }
        let (vendor, devices) =
            text.split_once(':').map_or((text, None), |(vendor, rest)| (vendor, Some(rest)));
        let id = |digits: &str| id(digits, 4).map(|id| id as u16);
        let devices = devices.map(|devices| devices.split(',').map(id).collect::<Result<_, _>>());
        Ok(Self { vendor: Some(id(vendor)?), devices: devices.transpose()?, ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_read_as_they_are_typed() {
        for text in ["8086:10d3", "8086:10d3,10f6", "1234", "class=0x010802", "driver=e1000e"] {
            assert_eq!(text.parse::<Match>().unwrap().to_string(), text);
        }
        for text in
            ["", ":", "8086:", "8086:10d3,", "x:1", "18086", "+1", "class=", "driver=", "class=0x1234567"]
        {
            let error = text.parse::<Match>().unwrap_err();
            assert!(error.starts_with(&format!("`{text}` names no devices: ")), "{error}");
        }
    }
}
