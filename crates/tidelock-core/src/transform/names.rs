//! The names that steps know, and how others are told from them at a glance.

/// Names of fields at the top of items.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Names {
    /// The bits of all names: most other names have none of these.
    mask: u64,
    /// The names of each bit; empty without any.
    by_bit: Vec<Vec<String>>,
}

/// Made of a name's length and first letter.
fn bit(name: &[u8]) -> usize {
    let first = name.first().map_or(0, |first| usize::from(*first));
    (name.len() * 7 + first) % 64
}

impl Names {
    pub(super) fn insert(&mut self, name: &str) {
        let bit = bit(name.as_bytes());
        self.mask |= 1 << bit;
        self.by_bit.resize(64, Vec::new());
        match self.by_bit.get_mut(bit) {
            Some(same) if !same.iter().any(|own| own == name) => same.push(name.to_owned()),
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
    pub(super) fn find(&self, name: &[u8]) -> Option<&str> {
        self.by_bit.get(bit(name))?.iter().find(|own| own.as_bytes() == name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_others_are_not() {
        let mut names = Names::default();
        assert_eq!((names.find(b"a"), names.find(b""), names.lack(b"a")), (None, None, true));
        // `d` and a name of one letter more that begins with `]` have the same bit.
        for name in ["a", "b", "größe", "", "d", "]x", "a"] {
            names.insert(name);
            assert_eq!((names.find(name.as_bytes()), names.lack(name.as_bytes())), (Some(name), false));
        }
        assert_eq!((names.find(b"]y"), names.lack(b"]y")), (None, false));
        assert_eq!((names.find(b"c"), names.lack(b"c")), (None, true));
    }
}
