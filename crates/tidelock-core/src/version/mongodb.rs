//! MongoDB and DocumentDB: the cluster time of a change event.
//!
//! All events of one transaction share it, and several of them may be of one key; the token, the event's `_id._data`, tells
//! them apart. Tokens are compared for equality alone: that of equal times the later delivered one is the newer is for the
//! one who judges to know.

use super::{Exact, Position, Refusal, fixed, integer};

/// First part of the space.
pub const KIND: &str = "mongodb";

/// What a DocumentDB cluster is called in versions, from its ARN, `arn:PARTITION:rds:REGION:ACCOUNT:cluster:NAME`: `NAME.REGION`.
#[must_use]
pub fn cluster_of_arn(arn: &str) -> Option<String> {
    let mut parts = arn.split(':');
    let (scheme, _partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (region, _account, kind, name) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let named = scheme == "arn" && service == "rds" && kind == "cluster" && parts.next().is_none();
    (named && !region.is_empty() && !name.is_empty()).then(|| format!("{name}.{region}"))
}

/// The same from one of the cluster's endpoints, `NAME.cluster-ID.REGION.docdb.amazonaws.com`, with or without a port; `None` of
/// other hosts, also of a single instance's.
#[must_use]
pub fn cluster_of_host(host: &str) -> Option<String> {
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let mut parts = host.split('.');
    let (name, id, region, service) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let domain = matches!((parts.next(), parts.next()), (Some("amazonaws"), Some("com")));
    let named = !name.is_empty() && id.starts_with("cluster-") && service == "docdb" && domain;
    named.then(|| format!("{name}.{region}"))
}

/// The space of a collection; `cluster` is a host, a set of hosts or a name that the operator has given.
#[must_use]
pub fn space(cluster: &str, database: &str, collection: &str) -> String {
    format!("{KIND}:{cluster}:{database}.{collection}")
}

/// `clusterTime`: a BSON timestamp of seconds since 1970 (`t`) and an ordinal within the second (`i`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClusterTime {
    coarse: i64,
    exact: Exact,
}

impl ClusterTime {
    /// A time of its two parts.
    ///
    /// # Errors
    /// When `t` is 0, as in a timestamp that is none, or has 32 bits, which is after January 2038.
    pub fn new(t: u32, i: u32) -> Result<Self, Refusal> {
        if t == 0 {
            return Err(Refusal::new("the cluster time is 0"));
        }
        let whole = (u64::from(t) << 32) | u64::from(i);
        match i64::try_from(whole) {
            Ok(coarse) => Ok(Self { coarse, exact: Exact::number(whole) }),
            Err(_) => Err(Refusal::new("the cluster time's seconds do not fit 31 bits")),
        }
    }

    /// Reads the parts of [extended JSON](https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md)'s
    /// `$timestamp`.
    ///
    /// # Errors
    /// When one is missing or no number of 32 bits, and as [`new`](Self::new) does.
    pub fn parse(t: Option<&str>, i: Option<&str>) -> Result<Self, Refusal> {
        Self::new(
            short("clusterTime.t", integer("clusterTime.t", t)?)?,
            short("clusterTime.i", integer("clusterTime.i", i)?)?,
        )
    }

    /// Milliseconds since 1970, as far as whole seconds tell.
    #[must_use]
    pub fn at(&self) -> i64 {
        (self.coarse >> 32) * 1_000
    }
}

/// A number of 32 bits.
pub(super) fn short(name: &str, number: u64) -> Result<u32, Refusal> {
    u32::try_from(number).map_err(|_| Refusal::of(name, &number.to_string(), "does not fit 32 bits"))
}

impl Position for ClusterTime {
    fn exact(&self) -> &str {
        self.exact.as_str()
    }

    fn coarse(&self) -> i64 {
        self.coarse
    }
}

/// The coarse version of what is stored.
pub(super) fn coarse(label: &str, exact: &str) -> Option<i64> {
    let whole = i64::try_from(fixed(exact, 20)?).ok()?;
    (label.is_empty() && whole >> 32 > 0).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::tests::{agrees, refuses};
    use proptest::prelude::*;

    fn time(t: u32, i: u32) -> ClusterTime {
        ClusterTime::new(t, i).expect("in range")
    }

    proptest! {
        #[test]
        fn order_is_seconds_then_ordinal(ta in 1u32..1 << 31, tb in 1u32..1 << 31, ia in any::<u32>(), ib in any::<u32>()) {
            let space = space("rs0", "shop", "orders");
            for tb in [tb, ta] {
                let (a, b) = (time(ta, ia), time(tb, ib));
                agrees(&space, &a, &b)?;
                prop_assert_eq!(a.exact().cmp(b.exact()), (ta, ia).cmp(&(tb, ib)));
                prop_assert_eq!(a.coarse().cmp(&b.coarse()), (ta, ia).cmp(&(tb, ib)));
                prop_assert_eq!(a.at(), i64::from(ta) * 1_000);
            }
        }
    }

    #[test]
    fn a_cluster_has_one_name() {
        let arn = "arn:aws:rds:us-east-1:123456789012:cluster:shop";
        assert_eq!(cluster_of_arn(arn).as_deref(), Some("shop.us-east-1"));
        for host in [
            "shop.cluster-c1a2b3.us-east-1.docdb.amazonaws.com:27017",
            "shop.cluster-ro-c1a2b3.us-east-1.docdb.amazonaws.com",
            "shop.cluster-c1a2b3.us-east-1.docdb.amazonaws.com.cn:27017",
        ] {
            assert_eq!(cluster_of_host(host).as_deref(), Some("shop.us-east-1"), "{host}");
        }
        for host in ["shop.c1a2b3.us-east-1.docdb.amazonaws.com", "127.0.0.1:27017", "localhost", "", "a.b.c.d.e.f"] {
            assert_eq!(cluster_of_host(host), None, "{host}");
        }
        for arn in
            ["", "x", "arn:aws:dynamodb:us-east-1:1:table/t", "arn:aws:rds:us-east-1:1:cluster:", &format!("{arn}:x")]
        {
            assert_eq!(cluster_of_arn(arn), None, "{arn}");
        }
    }

    #[test]
    fn both_parts_are_one_number() {
        assert_eq!(time(1, 0).exact(), "00000000004294967296");
        assert_eq!(
            ClusterTime::parse(Some("1550582659"), Some("7")).expect("a time").coarse(),
            (1_550_582_659 << 32) | 7
        );
        assert_eq!(time((1 << 31) - 1, u32::MAX).coarse(), i64::MAX);
    }

    #[test]
    fn refuses_what_is_no_cluster_time() {
        refuses(|text| ClusterTime::parse(text, Some("1")).err());
        refuses(|text| ClusterTime::parse(Some("1550582659"), text).err());
        for (t, i) in [("0", "1"), ("2147483648", "1"), ("4294967296", "1"), ("1", "4294967296")] {
            assert!(ClusterTime::parse(Some(t), Some(i)).is_err(), "{t} {i}");
        }
    }

    #[test]
    fn refuses_a_stored_number_of_another_form() {
        assert_eq!(coarse("", "00000000004294967297"), Some((1 << 32) | 1));
        for (label, exact) in [
            ("", "4294967297"),
            ("x", "00000000004294967297"),
            ("", "00000000000000000001"),
            ("", "09223372036854775808"),
        ] {
            assert_eq!(coarse(label, exact), None, "{label} {exact}");
        }
    }
}
