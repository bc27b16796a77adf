//! Where registers lie that are in arrays of blocks of arrays.
//!
//! A register file has arrays of one dimension. So the innermost array stays one, and those around
//! it are written out: `UNIT[0].LANE`, `UNIT[1].LANE`, each of so many elements.

use crate::Register;

/// Where the index of the array goes in a name.
pub(super) const INDEX: &str = "{}";

/// Places that are made of one at most.
const MOST: usize = 4096;

/// Elements at the same distance from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Array {
    /// How many.
    pub count: u32,
    /// Bytes from one to the next.
    pub stride: u64,
}

/// Where something lies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// What its name begins with.
    pub name: String,
    /// Its first byte.
    pub offset: u64,
    /// Whether it is there several times; then [`INDEX`] is in the name.
    pub array: Option<Array>,
}

/// What lies in a place.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Its name, with [`INDEX`] for the index if it is an array.
    pub name: String,
    /// Bytes from the place's first.
    pub offset: u64,
    /// Whether it is there several times.
    pub array: Option<Array>,
    /// What its elements are called if not 0, 1, 2 and so on.
    pub labels: Option<Vec<String>>,
}

impl Place {
    /// The places of a part of this one; why there are none.
    pub(super) fn enter(&self, part: &Part) -> Result<Vec<Self>, &'static str> {
        let Some(array) = part.array else { return Ok(vec![self.at(&part.name, part.offset)?]) };
        if let Some(labels) = &part.labels {
            let elements = labels.iter().zip(0..u64::from(array.count)).map(|(label, number)| {
                let offset =
                    number.checked_mul(array.stride).and_then(|offset| offset.checked_add(part.offset));
                self.at(&part.name.replace(INDEX, label), offset.ok_or(PAST_THE_END)?)
            });
            return elements.collect();
        }
        let name =
            if part.name.contains(INDEX) { part.name.clone() } else { format!("{}[{INDEX}]", part.name) };
        let places = self.each()?.into_iter().map(|place| {
            let place = place.at(&name, part.offset)?;
            Ok(match array.count {
                1 => Self { name: place.name.replace(INDEX, "0"), ..place },
                _ => Self { array: Some(array), ..place },
            })
        });
        places.collect()
    }

    /// A part that is there once.
    fn at(&self, name: &str, offset: u64) -> Result<Self, &'static str> {
        let name = if self.name.is_empty() { name.to_owned() } else { format!("{}.{name}", self.name) };
        Ok(Self { name, offset: self.offset.checked_add(offset).ok_or(PAST_THE_END)?, array: self.array })
    }

    /// Each element, a place of its own.
    fn each(&self) -> Result<Vec<Self>, &'static str> {
        let Some(Array { count, stride }) = self.array else { return Ok(vec![self.clone()]) };
        if count as usize > MOST {
            return Err("an array of too many blocks");
        }
        let element = |index: u32| {
            let offset =
                u64::from(index).checked_mul(stride).and_then(|offset| offset.checked_add(self.offset));
            let name = self.name.replace(INDEX, &index.to_string());
            Ok(Self { name, offset: offset.ok_or(PAST_THE_END)?, array: None })
        };
        (0..count).map(element).collect()
    }

    /// The register, or the array of them, that is here.
    pub(super) fn register(self, width: u8) -> Register {
        let name = self.name.strip_suffix("[{}]").map(ToOwned::to_owned).filter(|name| !name.contains(INDEX));
        let mut register = Register::new(name.unwrap_or(self.name), self.offset, width);
        if let Some(Array { count, stride }) = self.array {
            register.count = count;
            register.stride = Some(stride);
        }
        register
    }
}

const PAST_THE_END: &str = "it lies past the end of all addresses";

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, offset: u64, count: u32, stride: u64) -> Part {
        Part { name: name.into(), offset, array: Some(Array { count, stride }), labels: None }
    }

    #[test]
    fn the_innermost_array_stays_one() {
        let units = Place::default().enter(&part("UNIT", 0x1000, 2, 0x100)).unwrap();
        assert_eq!(units.len(), 1);
        let lanes = units[0].enter(&part("LANE{}_CTL", 0x10, 3, 8)).unwrap();
        let registers: Vec<Register> = lanes.into_iter().map(|place| place.register(4)).collect();
        let told: Vec<_> = registers.iter().map(|r| (&*r.name, r.offset, r.count, r.stride())).collect();
        assert_eq!(told, [("UNIT[0].LANE{}_CTL", 0x1010, 3, 8), ("UNIT[1].LANE{}_CTL", 0x1110, 3, 8)]);
        let one = Part { array: None, ..part("STATUS", 4, 1, 0) };
        let status = units[0].enter(&one).unwrap().remove(0).register(4);
        assert_eq!(status.element_name(1), "UNIT[1].STATUS");
        assert_eq!((status.offset, status.count, status.stride()), (0x1004, 2, 0x100));
    }

    #[test]
    fn elements_with_names_of_their_own_are_written_out() {
        let labels = Some(vec!["A".into(), "B".into()]);
        let ports = Place::default().enter(&Part { labels, ..part("PORT{}", 0, 2, 0x10) }).unwrap();
        let told: Vec<_> = ports.iter().map(|place| (&*place.name, place.offset)).collect();
        assert_eq!(told, [("PORTA", 0), ("PORTB", 0x10)]);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let place = Place::default().enter(&part("A", 8, u32::MAX, u64::MAX / 2)).unwrap().remove(0);
        assert!(place.enter(&part("B", 0, 2, 4)).is_err());
        let place = Place::default().enter(&part("A", 8, 9, u64::MAX / 2)).unwrap().remove(0);
        assert_eq!(place.enter(&part("B", 0, 2, 4)).unwrap_err(), PAST_THE_END);
    }
}
