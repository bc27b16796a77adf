//! What was read or written.

/// A value of 1 to 64 bytes, lowest address first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Value {
    bytes: [u8; Self::MAX],
    width: u8,
}

impl Value {
    /// Bytes of the widest value.
    pub const MAX: usize = 64;

    /// The value with these bytes, lowest address first; `None` if there are none or too many.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() || bytes.len() > Self::MAX {
            return None;
        }
        let mut all = [0; Self::MAX];
        all[..bytes.len()].copy_from_slice(bytes);
        Some(Self { bytes: all, width: bytes.len() as u8 })
    }

    /// The low `width` bytes of `value`; `None` if `width` is not 1 to 8.
    pub fn from_u64(value: u64, width: u8) -> Option<Self> {
        if width > 8 {
            return None;
        }
        Self::new(&value.to_le_bytes()[..usize::from(width)])
    }

    /// Its bytes, lowest address first.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.width)]
    }

    /// Its low 8 bytes as a number; the whole value if it is not wider.
    pub fn low(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.bytes;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

impl std::fmt::Display for Value {
    /// As one little-endian number with all its digits: `0x0000beef` for 4 bytes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("0x")?;
        self.bytes().iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_reads_as_one_little_endian_number_with_all_its_digits() {
        assert_eq!(Value::from_u64(0xbeef, 4).unwrap().to_string(), "0x0000beef");
        assert_eq!(Value::from_u64(0x1234, 1).unwrap().to_string(), "0x34");
        let wide: Vec<u8> = (0..16).collect();
        assert_eq!(Value::new(&wide).unwrap().to_string(), "0x0f0e0d0c0b0a09080706050403020100");
        assert_eq!(Value::new(&wide).unwrap().low(), 0x0706_0504_0302_0100);
    }

    #[test]
    fn a_value_has_1_to_64_bytes() {
        assert_eq!(Value::new(&[]), None);
        assert_eq!(Value::new(&[0; 65]), None);
        assert_eq!(Value::from_u64(0, 9), None);
        assert_eq!(Value::new(&[1; 64]).unwrap().bytes().len(), 64);
    }
}
