//! Which requests are equal: a hash that events share when they mean the same JSON.
//!
//! Equal are events that differ in white space, in the order of members and in how strings are escaped, and in the fields
//! that the function's tag leaves out. Numbers are equal only when they are written the same (`1`, `1.0` and `1e0` are
//! three, and no digit of a long one is lost); of members with one name all count, in their order, because handlers
//! differ in which they take. Whatever is in doubt costs a miss and never a wrong answer.
//!
//! The event is read once, without recursion, into a form in which no two values look alike:
//!
//! | value | form |
//! |---|---|
//! | null, false, true | `z`, `f`, `t` |
//! | number | `n`, its text, a zero byte |
//! | string | `s`, its length (4 bytes, little-endian), its bytes without escapes |
//! | array | `[`, the values, `]` |
//! | object | `{`, a hash of its members sorted by name, each the name as a string and the value |
//!
//! An object becomes its hash as soon as it ends, so each byte is sorted and hashed once, however deep it lies. A lone
//! surrogate, which is no Unicode and which JSON can write, is kept as three bytes that are not UTF-8.

use control::ResponseCaching;

/// Names a request and thereby its answer.
pub(crate) type Key = [u8; 32];

/// What the hash of a whole request, and of an object, is for: BLAKE3 keeps the two apart.
const REQUEST: &str = "lambent 2026-11-22 response cache: a request";
const OBJECT: &str = "lambent 2026-11-22 response cache: an object";

/// How deep an event may be nested to have a key. Python's own reader stops at about 1,000.
const DEPTH_MAX: usize = 512;

/// What decides about an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// Of the lease: code, configuration and account.
    pub(crate) revision: &'a str,
    pub(crate) caching: &'a ResponseCaching,
    pub(crate) client_context: Option<&'a str>,
    /// JSON, checked.
    pub(crate) event: &'a [u8],
}

/// The key of a request; none for an event that is nested too deeply, and for what is not JSON.
pub(crate) fn key(request: &Request<'_>) -> Option<Key> {
    let form = Reader::new(request.event, &request.caching.excluded).read()?;
    let mut hasher = blake3::Hasher::new_derive_key(REQUEST);
    let mut text = |text: &str| {
        hasher.update(&length(text.len()));
        hasher.update(text.as_bytes());
    };
    text(request.revision);
    text(request.client_context.unwrap_or_default());
    // What was left out from the events of a key must be the same for all of them.
    for path in &request.caching.excluded {
        path.iter().for_each(|name| text(name));
        text("");
    }
    text("");
    hasher.update(&form);
    Some(*hasher.finalize().as_bytes())
}

fn length(bytes: usize) -> [u8; 4] {
    // Nothing here comes near 4 GiB: an event has 6 MiB.
    u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes()
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    /// The form so far.
    out: Vec<u8>,
    open: Vec<Container>,
    /// Members of all open objects; an object's own are at the end.
    members: Vec<Member>,
    excluded: &'a [Vec<String>],
}

/// An array or object that has begun.
struct Container {
    fields: Fields,
    /// Of an object: where its form begins, its first member, and the member that is being read.
    object: Option<(usize, usize, Option<Begun>)>,
}

struct Begun {
    start: usize,
    name_end: usize,
    is_excluded: bool,
}

/// Places in the form; its name is a string's form.
#[derive(Clone, Copy)]
struct Member {
    start: usize,
    name_end: usize,
    end: usize,
}

