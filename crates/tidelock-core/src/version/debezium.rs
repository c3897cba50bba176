//! Debezium: the place in the database's log that an event's `source` block names.
//!
//! Forms: [PostgreSQL](https://debezium.io/documentation/reference/stable/connectors/postgresql.html),
//! [MySQL](https://debezium.io/documentation/reference/stable/connectors/mysql.html),
//! [MongoDB](https://debezium.io/documentation/reference/stable/connectors/mongodb.html).

use super::mongodb::{ClusterTime, short};
use super::{Exact, Position, Refusal, fixed, integer};

/// First part of the space of PostgreSQL's changes.
pub const POSTGRESQL: &str = "debezium-postgresql";

/// First part of the space of MySQL's changes.
pub const MYSQL: &str = "debezium-mysql";

/// The space of a PostgreSQL table; `server` is the connector's name for it (`source.name`).
#[must_use]
pub fn postgresql_space(server: &str, table: &str) -> String {
    format!("{POSTGRESQL}:{server}:{table}")
}

/// PostgreSQL's log sequence number. It repeats only when an event is delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lsn {
    lsn: i64,
    exact: Exact,
}

impl Lsn {
    /// A log sequence number.
    ///
    /// # Errors
    /// When it is 0, as in an event without one, or does not fit 63 bits.
    pub fn new(lsn: u64) -> Result<Self, Refusal> {
        match i64::try_from(lsn) {
            Ok(number @ 1..) => Ok(Self { lsn: number, exact: Exact::number(lsn) }),
            Ok(_) => Err(Refusal::new("source.lsn is 0")),
            Err(_) => Err(Refusal::new("source.lsn does not fit 63 bits")),
        }
    }

    /// Reads `source.lsn`.
    ///
    /// # Errors
    /// When it is missing or no whole number, and as [`new`](Self::new) does.
    pub fn parse(lsn: Option<&str>) -> Result<Self, Refusal> {
        Self::new(integer("source.lsn", lsn)?)
    }
}

impl Position for Lsn {
    fn exact(&self) -> &str {
        self.exact.as_str()
    }

    fn coarse(&self) -> i64 {
        self.lsn
    }
}

/// The coarse version of what is stored of a PostgreSQL change.
pub(super) fn postgresql_coarse(label: &str, exact: &str) -> Option<i64> {
    let lsn = fixed(exact, 20).filter(|_| label.is_empty())?;
    Lsn::new(lsn).ok().map(|lsn| lsn.coarse())
}

/// File numbers from here on share one coarse version. They would be reached after sixteen million files.
const LAST_FILE: u64 = (1 << 24) - 1;

/// Positions from here on share the coarse version of their file.
const LAST_POSITION: u64 = (1 << 39) - 1;

/// The place of a row in MySQL's binary log: file, position of the event, row within the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binlog {
    /// The file's base name, a dot, its number as 10 digits.
    label: String,
    exact: Exact,
    coarse: i64,
}

impl Binlog {
    /// A place of its parts: the file's name, such as `mysql-bin.000003`, the event's position and the row's.
    ///
    /// # Errors
    /// When the file's name does not end in a dot and a number of at most 10 digits, or has nothing before them.
    pub fn new(file: &str, position: u64, row: u32) -> Result<Self, Refusal> {
        let parts = file.rsplit_once('.').filter(|(base, number)| {
            !base.is_empty() && (1..=10).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
        });
        let Some((base, number)) = parts.and_then(|(base, number)| Some((base, number.parse::<u64>().ok()?))) else {
            return Err(Refusal::of("source.file", file, "is no log file with a number"));
        };
        // No file name of any system is longer.
        if file.len() > 255 {
            return Err(Refusal::of("source.file", file, "is too long"));
        }
        Ok(Self {
            label: format!("{base}.{number:010}"),
            exact: Exact::number(position).byte(b'.').digits(u64::from(row), 10),
            coarse: summary(number, position),
        })
    }

    /// Reads `source.file`, `source.pos` and `source.row`, which is 0 where there is none.
    ///
    /// # Errors
    /// When file or position are missing, a number is none, and as [`new`](Self::new) does.
    pub fn parse(file: Option<&str>, position: Option<&str>, row: Option<&str>) -> Result<Self, Refusal> {
        let file = file.ok_or_else(|| Refusal::new("source.file is missing"))?;
        let row = row.map_or(Ok(0), |row| short("source.row", integer("source.row", Some(row))?))?;
        Self::new(file, integer("source.pos", position)?, row)
    }

