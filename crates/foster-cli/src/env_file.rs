//! `--env-file`: one `NAME=VALUE` a line.
//!
//! Empty lines and lines that begin with `#` are left out, `export ` before a name is allowed, and a value may stand
//! in single quotes (taken as it is) or in double quotes (with `\n`, `\t`, `\"`, `\\`). Nothing is expanded: what
//! stands there is what the program gets. A comment may follow a quoted value; one without quotes goes to the end of
//! its line.

use std::path::Path;

/// The variables of a file, in its order.
pub(crate) fn read(path: &Path) -> Result<Vec<(String, String)>, String> {
    let name = path.display();
    let bytes = std::fs::read(path).map_err(|error| {
        format!("cannot read the env file `{name}`: {}; name a file that is there", crate::say::plain(&error))
    })?;
    let text = str::from_utf8(&bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        // What came before is valid, so that its characters can be counted.
        let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
        format!("{name}:{line}:{column}: this is not UTF-8; save the file as UTF-8")
    })?;
    parse(text).map_err(|Bad { line, column, why }| format!("{name}:{line}:{column}: {why}"))
}

/// Where the text makes no sense, and why; line and column count from 1.
#[derive(Debug, PartialEq, Eq)]
struct Bad {
    line: usize,
    column: usize,
    why: &'static str,
}

fn parse(text: &str) -> Result<Vec<(String, String)>, Bad> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut variables = Vec::new();
    for (i, whole) in text.lines().enumerate() {
        let bad = |rest: &str, why| Bad {
            line: i + 1,
            column: whole.chars().count() - rest.chars().count() + 1,
            why,
        };
        let line = whole.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let exported = line.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t']));
        let line = exported.map_or(line, str::trim_start);
        // What is cut off at the end does not count towards a column.
        let at = |part: &str| &whole[part.as_ptr() as usize - whole.as_ptr() as usize..];
        let Some((name, value)) = line.split_once('=') else {
            return Err(bad(at(line), "there is no = here; write NAME=VALUE"));
        };
        let name = name.trim_end();
        if line.contains('\0') {
            return Err(bad(at(line), "there is a NUL in this line; remove it"));
        }
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(bad(at(line), "this is no name of a variable; write NAME=VALUE"));
        }
        let value = value.trim_start();
        let value = unquote(value).map_err(|why| bad(at(value), why))?;
        variables.push((name.to_string(), value));
    }
    Ok(variables)
}

fn unquote(value: &str) -> Result<String, &'static str> {
    const OPEN: &str = "this quote is not closed on its line";
    const AFTER: &str = "there is something after the closing quote";
    let Some(quote) = value.chars().next().filter(|c| ['"', '\''].contains(c)) else {
        return Ok(value.to_string());
    };
    let mut inner = String::new();
    let mut chars = value[1..].chars();
    loop {
        match chars.next() {
            None => return Err(OPEN),
            Some(end) if end == quote => break,
            Some('\\') if quote == '"' => match chars.next() {
                None => return Err(OPEN),
                Some('n') => inner.push('\n'),
                Some('t') => inner.push('\t'),
                Some(escaped @ ('"' | '\\')) => inner.push(escaped),
                Some(other) => inner.extend(['\\', other]),
            },
            Some(plain) => inner.push(plain),
        }
    }
    let after = chars.as_str().trim_start();
    if after.is_empty() || after.starts_with('#') { Ok(inner) } else { Err(AFTER) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_as_they_stand() {
        let text = "\u{feff}A=1\n\n# no\nexport\tT='x' # y\n  export B = two words \nC='$HOME # \"x\"'\nD=\"a\\tb\\\"\"\nE=\nF=x=y\r\n";
        let read: Vec<_> = parse(text).unwrap();
        let read: Vec<_> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            read,
            [
                ("A", "1"),
                ("T", "x"),
                ("B", "two words"),
                ("C", "$HOME # \"x\""),
                ("D", "a\tb\""),
                ("E", ""),
                ("F", "x=y")
            ]
        );
    }

    #[test]
    fn a_mistake_is_told_with_its_line_and_column() {
        let bad = |text| parse(text).map_err(|bad| (bad.line, bad.column)).unwrap_err();
        assert_eq!(bad("A=1\nB"), (2, 1));
        assert_eq!(bad("ä=1\n  =x"), (2, 3));
        assert_eq!(bad("A='x"), (1, 3));
        assert_eq!(bad("A=\"x\\"), (1, 3));
        assert_eq!(bad("A=1\n\nB='x' y  "), (3, 3));
        assert_eq!(bad("A B=1"), (1, 1));
    }
}
