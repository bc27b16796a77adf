//! Bit fields and values of rnndb's registers.

use roxmltree::Node;

use crate::Field;

use super::{Import, children, description, number};

/// Types that are no bitset and no enum.
const TYPES: [&str; 10] =
    ["uint", "int", "hex", "float", "boolean", "fixed", "ufixed", "address", "waddress", "enum"];

impl<'n> Import<'_, 'n> {
    /// The fields of a register: its own, then those of the bitset that it is of.
    pub(super) fn fields(
        &mut self,
        file: usize,
        node: Node<'n, 'n>,
        register: &str,
        width: u8,
    ) -> Vec<Field> {
        let mut fields = Vec::new();
        self.bits(file, node, register, &mut fields);
        let named = node.attribute("type").filter(|name| !TYPES.contains(name));
        if let Some(name) = named {
            for &(file, bitset) in self.named.get("bitset", name) {
                self.bits(file, bitset, register, &mut fields);
            }
        }
        if fields.is_empty() {
            // A register that is one value.
            let mut field = Field::new("VALUE", u32::from(width) * 8 - 1, 0);
            self.values(file, node, &mut field, register);
            if !field.values.is_empty() {
                fields.push(field);
            }
        }
        fields
    }

    /// The bit fields in `node`.
    fn bits(&mut self, file: usize, node: Node<'n, 'n>, register: &str, fields: &mut Vec<Field>) {
        for node in children(node, "bitfield") {
            let name = node.attribute("name").unwrap_or_default();
            let full_name = format!("{register}.{name}");
            if !self.variants.has(node) {
                let of = node.attribute("variants").unwrap_or_default();
                self.leave(file, node, &full_name, "it is of other variants", of);
                continue;
            }
            let bit = |attribute: &str| {
                node.attribute(attribute).and_then(number).and_then(|bit| u32::try_from(bit).ok())
            };
            let (high, low) = (bit("high").or(bit("pos")), bit("low").or(bit("pos")));
            let (Some(high), Some(low)) = (high, low) else {
                self.leave(
                    file,
                    node,
                    &full_name,
                    "it is not as the format has it",
                    "there is no low, high or pos",
                );
                continue;
            };
            let line = self.line(file, node);
            if !self.output.has_room_for_field(line, &full_name, fields.len()) {
                return;
            }
            let mut field = Field::new(name, high, low);
            field.description = description(node);
            self.values(file, node, &mut field, &full_name);
            fields.push(field);
        }
    }

    /// What values of a field mean: its own, then those of the enum that it is of.
    fn values(&mut self, file: usize, node: Node<'n, 'n>, field: &mut Field, full_name: &str) {
        let named = node.attribute("type").filter(|name| !TYPES.contains(name));
        let enums = named.map(|name| self.named.get("enum", name)).unwrap_or_default();
        for (file, node) in std::iter::once((file, node)).chain(enums.iter().copied()) {
            // A value without a number is one more than that before it.
            let mut next = 0_u64;
            for value in children(node, "value") {
                let number = match value.attribute("value") {
                    Some(text) => number(text),
                    None => Some(next),
                };
                let (Some(number), Some(name)) = (number, value.attribute("name")) else { continue };
                let line = self.line(file, value);
                if !self.output.has_room_for_value(line, full_name, field.values.len()) {
                    return;
                }
                next = number.wrapping_add(1);
                if self.variants.has(value) {
                    field.values.entry(number).or_insert_with(|| name.to_owned());
                }
            }
        }
    }
}