    /// The space of a table; `server` is the connector's name for the server (`source.name`).
    ///
    /// The files' base name belongs to it: numbers of files with different base names do not compare.
    #[must_use]
    pub fn space(&self, server: &str, table: &str) -> String {
        let base = self.label.rsplit_once('.').map_or("", |(base, _)| base);
        format!("{MYSQL}:{server}:{base}:{table}")
    }
}

/// File number (24 bits), then position (39 bits). The row does not enter it.
fn summary(file: u64, position: u64) -> i64 {
    // Where the number of the file is cut, the position would mislead.
    let position = if file < LAST_FILE { position.min(LAST_POSITION) } else { 0 };
    i64::try_from((file.min(LAST_FILE) << 39) | position).unwrap_or(i64::MAX).max(1)
}

impl Position for Binlog {
    fn label(&self) -> &str {
        &self.label
    }

    fn exact(&self) -> &str {
        self.exact.as_str()
    }

    fn coarse(&self) -> i64 {
        self.coarse
    }
}

/// The coarse version of what is stored of a MySQL change.
pub(super) fn mysql_coarse(label: &str, exact: &str) -> Option<i64> {
    let (base, file) = label.rsplit_once('.')?;
    let (position, row) = exact.split_once('.')?;
    let (file, position, row) = (fixed(file, 10)?, fixed(position, 20)?, fixed(row, 10)?);
    (!base.is_empty() && u32::try_from(row).is_ok()).then(|| summary(file, position))
}

