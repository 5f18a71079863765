//! Patterns of actions and resources: `*` is any number of characters, `?` is one.

/// Parts of an ARN: `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`; the last may hold colons.
const ARN_PARTS: usize = 6;

/// Which actions. `SERVICE:NAME`, where case does not matter, or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ActionPattern(Vec<char>);

/// Which resources: an ARN each of whose parts is a pattern, so that a `*` stays within its part; or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ResourcePattern {
    Any,
    Arn([Vec<char>; ARN_PARTS]),
}

impl ActionPattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let plain = |name: &str| {
            let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-*?".contains(letter);
            !name.is_empty() && name.chars().all(allowed)
        };
        let is_named = text
            .split_once(':')
            .is_some_and(|(service, name)| plain(service) && !service.contains(['*', '?']) && plain(name));
        if text != "*" && !is_named {
            return Err(format!(
                "`{}` is no action: expected SERVICE:NAME, as lambda:InvokeFunction, or *",
                shown(text)
            ));
        }
        Ok(Self(text.to_ascii_lowercase().chars().collect()))
    }

    pub(super) fn covers(&self, action: &str) -> bool {
        let action: Vec<char> = action.to_ascii_lowercase().chars().collect();
        matches(&self.0, &action)
    }
}

impl ResourcePattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if text.contains("${") {
            return Err(format!(
                "`{}` has a policy variable, which is not evaluated here",
                shown(text)
            ));
        }
        match parts(text) {
            Some(parts) if text.starts_with("arn:") => Ok(Self::Arn(parts)),
            _ => Err(format!(
                "`{}` is no resource: expected an ARN of six parts, as arn:aws:lambda:*:*:function:NAME*, or *",
                shown(text)
            )),
        }
    }

    pub(super) fn covers(&self, resource: &str) -> bool {
        let Self::Arn(patterns) = self else { return true };
        parts(resource).is_some_and(|parts| {
            let mut pairs = patterns.iter().zip(&parts);
            pairs.all(|(pattern, part)| matches(pattern, part))
        })
    }
}

fn parts(arn: &str) -> Option<[Vec<char>; ARN_PARTS]> {
    let parts: Vec<Vec<char>> = arn.splitn(ARN_PARTS, ':').map(|part| part.chars().collect()).collect();
    parts.try_into().ok()
}

/// Whether a text is of a pattern. After a mismatch only the last `*` is tried further, so the time is at most the
/// product of both lengths, whatever the pattern is.
pub(super) fn matches(pattern: &[char], text: &[char]) -> bool {
    let (mut at, mut from) = (0, 0);
    // Behind the last `*` in the pattern, and the text's first character that it has not taken yet.
    let mut retry = None;
    while from < text.len() {
        match pattern.get(at) {
            Some('*') => {
                retry = Some((at + 1, from));
                at += 1;
            }
            Some(letter) if *letter == '?' || *letter == text[from] => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((behind, taken)) = retry else { return false };
                retry = Some((behind, taken + 1));
                (at, from) = (behind, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

/// For messages: not long, and on one line.
fn shown(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_debug).collect()
}
