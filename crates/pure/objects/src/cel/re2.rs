//! Go's regular expressions on the `regex` crate: the same text must mean the same. What differs is translated
//! (`\d` is ASCII, `&&` in a class is two characters, `{,2}` is literal), what has no counterpart is refused.
use regex::{Regex, RegexBuilder};
use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

const MAX_REPEAT: u32 = 1000;
const SIZE_LIMIT: usize = 4 << 20;

/// Compiles a pattern in Go's syntax.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    let translated = Translator { chars: pattern.chars().peekable(), out: String::new() }.run()?;
    RegexBuilder::new(&translated).size_limit(SIZE_LIMIT).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "expression too large".to_owned(),
        other => format!("pattern {pattern:?} is not served: {}", last_line(&other.to_string())),
    })
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

struct Translator<'p> {
    chars: Peekable<Chars<'p>>,
    out: String,
}

/// What the last item was, to find a repetition of a repetition.
#[derive(PartialEq)]
enum Last {
    Start,
    Atom,
    Repeat,
}

impl Translator<'_> {
    fn run(mut self) -> Result<String, String> {
        let mut last = Last::Start;
        while let Some(c) = self.chars.next() {
            last = match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '|' => {
                    self.out.push('|');
                    Last::Start
                }
                ')' | '.' | '^' | '$' => {
                    self.out.push(c);
                    Last::Atom
                }
                '*' | '+' | '?' => self.repeat(&c.to_string(), &last)?,
                '{' => match self.counted()? {
                    Some(count) => self.repeat(&count, &last)?,
                    None => self.literal('{'),
                },
                other => self.literal(other),
            };
        }
        Ok(self.out)
    }

    fn literal(&mut self, c: char) -> Last {
        push_literal(&mut self.out, c);
        Last::Atom
    }

    fn repeat(&mut self, operator: &str, last: &Last) -> Result<Last, String> {
        match last {
            Last::Start => {
                return Err(format!("missing argument to repetition operator: `{operator}`"));
            }
            Last::Repeat => {
                return Err(format!("invalid nested repetition operator: `{operator}`"));
            }
            Last::Atom => {}
        }
        self.out.push_str(operator);
        if self.chars.next_if_eq(&'?').is_some() {
            self.out.push('?');
        }
        Ok(Last::Repeat)
    }

    /// After `{`: the whole counted repetition, or none if the brace is literal.
    fn counted(&mut self) -> Result<Option<String>, String> {
        let mut ahead = self.chars.clone();
        let body: String = ahead.by_ref().take_while(|c| *c != '}').collect();
        let (low, high) = body.split_once(',').unwrap_or((&body, &body));
        let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let open = body.ends_with(',') && high.is_empty();
        let closed = self.chars.clone().nth(body.chars().count()) == Some('}');
        if !closed || !number(low) || !(open || number(high)) {
            return Ok(None);
        }
        let parse = |text: &str| text.parse::<u32>().ok().filter(|n| *n <= MAX_REPEAT);
        let invalid = || format!("invalid repeat count: `{{{body}}}`");
        let from = parse(low).ok_or_else(invalid)?;
        if !open && parse(high).is_none_or(|to| to < from) {
            return Err(invalid());
        }
        self.chars = ahead;
        Ok(Some(format!("{{{body}}}")))
    }

    fn group(&mut self) -> Result<Last, String> {
        self.out.push('(');
        if self.chars.next_if_eq(&'?').is_none() {
            return Ok(Last::Start);
        }
        self.out.push('?');
        if matches!(self.chars.peek(), Some('P' | '<')) {
            return self.name();
        }
        let (mut on, mut off, mut negative) = (String::new(), String::new(), false);
        loop {
            match self.chars.next() {
                Some(c @ ('i' | 'm' | 's' | 'U')) => {
                    if negative { &mut off } else { &mut on }.push(c)
                }
                Some('-') if !negative => negative = true,
                Some(c @ (':' | ')')) => {
                    // Only ASCII letters fold: the tables of the other ones are not linked.
                    if on.contains('i') {
                        off.push('u');
                    }
                    let separator = if off.is_empty() { "" } else { "-" };
                    let _ = write!(self.out, "{on}{separator}{off}{c}");
                    return Ok(Last::Start);
                }
                _ => return Err("invalid or unsupported Perl syntax: `(?`".to_owned()),
            }
        }
    }

    /// After `(?`: `P<name>` or `<name>`.
    fn name(&mut self) -> Result<Last, String> {
        let _ = self.chars.next_if_eq(&'P');
        let invalid = || "invalid named capture".to_owned();
        self.chars.next_if_eq(&'<').ok_or_else(invalid)?;
        let mut name = String::new();
        loop {
            match self.chars.next() {
                Some('>') if !name.is_empty() => break,
                Some(c) if c == '_' || c.is_ascii_alphanumeric() => name.push(c),
                _ => return Err(invalid()),
            }
        }
        let _ = write!(self.out, "P<{name}>");
        Ok(Last::Start)
    }

    fn escape(&mut self) -> Result<Last, String> {
        let c = self.chars.next().ok_or("trailing backslash at end of expression")?;
        match c {
            'd' => self.out.push_str("[0-9]"),
            'D' => self.out.push_str("[^0-9]"),
            'w' => self.out.push_str("[0-9A-Za-z_]"),
            'W' => self.out.push_str("[^0-9A-Za-z_]"),
            's' => self.out.push_str(r"[\t\n\x0C\r ]"),
            'S' => self.out.push_str(r"[^\t\n\x0C\r ]"),
            'b' => self.out.push_str(r"(?-u:\b)"),
            'B' => self.out.push_str(r"(?-u:\B)"),
            'A' => self.out.push_str(r"\A"),
            'z' => self.out.push_str(r"\z"),
            'Q' => return Ok(self.quoted()),
            other => {
                let literal = self.escaped_char(other)?;
                push_literal(&mut self.out, literal);
            }
        }
        Ok(Last::Atom)
    }

    fn quoted(&mut self) -> Last {
        while let Some(c) = self.chars.next() {
            if c == '\\' && self.chars.next_if_eq(&'E').is_some() {
                break;
            }
            push_literal(&mut self.out, c);
        }
        Last::Atom
    }

    /// The one character that an escape stands for.
    fn escaped_char(&mut self, c: char) -> Result<char, String> {
        let invalid = || format!("invalid escape sequence: `\\{c}`");
        match c {
            'a' => Ok('\x07'),
            'f' => Ok('\x0C'),
            't' => Ok('\t'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            'v' => Ok('\x0B'),
            'x' => self.hex().ok_or_else(invalid),
            '0'..='7' => {
                let mut value = c.to_digit(8).ok_or_else(invalid)?;
                let mut digits = 1;
                while digits < 3 {
                    let Some(next) = self.chars.peek().and_then(|c| c.to_digit(8)) else { break };
                    value = value * 8 + next;
                    self.chars.next();
                    digits += 1;
                }
                if digits == 1 && c != '0' {
                    return Err(invalid());
                }
                char::from_u32(value).ok_or_else(invalid)
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok(c),
            _ => Err(invalid()),
        }
    }

    fn hex(&mut self) -> Option<char> {
        let braced = self.chars.next_if_eq(&'{').is_some();
        let chars = self.chars.by_ref();
        let text: String = if braced {
            chars.take_while(|c| *c != '}').collect()
        } else {
            chars.take(2).collect()
        };
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        char::from_u32(u32::from_str_radix(&text, 16).ok()?)
    }

    fn class(&mut self) -> Result<Last, String> {
        self.out.push('[');
        if self.chars.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let c = self.chars.next().ok_or("missing closing ]")?;
            if c == ']' && !first {
                self.out.push(']');
                return Ok(Last::Atom);
            }
            first = false;
            if c == '[' && self.chars.peek() == Some(&':') && self.named_class()? {
                continue;
            }
            if let Some(low) = self.class_item(c)? {
                self.class_range(low)?;
            }
        }
    }

    /// One character of a class; a whole set such as `\d` is written and is no character.
    fn class_item(&mut self, c: char) -> Result<Option<char>, String> {
        if c != '\\' {
            return Ok(Some(c));
        }
        let c = self.chars.next().ok_or("trailing backslash at end of expression")?;
        let set = match c {
            'd' => "0-9",
            'D' => "[^0-9]",
            'w' => "0-9A-Za-z_",
            'W' => "[^0-9A-Za-z_]",
            's' => r"\t\n\x0C\r ",
            'S' => r"[^\t\n\x0C\r ]",
            other => return self.escaped_char(other).map(Some),
        };
        self.out.push_str(set);
        Ok(None)
    }

    fn class_range(&mut self, low: char) -> Result<(), String> {
        let mut ahead = self.chars.clone();
        let is_range = ahead.next() == Some('-') && ahead.next().is_some_and(|c| c != ']');
        push_literal(&mut self.out, low);
        if !is_range {
            return Ok(());
        }
        self.chars.next();
        let next = self.chars.next().ok_or("missing closing ]")?;
        let high = self
            .class_item(next)?
            .filter(|high| *high >= low)
            .ok_or("invalid character class range")?;
        self.out.push('-');
        push_literal(&mut self.out, high);
        Ok(())
    }

    /// After `[`: `:alpha:]` and the like.
    fn named_class(&mut self) -> Result<bool, String> {
        let mut ahead = self.chars.clone();
        ahead.next();
        let name: String =
            ahead.by_ref().take_while(|c| *c == '^' || c.is_ascii_alphabetic()).collect();
        if ahead.next() != Some(']') {
            return Ok(false);
        }
        let known = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print",
            "punct", "space", "upper", "word", "xdigit",
        ];
        if !known.contains(&name.trim_start_matches('^')) {
            return Err(format!("invalid character class range: `[:{name}:]`"));
        }
        let _ = write!(self.out, "[:{name}:]");
        self.chars = ahead;
        Ok(true)
    }
}

