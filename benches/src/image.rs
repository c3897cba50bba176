//! One item as a DynamoDB attribute-value map: an order of about a kilobyte with text in several scripts, nested maps,
//! lists, sets and numbers.

use std::fmt::Write as _;

use crate::random::Random;

/// Words of the free text: German, French, Polish, Russian, Greek, Japanese, Korean, Hindi, symbols, and plain English.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "Größe", "Straße", "Überweisung", "Qualität", "für", "schöne", "Änderung", "déjà", "livraison", "façade",
    "très", "żółty", "książka", "przesyłka", "Łódź", "доставка", "синий", "заказ", "новый", "адрес", "большой",
    "γαλάζιο", "παραγγελία", "μικρό", "配送先", "在庫あり", "青い傘", "日本語", "주문", "배송", "सुंदर", "छाता", "→", "€", "½",
    "☂️", "blue", "umbrella", "wooden", "order", "shipped", "customer", "morning", "delivery", "at", "door",
    "gift",
];

const CITIES: &[&str] =
    &["Köln", "Łódź", "Zürich", "São Paulo", "Москва", "東京", "Αθήνα", "Malmö", "Bristol", "Austin"];
/// What the few texts with an escape end in.
const ESCAPES: &[&str] = &["\\n", "\\\"", "\\t"];
const STATES: &[&str] = &["open", "paid", "packed", "shipped", "returned"];
const TAGS: &[&str] = &["neu", "été", "акция", "sale", "夏", "outlet", "fragile", "bio"];

/// Appends the image of `key` in its `revision`th form; `now` is in seconds since 1970.
pub(crate) fn write_image(out: &mut String, random: &mut Random, key: &str, revision: usize, now: u64) {
    let mut image = Image { out, random };
    image.write(key, revision, now);
}

struct Image<'a> {
    out: &'a mut String,
    random: &'a mut Random,
}

impl Image<'_> {
    fn write(&mut self, key: &str, revision: usize, now: u64) {
        let (tenant, state) = (self.random.below(200), *self.random.pick(STATES));
        self.put(format_args!(
            r#"{{"pk":{{"S":"{key}"}},"tenant":{{"S":"tenant-{tenant:03}"}},"state":{{"S":"{state}"}},"title":"#
        ));
        self.text(40, 60);
        self.put(format_args!(r#","description":"#));
        self.text(390, 520);
        let (cents, stock) = (self.fraction(1_000_000), self.random.below(500));
        self.put(format_args!(
            r#","price":{{"N":"{}.{:02}"}},"stock":{{"N":"{stock}"}},"active":{{"BOOL":{}}},"discount":{{"NULL":true}},"tags":{{"SS":["#,
            cents / 100,
            cents % 100,
            stock > 50,
        ));
        self.set(TAGS, |image, tag| image.put(format_args!(r#""{tag}""#)));
        self.put(format_args!(r#"]}},"sizes":{{"NS":["#));
        self.set(&[34, 36, 38, 40, 42, 44], |image, size| image.put(format_args!(r#""{size}""#)));
        self.put(format_args!(r#"]}},"address":"#));
        self.address();
        self.put(format_args!(r#","lines":{{"L":["#));
        for line in 0..self.random.between(2, 3) {
            if line > 0 {
                self.out.push(',');
            }
            self.line();
        }
        let age = self.random.below(10_000_000) as u64;
        self.put(format_args!(
            r#"]}},"revision":{{"N":"{revision}"}},"created_at":{{"N":"{}"}},"updated_at":{{"N":"{now}"}}}}"#,
            now - age,
        ));
    }

    fn address(&mut self) {
        let (city, number) = (*self.random.pick(CITIES), self.random.between(1, 180));
        let (zip, latitude, longitude) =
            (self.random.below(100_000), self.fraction(9_000_000), self.fraction(18_000_000));
        self.put(format_args!(
            r#"{{"M":{{"street":{{"S":"Königsstraße {number}"}},"city":{{"S":"{city}"}},"zip":{{"S":"{zip:05}"}},"geo":{{"M":{{"lat":{{"N":"{}.{:05}"}},"lon":{{"N":"-{}.{:05}"}}}}}}}}}}"#,
            latitude / 100_000, latitude % 100_000, longitude / 100_000, longitude % 100_000,
        ));
    }

    fn line(&mut self) {
        let (article, count, cents) = (self.random.below(1_000_000), self.random.between(1, 9), self.fraction(50_000));
        self.put(format_args!(
            r#"{{"M":{{"sku":{{"S":"SKU-{article:06}"}},"count":{{"N":"{count}"}},"price":{{"N":"{}.{:02}"}}}}}}"#,
            cents / 100,
            cents % 100,
        ));
    }

    /// A tagged string of about this many bytes. One text in forty holds an escape.
    fn text(&mut self, least: usize, most: usize) {
        let length = self.random.between(least, most);
        self.out.push_str(r#"{"S":""#);
        let end = self.out.len() + length;
        loop {
            let word = *self.random.pick(WORDS);
            self.out.push_str(word);
            if self.out.len() >= end {
                break;
            }
            self.out.push(' ');
        }
        if self.random.chance(0.025) {
            let escape = *self.random.pick(ESCAPES);
            self.out.push_str(escape);
        }
        self.out.push_str("\"}");
    }

    /// One to three neighbours of a list, so that no member of the set comes twice.
    fn set<T: Copy>(&mut self, values: &[T], write: impl Fn(&mut Self, T)) {
        let count = self.random.between(1, 3);
        let first = self.random.below(values.len() - count);
        for (position, value) in values[first..first + count].iter().enumerate() {
            if position > 0 {
                self.out.push(',');
            }
            write(self, *value);
        }
    }

    /// A number whose last digit is not zero: DynamoDB keeps no trailing zeros of a fraction.
    fn fraction(&mut self, end: usize) -> usize {
        self.random.below(end / 10) * 10 + self.random.between(1, 9)
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("writing to a string cannot fail");
    }
}
