//! The names that steps know, and how others are told from them at a glance.

use super::path::Path;
use super::step::Step;

/// Names of fields at the top of items.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Names {
    /// The bits of all names: most other names have none of these.
    mask: u64,
    /// The names of each bit; empty without any.
    by_bit: Vec<Vec<Known>>,
}

/// A name that steps know.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known {
    pub(super) name: String,
    /// The first step that knows it drops the field.
    pub(super) dropped: bool,
}

/// Made of a name's length and first letter.
fn bit(name: &[u8]) -> usize {
    let first = name.first().map_or(0, |first| usize::from(*first));
    (name.len() * 7 + first) % 64
}

impl Names {
    /// The names that steps know; `None` where a step may need any.
    pub(super) fn of(steps: &[Step]) -> Option<Self> {
        let mut names = Self::default();
        for step in steps {
            for name in step.names()? {
                let drops = |path: &Path| path.rest.is_empty() && path.top == name;
                names.insert(name, matches!(step, Step::Drop(paths) if paths.iter().any(drops)));
            }
        }
        Some(names)
    }

    /// What was said of a name first stands.
    fn insert(&mut self, name: &str, dropped: bool) {
        let bit = bit(name.as_bytes());
        self.mask |= 1 << bit;
        self.by_bit.resize(64, Vec::new());
        match self.by_bit.get_mut(bit) {
            Some(same) if !same.iter().any(|own| own.name == name) => {
                same.push(Known { name: name.to_owned(), dropped })
            }
            _ => {}
        }
    }

    /// Whether it is certainly none of them.
    #[inline]
    pub(super) fn lack(&self, name: &[u8]) -> bool {
        self.mask & 1 << bit(name) == 0
    }

    /// The name that has these bytes.
    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> Option<&Known> {
        self.by_bit.get(bit(name))?.iter().find(|own| own.name.as_bytes() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_others_are_not() {
        fn find<'n>(names: &'n Names, name: &str) -> Option<&'n str> {
            names.find(name.as_bytes()).map(|known| known.name.as_str())
        }
        let mut names = Names::default();
        assert_eq!((find(&names, "a"), find(&names, ""), names.lack(b"a")), (None, None, true));
        // `d` and a name of one letter more that begins with `]` have the same bit.
        for name in ["a", "b", "größe", "", "d", "]x", "a"] {
            names.insert(name, false);
            assert_eq!((find(&names, name), names.lack(name.as_bytes())), (Some(name), false));
        }
        assert_eq!((find(&names, "]y"), names.lack(b"]y")), (None, false));
        assert_eq!((find(&names, "c"), names.lack(b"c")), (None, true));
    }
}
