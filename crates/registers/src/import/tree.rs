//! An XML file as a tree, with the line of each element.

use roxmltree::{Document, Node};

use super::{ImportError, Source};

/// An XML file.
pub(super) struct Tree<'a> {
    document: Document<'a>,
    /// Where each line begins, in bytes.
    lines: Vec<usize>,
}

impl<'a> Tree<'a> {
    /// Parses it. Entities of its own are not resolved: none of the formats has them.
    pub(super) fn parse(source: &'a Source) -> Result<Self, ImportError> {
        let text = source.text.trim_start_matches('\u{feff}');
        // What comes before the declaration is no XML, but some files have an empty line there.
        let text = text.trim_start();
        let skipped = source.text.len() - text.len();
        let document = Document::parse(text)
            .map_err(|error| ImportError::Xml { file: source.name.clone(), source: error })?;
        let before = source.text[..skipped].matches('\n').count();
        let mut lines = vec![0; before + 1];
        lines.extend(text.match_indices('\n').map(|(at, _)| at + 1));
        Ok(Self { document, lines })
    }

    /// The outermost element.
    pub(super) fn root(&self) -> Node<'_, 'a> {
        self.document.root_element()
    }

    /// The line that an element begins in, from 1.
    pub(super) fn line(&self, node: Node<'_, '_>) -> u32 {
        let line = self.lines.partition_point(|start| *start <= node.range().start);
        u32::try_from(line).unwrap_or(u32::MAX)
    }
}

/// The first element with this tag in `node`.
pub(super) fn child<'a, 'i>(node: Node<'a, 'i>, tag: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|child| child.has_tag_name(tag))
}

/// All elements with this tag in `node`.
pub(super) fn children<'a, 'i>(node: Node<'a, 'i>, tag: &'static str) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |child| child.has_tag_name(tag))
}

/// The text of an element in `node`, with single blanks; none if it is missing or empty.
pub(super) fn text(node: Node<'_, '_>, tag: &str) -> Option<String> {
    Some(words(child(node, tag)?.text()?)).filter(|text| !text.is_empty())
}

/// `text` with single blanks, on one line.
pub(super) fn words(text: &str) -> String {
    let words = text.split(|char: char| char.is_whitespace() || char.is_control());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}
