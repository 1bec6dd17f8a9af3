//! `WWW-Authenticate` headers (RFC 9110, section 11): several challenges in one header or in several, quoted strings
//! with commas and escapes in them.

/// One way in that a server offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// The scheme in lower case: `bearer`, `basic`, …
    pub(crate) scheme: String,
    parameters: Vec<(String, String)>,
}

/// Challenges read from one answer; a server has no reason to offer more.
const MAX_CHALLENGES: usize = 16;
const MAX_PARAMETERS: usize = 32;

impl Challenge {
    /// The parameter's value; names know no case; the first of several counts.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Reads every challenge of one header value; what cannot be understood ends the reading, what came before it counts.
pub(crate) fn parse(header: &str) -> Vec<Challenge> {
    let mut cursor = Cursor { rest: header };
    let mut challenges = Vec::new();
    while challenges.len() < MAX_CHALLENGES {
        cursor.skip_separators();
        let Some(scheme) = cursor.token() else { break };
        let mut challenge = Challenge { scheme: scheme.to_ascii_lowercase(), parameters: Vec::new() };
        let intact = cursor.parameters(&mut challenge.parameters);
        challenges.push(challenge);
        if !intact {
            break;
        }
    }
    challenges
}

struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn skip_separators(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', ',']);
    }

    fn take(&mut self, expected: char) -> bool {
        let stripped = self.rest.strip_prefix(expected);
        self.rest = stripped.unwrap_or(self.rest);
        stripped.is_some()
    }

    /// One or more token characters.
    fn token(&mut self) -> Option<&'a str> {
        let end = self.rest.find(|letter| !is_token(letter)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!token.is_empty()).then_some(token)
    }

    /// The parameters that follow a scheme; stops before the next scheme; false when the text is malformed.
    fn parameters(&mut self, into: &mut Vec<(String, String)>) -> bool {
        loop {
            self.skip_separators();
            let before = self.rest;
            let Some(name) = self.token() else { return self.rest.is_empty() || self.skip_token68() };
            self.skip_spaces();
            if !self.take('=') {
                // Not a parameter: either the next scheme or the scheme's own token68 form, which only comes first.
                let next_scheme = before;
                self.rest = next_scheme;
                return true;
            }
            self.skip_spaces();
            if self.rest.is_empty() || self.rest.starts_with(['=', ',']) {
                self.rest = self.rest.trim_start_matches('=');
                continue;
            }
            let value = if self.take('"') { self.quoted() } else { self.token().map(str::to_owned) };
            let Some(value) = value else { return false };
            if into.len() < MAX_PARAMETERS {
                into.push((name.to_ascii_lowercase(), value));
            }
        }
    }

    /// Steps over credentials in the token68 form that begin with a character which tokens lack.
    fn skip_token68(&mut self) -> bool {
        if !self.rest.starts_with('/') {
            return false;
        }
        let end = self.rest.find([' ', '\t', ',']).unwrap_or(self.rest.len());
        self.rest = &self.rest[end..];
        true
    }

    /// The rest of a quoted string, unescaped; None when it never ends.
    fn quoted(&mut self) -> Option<String> {
        let mut value = String::new();
        let mut letters = self.rest.char_indices();
        while let Some((index, letter)) = letters.next() {
            match letter {
                '"' => {
                    self.rest = &self.rest[index + 1..];
                    return Some(value);
                }
                '\\' => value.push(letters.next()?.1),
                other => value.push(other),
            }
        }
        None
    }
}

fn is_token(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(letter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn challenge(scheme: &str, parameters: &[(&str, &str)]) -> Challenge {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Challenge { scheme: scheme.to_owned(), parameters: parameters.iter().map(own).collect() }
    }

    #[test]
    fn a_token_service() {
        let header =
            r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push""#;
        let read = parse(header);
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].scheme, "bearer");
        assert_eq!(read[0].parameter("realm"), Some("https://auth.example/token"));
        assert_eq!(read[0].parameter("scope"), Some("repository:a/b:pull,push"));
        assert_eq!(read[0].parameter("error"), None);
    }

    #[test]
    fn several_challenges_in_one_header() {
        let header = r#"Negotiate, Basic realm="a, \"b\" = c" , BEARER Realm = tok , service=x,,NTLM abc==, Digest"#;
        assert_eq!(
            parse(header),
            [
                challenge("negotiate", &[]),
                challenge("basic", &[("realm", r#"a, "b" = c"#)]),
                challenge("bearer", &[("realm", "tok"), ("service", "x")]),
                challenge("ntlm", &[]),
                challenge("digest", &[]),
            ]
        );
    }

    #[test]
    fn what_is_broken_ends_the_reading() {
        assert_eq!(parse(r#"Bearer realm="never ends"#), [challenge("bearer", &[])]);
        assert_eq!(parse("Bearer realm=\"x\" \u{1}, Basic"), [challenge("bearer", &[("realm", "x")])]);
        assert!(parse("").is_empty() && parse(",, ,").is_empty() && parse("\"").is_empty());
        assert_eq!(parse(&"a b=c,".repeat(10_000)).len(), MAX_CHALLENGES);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic_or_hang(header in "\\PC{0,200}") {
            let read = parse(&header);
            prop_assert!(read.len() <= MAX_CHALLENGES);
        }

        #[test]
        fn nor_do_the_characters_that_mean_something(header in "[Bb= \t,\"\\\\/a~\u{1}é]{0,120}") {
            prop_assert!(parse(&header).len() <= MAX_CHALLENGES);
        }

        #[test]
        fn what_was_written_is_read(
            list in prop::collection::vec(
                ("[a-z]{1,8}", prop::collection::vec(("[a-z]{1,8}", "[ -~é]{0,20}"), 1..5)), 1..5),
            space in "[ \t]{0,2}",
        ) {
            let comma = format!("{space},{space}");
            let write = |(scheme, parameters): &(String, Vec<(String, String)>)| {
                let written: Vec<String> = parameters
                    .iter()
                    .map(|(name, value)| {
                        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
                        format!("{name}{space}={space}\"{escaped}\"")
                    })
                    .collect();
                format!("{scheme} {}", written.join(&comma))
            };
            let header = list.iter().map(write).collect::<Vec<_>>().join(&comma);
            let expected: Vec<Challenge> = list
                .into_iter()
                .map(|(scheme, parameters)| Challenge { scheme, parameters })
                .collect();
            prop_assert_eq!(parse(&header), expected);
        }
    }
}
