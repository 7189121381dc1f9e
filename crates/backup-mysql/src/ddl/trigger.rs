//! The head of a CREATE TRIGGER. MariaDB, and MySQL before version 8, print it as somebody wrote it: it may name the database that it was
//! written for, and say that the trigger is not wanted where one of its name is.

use std::ops::Range;

/// The statement without a database before the names of the trigger and of its table, and without IF NOT EXISTS. All else stays as it is, in the
/// character set that it is in. Nothing if it has another head than that of a trigger.
pub(crate) fn in_any_database(sql: &[u8], charset: &str) -> Option<Vec<u8>> {
    let mut head = Head { sql, at: 0, charset };
    let mut left_out = Vec::new();
    while !head.next()?.is("TRIGGER") {}
    let mut name = head.next()?;
    if name.is("IF") {
        let condition = name.place.start;
        if !head.next()?.is("NOT") || !head.next()?.is("EXISTS") {
            return None;
        }
        name = head.next()?;
        left_out.push(condition..name.place.start);
    }
    let mut behind = head.name(name, &mut left_out)?;
    while !behind.is("ON") {
        behind = head.next()?;
    }
    let table = head.next()?;
    let behind = head.name(table, &mut left_out)?;
    if !behind.is("FOR") || !head.next()?.is("EACH") || !head.next()?.is("ROW") {
        return None;
    }
    let (mut said, mut from) = (Vec::with_capacity(sql.len()), 0);
    for gap in left_out {
        said.extend_from_slice(sql.get(from..gap.start)?);
        from = gap.end;
    }
    said.extend_from_slice(sql.get(from..)?);
    Some(said)
}

/// What was written, up to where it has been read.
struct Head<'a> {
    sql: &'a [u8],
    at: usize,
    charset: &'a str,
}

/// A name, a word, or a single character, and where it stands.
struct Piece<'a> {
    text: &'a [u8],
    place: Range<usize>,
}

impl Piece<'_> {
    fn is(&self, word: &str) -> bool {
        self.text.eq_ignore_ascii_case(word.as_bytes())
    }
}

