//! BSON written as MongoDB Extended JSON v2
//! (<https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md>), field by field in the
//! order of the document. Nothing is read into a tree: it would sort the fields.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mongodb::bson::{DateTime, RawArray, RawBsonRef, RawDocument};
use serde::Serialize;

use crate::clock::Moment;

/// Servers nest documents up to 200 levels; what is deeper is not theirs.
const DEEPEST: usize = 256;

/// The first millisecond of the year 10000, from which on relaxed dates are numbers.
const YEAR_10000: u64 = 253_402_300_800_000;

/// The form of extended JSON. Which of them Lambda gives to functions is not documented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExtendedJson {
    /// Numbers are JSON numbers, dates are ISO 8601 texts.
    #[default]
    Relaxed,
    /// Every type is told from every other: `{"$numberInt":"1"}`.
    Canonical,
}

impl ExtendedJson {
    /// Writes a value.
    pub(super) fn value(self, value: RawBsonRef<'_>) -> Result<Vec<u8>, String> {
        let mut writer = Writer { form: self, out: Vec::new(), depth: 0 };
        writer.value(value)?;
        Ok(writer.out)
    }
}

/// Writes a value of this crate's own types, such as a text or a number; that can't fail.
pub(super) fn plain(out: &mut Vec<u8>, value: impl Serialize) -> Result<(), String> {
    serde_json::to_writer(out, &value).map_err(|error| error.to_string())
}

struct Writer {
    form: ExtendedJson,
    out: Vec<u8>,
    depth: usize,
}

impl Writer {
    fn text(&mut self, text: &str) -> Result<(), String> {
        plain(&mut self.out, text)
    }

    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// `{"$name":"text"}`.
    fn typed(&mut self, name: &str, text: &str) -> Result<(), String> {
        self.raw("{\"");
        self.raw(name);
        self.raw("\":");
        self.text(text)?;
        self.raw("}");
        Ok(())
    }

    fn deeper(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > DEEPEST { Err(format!("nested deeper than {DEEPEST} levels")) } else { Ok(()) }
    }

    fn document(&mut self, document: &RawDocument) -> Result<(), String> {
        self.deeper()?;
        self.raw("{");
        for (index, element) in document.iter().enumerate() {
            let (name, value) = element.map_err(|error| error.to_string())?;
            if index > 0 {
                self.raw(",");
            }
            self.text(name.as_str())?;
            self.raw(":");
            self.value(value)?;
        }
        self.raw("}");
        self.depth -= 1;
        Ok(())
    }

    fn array(&mut self, array: &RawArray) -> Result<(), String> {
        self.deeper()?;
        self.raw("[");
        for (index, value) in array.into_iter().enumerate() {
            if index > 0 {
                self.raw(",");
            }
            self.value(value.map_err(|error| error.to_string())?)?;
        }
        self.raw("]");
        self.depth -= 1;
        Ok(())
    }

    fn value(&mut self, value: RawBsonRef<'_>) -> Result<(), String> {
        let is_relaxed = self.form == ExtendedJson::Relaxed;
        match value {
            RawBsonRef::Document(document) => self.document(document),
            RawBsonRef::Array(array) => self.array(array),
            RawBsonRef::String(text) => self.text(text),
            RawBsonRef::Boolean(value) => plain(&mut self.out, value),
            RawBsonRef::Null => plain(&mut self.out, ()),
            RawBsonRef::Int32(number) if is_relaxed => plain(&mut self.out, number),
            RawBsonRef::Int32(number) => self.typed("$numberInt", &number.to_string()),
            RawBsonRef::Int64(number) if is_relaxed => plain(&mut self.out, number),
            RawBsonRef::Int64(number) => self.typed("$numberLong", &number.to_string()),
            RawBsonRef::Double(number) if is_relaxed && number.is_finite() => plain(&mut self.out, number),
            RawBsonRef::Double(number) => self.typed("$numberDouble", &double(number)),
            RawBsonRef::Decimal128(number) => self.typed("$numberDecimal", &number.to_string()),
            RawBsonRef::ObjectId(id) => self.typed("$oid", &id.to_hex()),
            RawBsonRef::DateTime(date) => self.date(date),
            RawBsonRef::Timestamp(timestamp) => {
                self.raw(&format!("{{\"$timestamp\":{{\"t\":{},\"i\":{}}}}}", timestamp.time, timestamp.increment));
                Ok(())
            }
            RawBsonRef::Binary(binary) => {
                self.raw("{\"$binary\":{\"base64\":");
                self.text(&STANDARD.encode(binary.bytes))?;
                self.raw(&format!(",\"subType\":\"{:02x}\"}}}}", u8::from(binary.subtype)));
                Ok(())
            }
            RawBsonRef::RegularExpression(regex) => {
                self.raw("{\"$regularExpression\":{\"pattern\":");
                self.text(regex.pattern.as_str())?;
                self.raw(",\"options\":");
                self.text(regex.options.as_str())?;
                self.raw("}}");
                Ok(())
            }
            RawBsonRef::JavaScriptCode(code) => self.typed("$code", code),
            RawBsonRef::JavaScriptCodeWithScope(code) => {
                self.raw("{\"$code\":");
                self.text(code.code)?;
                self.raw(",\"$scope\":");
                self.document(code.scope)?;
                self.raw("}");
                Ok(())
            }
            RawBsonRef::Symbol(symbol) => self.typed("$symbol", symbol),
            // The driver shows its parts to no one, but writes it.
            RawBsonRef::DbPointer(_) => plain(&mut self.out, value),
            RawBsonRef::Undefined => {
                self.raw("{\"$undefined\":true}");
                Ok(())
            }
            RawBsonRef::MinKey => {
                self.raw("{\"$minKey\":1}");
                Ok(())
            }
            RawBsonRef::MaxKey => {
                self.raw("{\"$maxKey\":1}");
                Ok(())
            }
        }
    }

