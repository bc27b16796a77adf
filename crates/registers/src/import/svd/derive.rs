//! Elements that are like another but for what they say themselves (`derivedFrom`).

use std::collections::HashMap;

use roxmltree::Node;
use svd_parser::Parse;

use crate::import::tree::{Tree, child, text, words};

/// Elements from which one is derived at most: more is a circle.
const MOST: usize = 8;

/// Elements that have names.
pub(super) struct Names<'a, 'i> {
    all: HashMap<(&'a str, &'a str), Vec<Node<'a, 'i>>>,
}

impl<'a, 'i> Names<'a, 'i> {
    /// Of a whole file.
    pub(super) fn of(tree: &'a Tree<'i>) -> Self {
        let mut all: HashMap<_, Vec<_>> = HashMap::new();
        for node in tree.root().descendants().filter(Node::is_element) {
            if let Some(name) = child(node, "name").and_then(|name| name.text()) {
                all.entry((node.tag_name().name(), name.trim())).or_default().push(node);
            }
        }
        Self { all }
    }

    /// `node` and what it is derived from, and that in turn.
    pub(super) fn derived(&self, node: Node<'a, 'i>) -> Derived<'a, 'i> {
        let mut nodes = vec![node];
        let mut last = node;
        while let Some(next) = self.base(last).filter(|next| nodes.len() < MOST && !nodes.contains(next)) {
            nodes.push(next);
            last = next;
        }
        Derived(nodes)
    }

    /// What `node` is derived from: `NAME` of the same block if there is one, or
    /// `PERIPHERAL.CLUSTER.NAME` from any part on.
    fn base(&self, node: Node<'a, 'i>) -> Option<Node<'a, 'i>> {
        let mut path = node.attribute("derivedFrom")?.trim().rsplit('.');
        let name = path.next()?;
        let around: Vec<&str> = path.collect();
        let is_there = |found: &&Node<'a, 'i>| {
            let mut names = found.ancestors().skip(1).filter_map(|node| text(node, "name"));
            **found != node && around.iter().all(|part| names.next().as_deref() == Some(*part))
        };
        let found = || self.all.get(&(node.tag_name().name(), name)).into_iter().flatten().filter(is_there);
        let same_block = |found: &&Node<'a, 'i>| found.ancestors().nth(2) == node.ancestors().nth(2);
        let same_parent = |found: &&Node<'a, 'i>| found.parent() == node.parent();
        found().find(same_parent).or_else(|| found().find(same_block)).or_else(|| found().next()).copied()
    }
}

/// An element, and those that say what it doesn't say itself.
#[derive(Clone)]
pub(super) struct Derived<'a, 'i>(Vec<Node<'a, 'i>>);

impl<'a, 'i> Derived<'a, 'i> {
    /// One that is derived from none.
    pub(super) fn of(node: Node<'a, 'i>) -> Self {
        Self(vec![node])
    }

    /// The element.
    pub(super) fn itself(&self) -> Node<'a, 'i> {
        self.0[0]
    }

    /// It and what it is derived from.
    pub(super) fn iter(&self) -> impl Iterator<Item = Node<'a, 'i>> + '_ {
        self.0.iter().copied()
    }

    /// The first that has a part of this name.
    pub(super) fn first(&self, tag: &str) -> Option<Node<'a, 'i>> {
        self.iter().find_map(|node| child(node, tag))
    }

    /// The text of that.
    pub(super) fn first_text(&self, tag: &str) -> Option<String> {
        Some(words(self.first(tag)?.text()?)).filter(|text| !text.is_empty())
    }

    /// The number in that.
    pub(super) fn number(&self, tag: &str) -> Result<u64, NumberError> {
        let node = self.first(tag).ok_or_else(|| NumberError::Missing(tag.into()))?;
        let wrong = |_| NumberError::Number { tag: tag.into(), text: words(node.text().unwrap_or_default()) };
        u64::parse(&node, &()).map_err(wrong)
    }
}

/// Why there is no number.
#[derive(Debug, thiserror::Error)]
pub(super) enum NumberError {
    /// It is not given.
    #[error("there is no <{0}>")]
    Missing(String),
    /// It is something else.
    #[error("<{tag}> is no number: {text:?}")]
    Number {
        /// Where it would be.
        tag: String,
        /// What is there.
        text: String,
    },
}
