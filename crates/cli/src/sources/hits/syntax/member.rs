//! Members of what pointers point to, and what is said of pointers whose type is not known:
//! `file->f_path.dentry`, `(sk_buff)%di->len`.

use std::ops::Range;

use super::{Cursor, Fetch, MAX_DEPTH, is_name, is_of_name};
use crate::mistake::Mistake;
use crate::sources::hits::fetch::{Cast, Link, To};

impl Cursor<'_> {
    /// What to fetch, with members of it.
    pub(super) fn fetch(&mut self) -> Result<Fetch, Mistake> {
        let start = self.at;
        let mut cast = self.cast()?;
        let open = self.at;
        // As in the kernel's probe events, what is cast is in parentheses if it is more than a
        // word; a second cast too.
        let mut fetch = if cast.is_some() && self.take('(') {
            let fetch = self.within(start..open, |cursor| cursor.fetch())?;
            self.close(open, &fetch)?;
            fetch
        } else {
            self.simple()?
        };
        let outside = self.depth;
        loop {
            let at = self.at;
            let links = self.links()?;
            if links.is_empty() {
                break;
            }
            self.deeper(at..self.at)?;
            fetch = Fetch::Member { base: Box::new(fetch), cast: cast.take(), links };
        }
        self.depth = outside;
        match cast {
            None => Ok(fetch),
            Some(_) => Err(self.error(
                start..open,
                "a type is said for the sake of a member: expected ->MEMBER behind what it is said of, as in (sk_buff)%di->len",
            )),
        }
    }

    /// One level deeper, for what stands at `at`: what is parsed here, and walked and dropped
    /// later, recurses for each.
    fn deeper(&mut self, at: Range<usize>) -> Result<(), Mistake> {
        if self.depth == MAX_DEPTH {
            let why = format!(
                "this is nested too deep: expected no more than {MAX_DEPTH} of +OFFSET(…) and ->MEMBER in each other"
            );
            return Err(self.error(at, why));
        }
        self.depth += 1;
        Ok(())
    }

    /// What `parse` reads, one level deeper, behind what stands at `at`.
    pub(super) fn within<T>(
        &mut self,
        at: Range<usize>,
        parse: impl FnOnce(&mut Self) -> Result<T, Mistake>,
    ) -> Result<T, Mistake> {
        self.deeper(at)?;
        let parsed = parse(self)?;
        self.depth -= 1;
        Ok(parsed)
    }

    /// `(STRUCT)` or `(STRUCT,FIELD)`, if it is there; also as C writes it: `(struct sk_buff *)`.
    fn cast(&mut self) -> Result<Option<Cast>, Mistake> {
        let open = self.at;
        if !self.take('(') {
            return Ok(None);
        }
        let (mut structure, mut at) = self.word(is_of_name);
        if matches!(structure, "struct" | "union") && self.take(' ') {
            (structure, at) = self.word(is_of_name);
        }
        if structure.is_empty() {
            return Err(self.here("expected a structure's name behind (, as in (sk_buff)%di->len"));
        }
        self.word(|c| matches!(c, ' ' | '*'));
        let mut field = Vec::new();
        if self.take(',') {
            field.push(self.field()?);
            self.further(&mut field)?;
        }
        if !self.take(')') {
            return Err(match self.rest() {
                "" => self.error(open..open + 1, "this ( is not closed"),
                _ => self.here("expected ), or `,` and a field of the structure"),
            });
        }
        Ok(Some(Cast { structure: structure.into(), at, field }))
    }

    /// The way to a member, if one follows.
    fn links(&mut self) -> Result<Vec<Link>, Mistake> {
        let mut links = Vec::new();
        if self.rest().starts_with("->") {
            self.at += 2;
            links.push(self.field()?);
        } else if self.rest().starts_with('[') {
            links.push(self.element()?);
        } else {
            return Ok(links);
        }
        self.further(&mut links)?;
        Ok(links)
    }

    /// What is in place of what `links` lead to.
    fn further(&mut self, links: &mut Vec<Link>) -> Result<(), Mistake> {
        loop {
            if self.take('.') {
                links.push(self.field()?);
            } else if self.rest().starts_with('[') {
                links.push(self.element()?);
            } else {
                return Ok(());
            }
        }
    }

    fn field(&mut self) -> Result<Link, Mistake> {
        let (name, at) = self.word(is_of_name);
        if name.is_empty() {
            return Err(self.here("expected a member's name"));
        }
        if !is_name(name) {
            return Err(self.error(at, "a member's name does not begin with a digit"));
        }
        Ok(Link { to: To::Field(name.into()), at })
    }

    /// `[N]`.
    fn element(&mut self) -> Result<Link, Mistake> {
        let start = self.at;
        self.at += 1;
        let number = self.number()?;
        let at = start..self.at;
        let number = u32::try_from(number).map_err(|_| self.error(at, "this is more than any array has"))?;
        if !self.take(']') {
            return Err(match self.rest() {
                "" => self.error(start..start + 1, "this [ is not closed"),
                _ => self.here("expected ]"),
            });
        }
        Ok(Link { to: To::Element(number), at: start..self.at })
    }
}