    fn date(&mut self, date: DateTime) -> Result<(), String> {
        let milliseconds = date.timestamp_millis();
        let as_text = u64::try_from(milliseconds).ok().filter(|since| *since < YEAR_10000);
        match as_text.filter(|_| self.form == ExtendedJson::Relaxed) {
            Some(since) => self.typed("$date", &Moment::from_epoch(Duration::from_millis(since)).iso()),
            None => {
                self.raw("{\"$date\":");
                self.typed("$numberLong", &milliseconds.to_string())?;
                self.raw("}");
                Ok(())
            }
        }
    }
}

/// A double as canonical extended JSON has it: with a fraction or an exponent, or by name.
fn double(number: f64) -> String {
    if number.is_nan() {
        "NaN".into()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity".into() } else { "-Infinity".into() }
    } else {
        format!("{number:?}")
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::oid::ObjectId;
    use mongodb::bson::spec::BinarySubtype;
    use mongodb::bson::{
        Binary, Bson, Decimal128, JavaScriptCodeWithScope, RawDocumentBuf, Regex, Timestamp, cstr, doc,
    };

    use super::*;

    fn written(form: ExtendedJson, value: impl Into<Bson>) -> String {
        let document = RawDocumentBuf::try_from(&doc! {"v": value.into()}).unwrap();
        String::from_utf8(form.value(RawBsonRef::Document(&document)).unwrap()).unwrap()
    }

    #[track_caller]
    fn check(value: impl Into<Bson>, relaxed: &str, canonical: &str) {
        let value = value.into();
        assert_eq!(written(ExtendedJson::Relaxed, value.clone()), format!("{{\"v\":{relaxed}}}"));
        assert_eq!(written(ExtendedJson::Canonical, value), format!("{{\"v\":{canonical}}}"));
    }

    #[test]
    fn types_that_json_has_too() {
        check(1, "1", r#"{"$numberInt":"1"}"#);
        check(i64::MIN, "-9223372036854775808", r#"{"$numberLong":"-9223372036854775808"}"#);
        check(1.0, "1.0", r#"{"$numberDouble":"1.0"}"#);
        check(-0.0, "-0.0", r#"{"$numberDouble":"-0.0"}"#);
        check(1e300, "1e+300", r#"{"$numberDouble":"1e300"}"#);
        check("é\"\\\u{1}", "\"é\\\"\\\\\\u0001\"", "\"é\\\"\\\\\\u0001\"");
        check(true, "true", "true");
        check(Bson::Null, "null", "null");
        check(vec![Bson::Int32(1), Bson::Array(vec![])], "[1,[]]", r#"[{"$numberInt":"1"},[]]"#);
        check(doc! {"b": 1, "a": {}}, r#"{"b":1,"a":{}}"#, r#"{"b":{"$numberInt":"1"},"a":{}}"#);
    }

    #[test]
    fn types_that_json_does_not_have() {
        let same = |value: Bson, text: &str| check(value, text, text);
        for (number, name) in [(f64::NAN, "NaN"), (f64::INFINITY, "Infinity"), (f64::NEG_INFINITY, "-Infinity")] {
            same(number.into(), &format!(r#"{{"$numberDouble":"{name}"}}"#));
        }
        let decimal: Decimal128 = "1.50E+6000".parse().unwrap();
        same(decimal.into(), r#"{"$numberDecimal":"1.50E+6000"}"#);
        same(ObjectId::parse_str("63eeb6e7d418cd98afb1c1d7").unwrap().into(), r#"{"$oid":"63eeb6e7d418cd98afb1c1d7"}"#);
        same(Timestamp { time: 1, increment: 2 }.into(), r#"{"$timestamp":{"t":1,"i":2}}"#);
        let binary = |subtype, bytes: &[u8]| Bson::Binary(Binary { subtype, bytes: bytes.to_vec() });
        same(binary(BinarySubtype::Generic, &[0xfb, 0xff, 0]), r#"{"$binary":{"base64":"+/8A","subType":"00"}}"#);
        same(
            binary(BinarySubtype::Uuid, &[1; 16]),
            r#"{"$binary":{"base64":"AQEBAQEBAQEBAQEBAQEBAQ==","subType":"04"}}"#,
        );
        same(binary(BinarySubtype::UserDefined(0x80), b""), r#"{"$binary":{"base64":"","subType":"80"}}"#);
        let regex = Regex { pattern: cstr!("^a").into(), options: cstr!("i").into() };
        same(regex.into(), r#"{"$regularExpression":{"pattern":"^a","options":"i"}}"#);
        same(Bson::JavaScriptCode("f()".into()), r#"{"$code":"f()"}"#);
        let with_scope = JavaScriptCodeWithScope { code: "f()".into(), scope: doc! {"x": "y"} };
        same(with_scope.into(), r#"{"$code":"f()","$scope":{"x":"y"}}"#);
        same(Bson::Symbol("s".into()), r#"{"$symbol":"s"}"#);
        same(Bson::Undefined, r#"{"$undefined":true}"#);
        same(Bson::MinKey, r#"{"$minKey":1}"#);
        same(Bson::MaxKey, r#"{"$maxKey":1}"#);
    }

    #[test]
    fn a_pointer_is_written_with_its_id() {
        let mut bytes = vec![0, 0, 0, 0, 0x0c];
        bytes.extend(b"v\0\x04\0\0\0d.c\0");
        bytes.extend([0x11; 12]);
        bytes.push(0);
        bytes[0] = u8::try_from(bytes.len()).unwrap();
        let document = RawDocumentBuf::from_bytes(bytes).unwrap();
        let text = ExtendedJson::Canonical.value(RawBsonRef::Document(&document)).unwrap();
        assert_eq!(text, br#"{"v":{"$dbPointer":{"$ref":"d.c","$id":{"$oid":"111111111111111111111111"}}}}"#);
    }

    #[test]
    fn dates_are_texts_between_1970_and_9999() {
        let number = |milliseconds: i64| format!(r#"{{"$date":{{"$numberLong":"{milliseconds}"}}}}"#);
        let end = i64::try_from(YEAR_10000).unwrap();
        for (milliseconds, relaxed) in [
            (0, r#"{"$date":"1970-01-01T00:00:00Z"}"#.to_owned()),
            (1_573_690_429_017, r#"{"$date":"2019-11-14T00:13:49.017Z"}"#.to_owned()),
            (end - 1, r#"{"$date":"9999-12-31T23:59:59.999Z"}"#.to_owned()),
            (end, number(end)),
            (-1, number(-1)),
            (i64::MAX, number(i64::MAX)),
        ] {
            check(DateTime::from_millis(milliseconds), &relaxed, &number(milliseconds));
        }
    }

    #[test]
    fn what_is_broken_or_too_deep_is_an_error() {
        let mut deep = doc! {};
        for _ in 0..DEEPEST {
            deep = doc! {"d": deep};
        }
        let document = RawDocumentBuf::try_from(&deep).unwrap();
        let error = ExtendedJson::Relaxed.value(RawBsonRef::Document(&document)).unwrap_err();
        assert_eq!(error, "nested deeper than 256 levels");
        // A text that says it is longer than the document.
        let broken = RawDocumentBuf::from_bytes(b"\x0e\0\0\0\x02v\0\x63\0\0\0a\0\0".to_vec()).unwrap();
        assert!(ExtendedJson::Relaxed.value(RawBsonRef::Document(&broken)).is_err());
    }
}
