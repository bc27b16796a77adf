//! What a value is fetched as: the type that was asked for, or the one that the kernel's own type
//! information gives it, and what more is read for its sake.

use super::btf::Shape;
use super::fetch::{Fetch, Value};
use super::form::{Form, FormKind, MAX_ARRAY};
use super::lower::{Access, Lower, Path, Place};
use crate::mistake::Mistake;

/// A value that is known by its way and its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Typed {
    pub(super) path: Path,
    pub(super) form: Form,
}

/// The way to `value`, a part of `text`, and its type.
///
/// # Errors
/// What is not there, and a type that does not fit what is.
pub(super) fn typed(value: &Value, text: &str, place: &Place<'_>) -> Result<Typed, Mistake> {
    let lower = Lower { text, at: &value.fetch_at, place };
    let path = lower.path(&value.fetch)?;
    let typing = Typing { lower, value, path };
    match &value.form {
        Some(form) => typing.asked(form.clone()),
        None => typing.by_itself(),
    }
}

struct Typing<'a> {
    lower: Lower<'a>,
    value: &'a Value,
    path: Path,
}

impl Typing<'_> {
    /// What is fetched, as it is written.
    fn written(&self) -> &str {
        &self.lower.text[self.value.fetch_at.clone()]
    }

    fn error(&self, why: String) -> Mistake {
        Mistake { text: self.lower.text.into(), at: self.value.fetch_at.clone(), why }
    }

    fn wrong_form(&self, why: String) -> Mistake {
        Mistake { text: self.lower.text.into(), at: self.value.form_at.clone(), why }
    }

    fn done(self, form: Form) -> Result<Typed, Mistake> {
        Ok(Typed { path: self.path, form })
    }

    /// The type that the value has by itself.
    fn by_itself(mut self) -> Result<Typed, Mistake> {
        // By its place, whatever it is: as it is in the register.
        let shape = if matches!(self.value.fetch, Fetch::Parameter(_)) { None } else { self.path.shape };
        let form = match shape {
            Some(Shape::Integer { bytes, .. }) if self.path.bits.is_some() => self.bit_field(bytes)?,
            Some(Shape::Array { of, count, is_text: false }) => {
                let element = self.lower.place.types.ok().and_then(|types| types.shape(of).form());
                let Some(element) = element.and_then(Form::simple) else {
                    return Err(
                        self.error(format!("`{}` is an array: name one element, as in [0]", self.written()))
                    );
                };
                if !(1..=MAX_ARRAY).contains(&count) {
                    return Err(self.error(format!(
                        "`{}` is an array of {count}, and {MAX_ARRAY} can be fetched at once: name one element, as in [0], or say how many, as in :{}[{MAX_ARRAY}]",
                        self.written(),
                        element.text
                    )));
                }
                element.times(count)
            }
            Some(Shape::Structure(id)) => {
                let (name, members) = match self.lower.place.types {
                    Ok(types) => (types.spelled(id), types.members(id)),
                    Err(_) => ("a structure".into(), Vec::new()),
                };
                return Err(self.error(format!(
                    "`{}` is {name}: name a member of it, as in .{}",
                    self.written(),
                    members.first().map_or("MEMBER", String::as_str)
                )));
            }
            _ => {
                let name = shape.and_then(Shape::form).unwrap_or("x64");
                Form::simple(name).unwrap_or_else(|| unreachable!("{name} is a type"))
            }
        };
        if let (FormKind::Text { .. }, Some(Shape::Pointer { .. })) = (form.kind, shape) {
            self.path.read(0);
        }
        self.done(form)
    }

    /// A bit field of a type of so many bytes: what holds it is read in its own place, so that
    /// nothing outside of its structure is.
    fn bit_field(&mut self, bytes: u8) -> Result<Form, Mistake> {
        let (bit, width) = self.path.bits.take().unwrap_or_default();
        let whole = |bytes: u8| (1..=8 * bytes).contains(&width);
        let Some(Access { offset, .. }) = self.path.accesses.last_mut() else {
            unreachable!("it lies in memory")
        };
        let inside = offset.rem_euclid(bytes.into());
        let shift = 8 * inside as u8 + bit;
        if whole(bytes) && shift + width <= 8 * bytes {
            *offset = offset.wrapping_sub(inside);
            return Ok(Form::bits(width, shift, bytes));
        }
        // In a packed structure.
        if whole(8) && bit + width <= 64 {
            return Ok(Form::bits(width, bit, 8));
        }
        Err(self
            .error(format!("the bit field `{}` lies across two words: it can't be fetched", self.written())))
    }

    /// The type that was asked for.
    fn asked(mut self, form: Form) -> Result<Typed, Mistake> {
        if let FormKind::Name { of_file } = form.kind {
            return self.name(of_file);
        }
        let is_text = matches!(form.kind, FormKind::Text { .. });
        let is_row = form.count.is_some();
        let is_parameter = matches!(self.value.fetch, Fetch::Named(_));
        match self.path.shape {
            // What points to a text stands for it; and a parameter that points to an array.
            Some(Shape::Pointer { .. }) if is_text || is_row && is_parameter => self.path.read(0),
            Some(Shape::Pointer { .. })
                if is_row && !matches!(self.value.fetch, Fetch::Parameter(_) | Fetch::ReturnValue) =>
            {
                return Err(self.wrong_form(format!(
                    "`{0}` is a pointer: of what it points to write {0}[0]:{1}",
                    self.written(),
                    form.text
                )));
            }
            Some(Shape::Integer { bytes, .. }) if is_text || is_row && is_parameter => {
                let name = self.written();
                let mut why = format!(
                    "`{name}` is an integer of {bytes} bytes, not a pointer: its type can't be {}",
                    form.text
                );
                if bytes == 8 {
                    why.push_str(&format!("; if it holds an address, write +0({name}):{}", form.text));
                }
                return Err(self.wrong_form(why));
            }
            _ => {}
        }
        if self.path.accesses.is_empty() && (is_text || is_row) {
            let what = if is_text { "a string" } else { "an array" };
            return Err(self.wrong_form(format!(
                "{what} lies in memory: write +0({}):{}",
                self.written(),
                form.text
            )));
        }
        self.done(form)
    }

    /// The name that a dentry, or a file's, has.
    fn name(mut self, of_file: bool) -> Result<Typed, Mistake> {
        let structure = if of_file { "file" } else { "dentry" };
        let types = self.lower.place.types;
        if let (Some(Shape::Pointer { to: Some(to), .. }), Ok(types)) = (self.path.shape, types) {
            let wanted = types.structure(structure).map(Shape::Structure);
            if wanted.is_some() && Some(types.shape(to)) != wanted {
                return Err(self.wrong_form(format!(
                    "`{}` points to {}, and this type is for a struct {structure}",
                    self.written(),
                    types.spelled(to)
                )));
            }
        }
        let mut path = self.path.clone();
        if of_file {
            self.lower.follow(&mut path, "file", &["f_path", "dentry"])?;
        }
        self.lower.follow(&mut path, "dentry", &["d_name", "name"])?;
        path.read(0);
        self.path = path;
        let form = Form::simple("string").unwrap_or_else(|| unreachable!("it is a type"));
        self.done(form)
    }
}