/// Which of the excluded paths lead through a value: `excluded[first..end]`, by their names up to `depth`.
#[derive(Clone, Copy)]
struct Fields {
    first: usize,
    end: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a [u8], excluded: &'a [Vec<String>]) -> Self {
        Self {
            text,
            at: 0,
            out: Vec::with_capacity(text.len() + text.len() / 4 + 64),
            open: Vec::new(),
            members: Vec::new(),
            excluded,
        }
    }

    fn read(mut self) -> Option<Vec<u8>> {
        let all = Fields {
            first: 0,
            end: self.excluded.len(),
            depth: 0,
        };
        self.value(all)?;
        while let Some(container) = self.open.last() {
            if container.object.is_some() {
                self.step_object()?;
            } else {
                self.step_array()?;
            }
        }
        Some(self.out)
    }

    /// The text is JSON, so commas and colons say nothing that the rest does not.
    fn next_byte(&mut self) -> Option<u8> {
        let rest = self.text.get(self.at..)?;
        let skipped = rest
            .iter()
            .position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':'))?;
        self.at += skipped;
        Some(rest[skipped])
    }

    /// Reads a scalar, or begins an array or object.
    fn value(&mut self, fields: Fields) -> Option<()> {
        match self.next_byte()? {
            b'"' => {
                self.out.push(b's');
                return self.string();
            }
            b'{' => self.begin(fields, Some((self.out.len(), self.members.len(), None)))?,
            b'[' => {
                self.out.push(b'[');
                self.begin(fields, None)?;
            }
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word(b't', 4),
            b'f' => self.word(b'f', 5),
            b'n' => self.word(b'z', 4),
            _ => return None,
        }
        Some(())
    }

    fn begin(&mut self, fields: Fields, object: Option<(usize, usize, Option<Begun>)>) -> Option<()> {
        if self.open.len() == DEPTH_MAX {
            return None;
        }
        self.at += 1;
        self.open.push(Container { fields, object });
        Some(())
    }

    fn word(&mut self, mark: u8, bytes: usize) {
        self.out.push(mark);
        self.at += bytes;
    }

    fn number(&mut self) {
        let rest = &self.text[self.at..];
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let end = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
        self.out.push(b'n');
        self.out.extend_from_slice(&rest[..end]);
        self.out.push(0);
        self.at += end;
    }

    fn step_array(&mut self) -> Option<()> {
        if self.next_byte()? == b']' {
            self.at += 1;
            self.out.push(b']');
            self.open.pop();
            return Some(());
        }
        // A path leads into every element.
        let fields = self.open.last()?.fields;
        self.value(fields)
    }

    fn step_object(&mut self) -> Option<()> {
        self.end_member();
        if self.next_byte()? == b'}' {
            self.at += 1;
            return self.end_object();
        }
        let start = self.out.len();
        if self.text[self.at] != b'"' {
            return None;
        }
        self.string()?;
        let fields = self.open.last()?.fields;
        let (inner, is_excluded) = self.within(fields, start + 4);
        let begun = Begun {
            start,
            name_end: self.out.len(),
            is_excluded,
        };
        if let Some((_, _, member)) = &mut self.open.last_mut()?.object {
            *member = Some(begun);
        }
        self.value(inner)
    }

    /// The value of the member that was begun last is read.
    fn end_member(&mut self) {
        let object = self.open.last_mut().and_then(|container| container.object.as_mut());
        let Some(begun) = object.and_then(|(_, _, member)| member.take()) else {
            return;
        };
        if begun.is_excluded {
            self.out.truncate(begun.start);
            return;
        }
        self.members.push(Member {
            start: begun.start,
            name_end: begun.name_end,
            end: self.out.len(),
        });
    }

    fn end_object(&mut self) -> Option<()> {
        let (start, first, _) = self.open.pop()?.object?;
        let out = &self.out;
        let name = |member: &Member| &out[member.start + 4..member.name_end];
        // Stable: members of one name stay in their order.
        self.members[first..].sort_by(|one, other| name(one).cmp(name(other)));
        let mut hasher = blake3::Hasher::new_derive_key(OBJECT);
        for member in &self.members[first..] {
            hasher.update(&self.out[member.start..member.end]);
        }
        self.members.truncate(first);
        self.out.truncate(start);
        self.out.push(b'{');
        self.out.extend_from_slice(hasher.finalize().as_bytes());
        Some(())
    }

    /// The paths that go on below the member whose name begins here in the form, and whether one of them ends with it.
    fn within(&self, fields: Fields, name_start: usize) -> (Fields, bool) {
        let name = &self.out[name_start..];
        let paths = &self.excluded[fields.first..fields.end];
        // They are sorted, and equal up to here: those of one name lie together.
        let first = paths.partition_point(|path| name_at(path, fields.depth) < Some(name));
        let count = paths[first..].partition_point(|path| name_at(path, fields.depth) == Some(name));
        let depth = fields.depth + 1;
        let inner = Fields {
            first: fields.first + first,
            end: fields.first + first + count,
            depth,
        };
        let is_excluded = self.excluded[inner.first..inner.end]
            .iter()
            .any(|path| path.len() == depth);
        (inner, is_excluded)
    }

    /// A string from its opening quotation mark: its length and its bytes.
    fn string(&mut self) -> Option<()> {
        self.at += 1;
        let start = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        loop {
            let rest = self.text.get(self.at..)?;
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
            self.out.extend_from_slice(&rest[..plain]);
            self.at += plain + 1;
            if rest[plain] == b'"' {
                break;
            }
            self.escape()?;
        }
        let bytes = length(self.out.len() - start - 4);
        self.out[start..start + 4].copy_from_slice(&bytes);
        Some(())
    }

    /// What stands after a backslash.
    fn escape(&mut self) -> Option<()> {
        let letter = *self.text.get(self.at)?;
        self.at += 1;
        let byte = match letter {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => return self.unicode(),
            other => other,
        };
        self.out.push(byte);
        Some(())
    }

    fn unicode(&mut self) -> Option<()> {
        let unit = self.hex_unit()?;
        let mut code = unit;
        if (0xd800..0xdc00).contains(&unit) && self.text[self.at..].starts_with(b"\\u") {
            let before = self.at;
            self.at += 2;
            match self.hex_unit()? {
                low @ 0xdc00..0xe000 => code = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00),
                _ => self.at = before,
            }
        }
        match char::from_u32(code) {
            Some(letter) => self.out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            None => self.out.extend_from_slice(&lone_surrogate(code)),
        }
        Some(())
    }

    fn hex_unit(&mut self) -> Option<u32> {
        let digits = std::str::from_utf8(self.text.get(self.at..self.at + 4)?).ok()?;
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }
}

fn name_at(path: &[String], depth: usize) -> Option<&[u8]> {
    path.get(depth).map(String::as_bytes)
}

/// As UTF-8 would write it if it were a character: the layout of WTF-8.
fn lone_surrogate(code: u32) -> [u8; 3] {
    let six = |shift: u32| 0x80 | u8::try_from(code >> shift & 0x3f).unwrap_or_default();
    [0xed, six(6), six(0)]
}

#[cfg(test)]
mod tests;
