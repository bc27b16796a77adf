//! Fields of an SVD's registers, and what their values mean.

use roxmltree::Node;
use svd_parser::Parse;
use svd_parser::svd::{BitRange, EnumeratedValue};

use crate::Field;
use crate::import::tree::{child, children, text};

use super::derive::Derived;
use super::{Import, MOST_LABELS};

impl<'a, 'i> Import<'a, 'i> {
    /// The fields in `node`, which is a `<fields>`.
    pub(super) fn fields(&mut self, node: Node<'a, 'i>, register: &str) -> Vec<Field> {
        let mut fields = Vec::new();
        for node in children(node, "field") {
            let Some(name) = text(node, "name") else {
                self.output.leave(self.line(node), register, "a field has no name", "");
                continue;
            };
            let line = self.line(node);
            if !self.output.has_room_for_field(line, register, fields.len()) {
                break;
            }
            let derived = self.names.derived(node);
            let full_name = format!("{register}.{name}");
            let ranges = derived.iter().map(|node| BitRange::parse(&node, &self.config));
            let range = ranges.reduce(|first, next| first.or(next));
            let Some(range) = range.and_then(|range| self.attempt(node, &full_name, range)) else { continue };
            let Some(high) = range.width.checked_sub(1).and_then(|more| range.offset.checked_add(more))
            else {
                let detail = format!("{} bits from bit {} on", range.width, range.offset);
                self.output.leave(self.line(node), &full_name, "its bits make no sense", detail);
                continue;
            };
            let mut field = Field::new(name, high, range.offset);
            field.description = derived.first_text("description").unwrap_or_default();
            self.values(&derived, &mut field, &full_name);
            self.spread(node, field, &full_name, &mut fields);
        }
        fields
    }

    /// The field, or each of an array of fields.
    fn spread(&mut self, node: Node<'a, 'i>, field: Field, full_name: &str, fields: &mut Vec<Field>) {
        if child(node, "dim").is_none() {
            return fields.push(field);
        }
        let Some(dim) = self.dimensions(node, full_name) else { return };
        for number in 0..dim.dim.min(64) {
            let label = match &dim.dim_index {
                Some(labels) => labels[number as usize].clone(),
                None => number.to_string(),
            };
            let step = number.saturating_mul(dim.dim_increment);
            let name = field.name.replace("%s", &label);
            let (high, low) = (field.high.saturating_add(step), field.low.saturating_add(step));
            fields.push(Field { name, high, low, ..field.clone() });
        }
    }

    /// What values of `field` mean.
    fn values(&mut self, derived: &Derived<'a, 'i>, field: &mut Field, full_name: &str) {
        let Some(given) = derived.iter().find(|node| child(*node, "enumeratedValues").is_some()) else {
            return;
        };
        for node in children(given, "enumeratedValues") {
            for node in self.names.derived(node).iter() {
                for value in children(node, "enumeratedValue") {
                    let line = self.line(value);
                    if !self.output.has_room_for_value(line, full_name, field.values.len()) {
                        return;
                    }
                    self.value(value, field, full_name);
                }
            }
        }
    }

    fn value(&mut self, node: Node<'a, 'i>, field: &mut Field, full_name: &str) {
        let written = text(node, "value").unwrap_or_default();
        if (written.starts_with('#') || written.starts_with("0b")) && written.contains(['x', 'X']) {
            let detail = format!("{written} stands for several");
            return self.output.leave(self.line(node), full_name, "a value is no single one", detail);
        }
        let read = EnumeratedValue::parse(&node, &self.config);
        let Some(EnumeratedValue { name, value: Some(value), .. }) = self.attempt(node, full_name, read)
        else {
            return;
        };
        field.values.entry(value).or_insert(name);
    }
}

/// Whether the names of an array's elements can be written out: the parser believes any range.
pub(super) fn check_labels(node: Node<'_, '_>) -> Result<(), String> {
    let Some(index) = text(node, "dimIndex") else { return Ok(()) };
    let range = index.split_once('-').and_then(|(first, last)| {
        let number = |text: &str| text.trim().parse::<u32>().ok();
        Some((number(first)?, number(last)?))
    });
    match range {
        Some((first, last)) if last.saturating_sub(first) >= MOST_LABELS => {
            Err(format!("more than {MOST_LABELS} names in {index}"))
        }
        _ => Ok(()),
    }
}
