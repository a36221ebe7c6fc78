//! The members of an object, as they are written.

use std::borrow::Cow;

/// The members of an object in the order of the text.
pub(crate) struct Members<'t> {
    rest: &'t str,
    began: bool,
}

type Member<'t> = (Cow<'t, str>, &'t str);

impl<'t> Members<'t> {
    pub(crate) fn of(text: &'t str) -> Self {
        Self {
            rest: text.trim(),
            began: false,
        }
    }

    /// Name and value of the next member; `None` at the end. After an error there are no more.
    pub(crate) fn next(&mut self) -> Result<Option<Member<'t>>, &'static str> {
        if !self.began {
            self.began = true;
            self.skip('{').ok_or("the line is not a JSON object")?;
            if self.skip('}').is_some() {
                return self.end();
            }
        } else if self.skip(',').is_none() {
            self.skip('}').ok_or("the JSON object is not complete")?;
            return self.end();
        }
        let name = self.value().filter(|it| it.starts_with('"'));
        let name = unquoted(name.ok_or("a name in the JSON object is not a text")?);
        let name = name.ok_or("a name in the JSON object is not valid")?;
        self.skip(':')
            .ok_or("a name in the JSON object has no value")?;
        let value = self
            .value()
            .ok_or("a value in the JSON object is not complete")?;
        Ok(Some((name, value)))
    }

    fn end(&self) -> Result<Option<Member<'t>>, &'static str> {
        match self.rest.is_empty() {
            true => Ok(None),
            false => Err("something follows the JSON object"),
        }
    }

    fn skip(&mut self, mark: char) -> Option<()> {
        self.rest = self.rest.trim_start().strip_prefix(mark)?.trim_start();
        Some(())
    }

    /// The value that comes next, as it is written; `None` if it has no end.
    fn value(&mut self) -> Option<&'t str> {
        self.rest = self.rest.trim_start();
        let bytes = self.rest.as_bytes();
        let length = match bytes.first()? {
            b'"' => string(bytes)?,
            b'{' | b'[' => nested(bytes)?,
            _ => {
                let is_end =
                    |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
                bytes.iter().position(is_end).filter(|length| *length > 0)?
            }
        };
        let (value, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(value)
    }
}

/// Length of the text, with its quotes, that `bytes` begin with.
fn string(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        let found = memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        at += found + 1;
        if bytes.get(at - 1) == Some(&b'"') {
            return Some(at);
        }
        // What is escaped.
        at += 1;
    }
}

/// Length of the object or list that `bytes` begin with.
fn nested(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        match bytes.get(at)? {
            b'"' => {
                at += string(bytes.get(at..)?)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

fn unquoted(text: &str) -> Option<Cow<'_, str>> {
    match text.contains('\\') {
        true => serde_json::from_str::<String>(text).ok().map(Cow::Owned),
        false => text.strip_prefix('"')?.strip_suffix('"').map(Cow::Borrowed),
    }
}