/// The cluster time of a MongoDB change: `source.ord` within the second that `source.ts_sec` or `source.ts_ms` names. Its
/// space is [`mongodb::space`](super::mongodb::space) with the connector's name for the cluster.
///
/// The events of one transaction share it, as they do in a change stream, and the `source` block has no token of its own:
/// what tells them apart is the place of the record in Kafka.
///
/// # Errors
/// When ordinal or seconds are missing or no numbers of 32 bits, or `ts_ms` is no whole second and thus no cluster time.
pub fn mongodb(ts_sec: Option<&str>, ts_ms: Option<&str>, ord: Option<&str>) -> Result<ClusterTime, Refusal> {
    let seconds = match (ts_sec, ts_ms) {
        (Some(_), _) => integer("source.ts_sec", ts_sec)?,
        (None, Some(text)) => {
            let millis = integer("source.ts_ms", ts_ms)?;
            if millis % 1_000 != 0 {
                return Err(Refusal::of("source.ts_ms", text, "is no whole second"));
            }
            millis / 1_000
        }
        (None, None) => return Err(Refusal::new("source.ts_sec and source.ts_ms are missing")),
    };
    ClusterTime::new(short("source.ts_ms", seconds)?, short("source.ord", integer("source.ord", ord)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::tests::{agrees, refuses};
    use proptest::prelude::*;

    /// Numbers of all sizes, those around the limits among them.
    fn any_number() -> impl Strategy<Value = u64> {
        prop_oneof![
            any::<u64>(),
            0u64..4,
            LAST_FILE - 2..LAST_FILE + 2,
            LAST_POSITION - 2..LAST_POSITION + 2,
            any::<u32>().prop_map(u64::from)
        ]
    }

    proptest! {
        #[test]
        fn order_of_postgresql_is_numeric(a in 1..=i64::MAX as u64, b in 1..=i64::MAX as u64, near in 0u64..3) {
            let lsn = |number| Lsn::new(number).expect("in range");
            for b in [b, a.saturating_add(near).min(i64::MAX as u64)] {
                agrees(&postgresql_space("pg", "public.orders"), &lsn(a), &lsn(b))?;
                prop_assert_eq!(lsn(a).exact().cmp(lsn(b).exact()), a.cmp(&b));
                prop_assert_eq!(lsn(a).coarse().cmp(&lsn(b).coarse()), a.cmp(&b));
            }
        }

        #[test]
        fn order_of_mysql_is_file_position_row(
            fa in any_number(), fb in any_number(), pa in any_number(), pb in any_number(), ra in any::<u32>(), rb in any::<u32>(),
        ) {
            let (fa, fb) = (fa % 10_000_000_000, fb % 10_000_000_000);
            for (fb, pb) in [(fb, pb), (fa, pb), (fa, pa)] {
                let at = |f: u64, p, r| Binlog::new(&format!("mysql.bin.{f:06}"), p, r).expect("a place");
                let (a, b) = (at(fa, pa, ra), at(fb, pb, rb));
                agrees(&a.space("shop", "shop.orders"), &a, &b)?;
                prop_assert_eq!((a.label(), a.exact()).cmp(&(b.label(), b.exact())), (fa, pa, ra).cmp(&(fb, pb, rb)));
            }
        }

        #[test]
        fn mongodb_is_like_a_change_stream(t in 1u32..1 << 31, i in any::<u32>()) {
            let (seconds, millis, ord) = (t.to_string(), format!("{t}000"), i.to_string());
            let expected = ClusterTime::new(t, i);
            prop_assert_eq!(&mongodb(Some(&seconds), None, Some(&ord)), &expected);
            prop_assert_eq!(&mongodb(None, Some(&millis), Some(&ord)), &expected);
        }
    }

    #[test]
    fn a_place_in_the_binary_log() {
        let place = Binlog::parse(Some("mysql-bin.000003"), Some("990"), None).expect("a place");
        assert_eq!((place.label(), place.exact()), ("mysql-bin.0000000003", "00000000000000000990.0000000000"));
        assert_eq!(place.coarse(), (3 << 39) | 990);
        assert_eq!(place.space("shop", "shop.orders"), "debezium-mysql:shop:mysql-bin:shop.orders");
        // The suffix grows: text of the names alone would put this file first.
        let later = Binlog::parse(Some("mysql-bin.1000000"), Some("4"), Some("2")).expect("a place");
        assert!(later.label() > place.label() && later.coarse() > place.coarse());
        // An engine that counts writes up from the coarse version has room.
        assert_eq!(Binlog::new("b.9999999999", u64::MAX, u32::MAX).expect("a place").coarse(), 0xff_ffff << 39);
        assert_eq!(Binlog::new("b.000000", 0, 0).expect("a place").coarse(), 1);
    }

    #[test]
    fn refuses_what_is_no_place() {
        refuses(|text| Lsn::parse(text).err());
        assert!(Lsn::parse(Some("0")).is_err());
        assert!(Lsn::parse(Some("9223372036854775808")).is_err());
        refuses(|text| Binlog::parse(Some("b.1"), text, None).err());
        refuses(|text| Binlog::parse(Some("b.1"), Some("4"), Some(text.unwrap_or("no row"))).err());
        assert!(Binlog::parse(Some("b.1"), Some("4"), Some("4294967296")).is_err());
        let long = format!("{}.000001", "b".repeat(250));
        for file in ["", "mysql-bin", "mysql-bin.", ".000001", "mysql-bin.index", "b.+1", "b.12345678901", &long] {
            assert!(Binlog::parse(Some(file), Some("4"), None).is_err(), "{file}");
        }
        assert!(Binlog::parse(None, Some("4"), None).is_err());
        refuses(|text| mongodb(text, None, Some("1")).err());
        refuses(|text| mongodb(None, text, Some("1")).err());
        refuses(|text| mongodb(None, Some("1000"), text).err());
        for (sec, ms) in [(Some("0"), None), (None, Some("1500")), (Some("2147483648"), None), (None, Some("9e18"))] {
            assert!(mongodb(sec, ms, Some("1")).is_err(), "{sec:?} {ms:?}");
        }
    }

    #[test]
    fn refuses_a_stored_number_of_another_form() {
        let (label, exact) = ("b.0000000001", "00000000000000000004.0000000000");
        assert_eq!(mysql_coarse(label, exact), Some((1 << 39) | 4));
        for (label, exact) in [
            ("", exact),
            (".0000000001", exact),
            ("b.000001", exact),
            (label, "4"),
            (label, "00000000000000000004"),
            (label, "00000000000000000004.0"),
            (label, "00000000000000000004.9999999999"),
        ] {
            assert_eq!(mysql_coarse(label, exact), None, "{label} {exact}");
        }
        assert_eq!(postgresql_coarse("", "00000000000000000004"), Some(4));
        for (label, exact) in [("", "4"), ("x", "00000000000000000004"), ("", "00000000000000000000")] {
            assert_eq!(postgresql_coarse(label, exact), None, "{label} {exact}");
        }
    }
}
