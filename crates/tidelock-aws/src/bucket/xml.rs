//! The XML that S3 answers with: elements and text, nothing that an answer does not have.
//!
//! Attributes are passed over, comments too; a document type is refused, for it could define what text means
//! ([XML 1.0](https://www.w3.org/TR/xml/)).

/// Calls `leaf` for each element that holds no other: with the names of the elements around it and its own, outermost first,
/// and with its text.
///
/// # Errors
/// When the document is damaged or breaks off; `leaf` may have been called by then.
pub(super) fn leaves<'a>(document: &'a str, mut leaf: impl FnMut(&[&'a str], &str)) -> Result<(), String> {
    let broken = |what: &str| format!("it is no whole XML: {what}");
    let mut open: Vec<&str> = Vec::new();
    let mut roots = 0;
    // The text of the innermost element; `None` once it holds another.
    let mut text: Option<String> = None;
    let mut rest = document.trim_start_matches('\u{feff}');
    while let Some((before, markup)) = rest.split_once('<') {
        add(before, &open, &mut text)?;
        let until = |begin: &str, end: &str| {
            let inside = markup.strip_prefix(begin)?;
            Some(inside.split_once(end).ok_or_else(|| broken("a tag does not end")))
        };
        if let Some(section) = until("![CDATA[", "]]>") {
            let (raw, behind) = section?;
            if open.is_empty() {
                return Err(broken("text outside of the root element"));
            }
            if let Some(text) = &mut text {
                text.push_str(raw);
            }
            rest = behind;
        } else if let Some(passed) = until("!--", "-->").or_else(|| until("?", "?>")) {
            rest = passed?.1;
        } else if markup.starts_with('!') {
            return Err(broken("a document type is not expected"));
        } else if let Some(tag) = until("/", ">") {
            let (name, behind) = tag?;
            if open.last() != Some(&name.trim_end()) {
                return Err(broken("an end tag does not fit its start tag"));
            }
            if let Some(text) = text.take() {
                leaf(&open, &text);
            }
            open.pop();
            rest = behind;
        } else {
            let (tag, behind) = start_tag(markup).ok_or_else(|| broken("a tag does not end"))?;
            let (tag, empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
            let name = tag.split(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default();
            if name.is_empty() {
                return Err(broken("a tag has no name"));
            }
            roots += usize::from(open.is_empty());
            open.push(name);
            text = Some(String::new());
            if empty {
                leaf(&open, "");
                open.pop();
                text = None;
            }
            rest = behind;
        }
    }
    add(rest, &open, &mut text)?;
    match (open.is_empty(), roots) {
        (true, 1) => Ok(()),
        (false, _) => Err(broken("it breaks off")),
        (true, _) => Err(broken("it has not one root element")),
    }
}

/// Takes the text between two tags.
fn add(raw: &str, open: &[&str], text: &mut Option<String>) -> Result<(), String> {
    match text {
        Some(text) => unescape(raw, text),
        None if open.is_empty() && !raw.trim().is_empty() => {
            Err("it is no whole XML: text outside of the root element".to_owned())
        }
        // What stands between elements means nothing here.
        None => Ok(()),
    }
}

/// What is inside a start tag, and what comes behind it. An attribute's value may hold `>`.
fn start_tag(markup: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    let end = markup.bytes().position(|byte| match (quote, byte) {
        (None, b'>') => true,
        (None, b'"' | b'\'') => {
            quote = Some(byte);
            false
        }
        (Some(open), _) if open == byte => {
            quote = None;
            false
        }
        _ => false,
    })?;
    Some((markup.get(..end)?, markup.get(end + 1..)?))
}

/// Appends text whose references are replaced by what they stand for.
fn unescape(raw: &str, text: &mut String) -> Result<(), String> {
    let mut rest = raw;
    while let Some((before, reference)) = rest.split_once('&') {
        text.push_str(before);
        let known = reference.split_once(';').and_then(|(name, behind)| Some((character(name)?, behind)));
        let (character, behind) = known.ok_or("it is no whole XML: an unknown reference")?;
        text.push(character);
        rest = behind;
    }
    text.push_str(rest);
    Ok(())
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(document: &str) -> Result<Vec<(String, String)>, String> {
        let mut found = Vec::new();
        leaves(document, |path, text| found.push((path.join("/"), text.to_owned())))?;
        Ok(found)
    }

    fn found(leaves: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        Ok(leaves.iter().map(|&(path, text)| (path.to_owned(), text.to_owned())).collect())
    }

    #[test]
    fn answers() {
        let document = "\u{feff}<?xml version=\"1.0\"?>\n<a xmlns=\"http://x/>\">\n <b>1</b> <!-- <b>no</b> --> <b/>\
            <c x='>'><d >t</d ><e y=\"1\"/></c><b>2</b></a>\n";
        let expected = [("a/b", "1"), ("a/b", ""), ("a/c/d", "t"), ("a/c/e", ""), ("a/b", "2")];
        assert_eq!(read(document), found(&expected));
        assert_eq!(read("<a></a>"), found(&[("a", "")]));
    }

    #[test]
    fn text() {
        let document = "<a> &lt;&amp;&gt;&quot;&apos;&#252;&#x1F600; <![CDATA[<b>&amp;]]>ü<!-- x -->.</a>";
        assert_eq!(read(document), found(&[("a", " <&>\"'ü\u{1F600} <b>&amp;ü.")]));
    }

    #[test]
    fn what_is_damaged() {
        let whole = "<?xml version=\"1.0\"?><a x=\"1\"><b>1&amp;2</b><![CDATA[c]]><!-- d --><e/></a>";
        assert!(read(whole).is_ok());
        // Wherever it breaks off.
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err(), "{}", &whole[..end]);
        }
        for document in [
            "{}",
            "<a></b>",
            "<a><b></a></b>",
            "<a/><b/>",
            "x<a/>",
            "<a/>x",
            "<a/><![CDATA[x]]>",
            "<a>&nbsp;</a>",
            "<a>&#xD800;</a>",
            "<a>& b</a>",
            "< a></a>",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
        ] {
            assert!(read(document).is_err(), "{document}");
        }
    }
}