impl<'a> Head<'a> {
    /// The next piece, behind spaces and comments.
    fn next(&mut self) -> Option<Piece<'a>> {
        loop {
            let rest = self.sql.get(self.at..)?;
            let first = *rest.first()?;
            let behind = |end: &[u8]| {
                let found = rest.windows(end.len()).position(|window| window == end);
                found.map_or(rest.len(), |at| at + end.len())
            };
            let is_dashed = rest.starts_with(b"--") && rest.get(2).is_none_or(|c| *c <= b' ');
            let (length, is_piece) = match first {
                b' ' | b'\t'..=b'\r' => (1, false),
                b'#' => (behind(b"\n"), false),
                _ if is_dashed => (behind(b"\n"), false),
                _ if rest.starts_with(b"/*") => (behind(b"*/"), false),
                b'`' | b'"' => (self.quoted(rest, first), true),
                _ if is_letter(first) => (self.word(rest), true),
                _ => (1, true),
            };
            let place = self.at..self.at + length;
            self.at = place.end;
            if is_piece {
                return Some(Piece { text: rest.get(..length)?, place });
            }
        }
    }

    /// Notes what stands before a name that begins with `first`: a database and a point. Returns what comes behind.
    fn name(&mut self, first: Piece<'a>, left_out: &mut Vec<Range<usize>>) -> Option<Piece<'a>> {
        let starts =
            |piece: &Piece<'_>| piece.text.first().is_some_and(|c| matches!(c, b'`' | b'"') || is_letter(*c));
        let point = if first.is(".") {
            first
        } else {
            if !starts(&first) {
                return None;
            }
            let behind = self.next()?;
            if !behind.is(".") {
                return Some(behind);
            }
            Piece { place: first.place.start..behind.place.end, ..behind }
        };
        let name = self.next().filter(starts)?;
        left_out.push(point.place.start..name.place.start);
        self.next()
    }

    /// How long the name is that is quoted at the start. Nothing but its quote hides anything in a name.
    fn quoted(&self, rest: &[u8], quote: u8) -> usize {
        let mut at = 1;
        while let Some(byte) = rest.get(at) {
            if *byte != quote {
                at += self.width(rest, at);
            } else if rest.get(at + 1) == Some(&quote) {
                at += 2;
            } else {
                return at + 1;
            }
        }
        rest.len()
    }

    fn word(&self, rest: &[u8]) -> usize {
        let mut at = 0;
        while rest.get(at).is_some_and(|byte| is_letter(*byte)) {
            at += self.width(rest, at);
        }
        at.min(rest.len())
    }

    /// How many bytes the character has that begins here: more than one where the second may look like a quote or a point.
    fn width(&self, rest: &[u8], at: usize) -> usize {
        let (first, second) = (rest.get(at).copied().unwrap_or_default(), rest.get(at + 1).copied());
        let is_first = match self.charset {
            "sjis" | "cp932" => matches!(first, 0x81..=0x9f | 0xe0..=0xfc),
            "big5" | "gbk" | "gb18030" => first > 0x80,
            _ => false,
        };
        match second {
            Some(b'0'..=b'9') if is_first && self.charset == "gb18030" => 4,
            Some(_) if is_first => 2,
            _ => 1,
        }
    }
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(sql: &str) -> Option<String> {
        in_any_database(sql.as_bytes(), "utf8mb4").map(|said| String::from_utf8(said).unwrap())
    }

    #[test]
    fn a_trigger_is_in_any_database() {
        let plain = "CREATE DEFINER=`trigger`@`%` TRIGGER t1 BEFORE INSERT ON orders FOR EACH ROW INSERT INTO shop.log SELECT 1 FROM shop.t";
        assert_eq!(said(plain).unwrap(), plain);
        for (written, name, table) in [
            ("TRIGGER shop.t BEFORE INSERT ON shop.orders", "t", "orders"),
            ("trigger IF NOT /* x.y */ EXISTS `a ``. b` . `t` BEFORE INSERT ON orders", "`t`", "orders"),
            ("TRIGGER \"sh\"\"op\".\"t\" BEFORE INSERT ON \"shop\" -- . or not\n .\"o.\"", "\"t\"", "\"o.\""),
            ("TRIGGER t BEFORE INSERT ON # ON `a`.`b`\n über.ÖrdersΩ", "t", "# ON `a`.`b`\n ÖrdersΩ"),
            ("TRIGGER t BEFORE INSERT ON .orders", "t", "orders"),
        ] {
            let word = &written[..7];
            let written = format!("CREATE DEFINER=\"a\"@\"%\" {written} FOR EACH ROW SET @a = shop.f()");
            assert_eq!(
                said(&written).unwrap(),
                format!(
                    "CREATE DEFINER=\"a\"@\"%\" {word} {name} BEFORE INSERT ON {table} FOR EACH ROW SET @a = shop.f()"
                )
            );
        }
        let several = "CREATE TRIGGER `on` AFTER INSERT OR UPDATE OF `on`, b ON t FOR EACH ROW BEGIN END";
        assert_eq!(said(&several.replace("ON t", "ON `d`.t")).unwrap(), several);
    }

    #[test]
    fn a_character_that_ends_like_a_quote_ends_no_name() {
        let written = |database: &[u8]| {
            [
                b"CREATE TRIGGER `",
                database,
                b"`.`t` AFTER DELETE ON `",
                database,
                b"`.o FOR EACH ROW SET @a=1",
            ]
            .concat()
        };
        let plain = b"CREATE TRIGGER `t` AFTER DELETE ON o FOR EACH ROW SET @a=1";
        for (charset, name) in
            [("gbk", &b"\x81\x60"[..]), ("sjis", b"\xb1\x83\x60"), ("gb18030", b"\x81\x30\x81\x30\x81\x60")]
        {
            assert_eq!(in_any_database(&written(name), charset).unwrap(), plain, "{charset}");
        }
        assert_eq!(in_any_database(&written(b"\xff\xfe"), "latin1").unwrap(), plain);
    }

    #[test]
    fn what_is_no_trigger_has_no_head() {
        for sql in [
            "",
            "CREATE",
            "CREATE TRIGGER",
            "CREATE TRIGGER t",
            "CREATE TRIGGER IF t BEFORE INSERT ON o FOR EACH ROW SET @a=1",
            "CREATE TRIGGER a. BEFORE INSERT ON",
            "CREATE TRIGGER t BEFORE INSERT ON `o FOR EACH ROW",
            "CREATE TRIGGER t BEFORE INSERT ON o FOR EACH",
        ] {
            assert!(said(sql).is_none(), "{sql}");
        }
    }
}