fn push_literal(out: &mut String, c: char) {
    if c == '_' || c.is_ascii_alphanumeric() || !c.is_ascii() {
        out.push(c);
    } else {
        let _ = write!(out, "\\x{{{:X}}}", u32::from(c));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_what_go_means() {
        for (pattern, text, expected) in [
            (r"^\d+$", "123", true),
            (r"^\d+$", "\u{663}", false),
            (r"^\w+$", "é", false),
            (r"^\s$", "\u{B}", false),
            (r"^\S$", "\u{B}", true),
            (r"^[^\d]$", "x", true),
            (r"^[\D]$", "1", false),
            (r"^[a&&b]+$", "a&b", true),
            (r"^[+--]+$", ",", true),
            (r"^[[a]+$", "[a", true),
            (r"^[]a]+$", "]a", true),
            (r"^[a\-z]+$", "-", true),
            (r"^[[:alpha:]_]+$", "Ab_", true),
            (r"^a{,2}$", "a{,2}", true),
            (r"^a{,2}$", "aa", false),
            (r"^{$", "{", true),
            (r"^a{2,3}$", "aaa", true),
            (r"^a{2,}$", "a", false),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"^\x41\x{42}\103$", "ABC", true),
            (r"^\<$", "<", true),
            (r"^(?P<n>a)(?<m>b)$", "ab", true),
            (r"^(?i)abc$", "aBC", true),
            (r"\bfoo\b", "a foo b", true),
            (r"^.$", "é", true),
            (r"^.$", "\n", false),
            (r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "a-b", true),
            (r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "a-", false),
            ("a#b c", "a#b c", true),
        ] {
            let regex = compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(regex.is_match(text), expected, "{pattern} on {text:?}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for pattern in [
            "a{1001}",
            "a{3,2}",
            "a**",
            "*a",
            "(?x)a",
            "(?=a)",
            r"\Z",
            r"\C",
            r"\1",
            "[a",
            "(a",
            "a)",
            "[z-a]",
            "[a--b]",
            "\\",
            "[[:nope:]]",
            r"\y",
        ] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
        assert!(compile("a{1000}").is_ok());
    }
}
