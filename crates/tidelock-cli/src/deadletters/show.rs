//! `tidelock deadletters show`.

use super::filter::Which;
use super::{Place, Stop, list};
use tidelock_core::letter::read;
use tidelock_lambda::Environment;

/// Show letters whole, with the record as it was received
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The letter's id, or its beginning
    #[arg(value_name = "ID")]
    beginning: Option<String>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    which: Which,
    /// One letter a line, as it lies in the queue
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, environment: &Environment) -> Result<u8, Stop> {
    let filter = args.which.filter()?;
    if args.beginning.is_none() && filter.is_empty() {
        return Err(Stop::options("name a letter by its id, or some by --reason, --source, …"));
    }
    let letters = args.place.open(environment)?;
    let mut found = Vec::new();
    let survey = letters
        .survey(|message, parcel| {
            let is_meant = parcel.as_ref().is_ok_and(|parcel| {
                filter.takes(parcel)
                    && args.beginning.as_deref().is_none_or(|beginning| parcel.id.starts_with(beginning))
            });
            if is_meant {
                found.push(message.body.clone());
            }
            true
        })
        .await;
    let code = list::end(&survey, found.len())?;
    for body in found {
        let whole = letters.whole(body).await.map_err(Stop::failed)?;
        match args.json {
            true => println!("{}", whole.replace(['\n', '\r'], " ")),
            false => println!("{}\n", indented(&whole)),
        }
        if let Err(why) = read(&whole) {
            eprintln!("{why}");
        }
    }
    Ok(code)
}

/// JSON text with line breaks for people. Numbers and texts stay as they are: a parser would round them.
fn indented(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let (mut depth, mut inside, mut escaped) = (0_usize, false, false);
    let mut rest = text.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(c) = rest.next() {
        if inside {
            out.push(c);
            inside = c != '"' || escaped;
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            '"' => {
                inside = true;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                while rest.next_if(char::is_ascii_whitespace).is_some() {}
                match rest.next_if(|&next| matches!(next, '}' | ']')) {
                    Some(close) => out.push(close),
                    None => {
                        depth += 1;
                        line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_numbers_stay_as_they_are() {
        let text =
            r#"{"a": {"N":"1"}, "b":[1.50,{ }, [ ],"x, \"y\": {\\"],"c":12345678901234567890123456789012345678}"#;
        let shown = indented(text);
        let expected = r#"{
  "a": {
    "N": "1"
  },
  "b": [
    1.50,
    {},
    [],
    "x, \"y\": {\\"
  ],
  "c": 12345678901234567890123456789012345678
}"#;
        assert_eq!(shown, expected);
    }
}
