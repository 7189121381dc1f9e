//! Programs in character sets of which a byte may look like a backslash or a quote.

use super::is_copied;
use crate::on;
use crate::server::Server;

on! {
    programs_whose_characters_end_like_a_backslash_come_back: mariadb mariadb11 mysql;
}

/// In texts and names, of characters whose second byte is that of a backslash: for who takes it for one, a text does not end, and `\!` begins
/// a command of the client's.
async fn programs_whose_characters_end_like_a_backslash_come_back(server: Server) {
    let mut charsets: Vec<(&str, &[u8])> =
        vec![("sjis", b"\x83\x5c"), ("cp932", b"\x83\x5c"), ("big5", b"\xa5\x5c"), ("gbk", b"\xbf\x5c")];
    if !server.is_mariadb() {
        charsets.push(("gb18030", b"\xbf\x5c"));
    }
    let source = server.empty();
    for (charset, letter) in charsets {
        let text = format!("CREATE PROCEDURE text_{charset}() SELECT '");
        let named = format!("DELIMITER //\nCREATE PROCEDURE named_{charset}() BEGIN DECLARE ");
        let said = [
            text.as_bytes(),
            letter,
            b"', 'it''s; ",
            letter,
            b"';\n",
            named.as_bytes(),
            letter,
            b" INT DEFAULT 2; IF ",
            letter,
            b"!=1 THEN SELECT 1; END IF; END//\n",
        ];
        server.feed(Some(&source.path), &said.concat(), &[&format!("--default-character-set={charset}")]);
    }
    is_copied(&server, &source.path).await;
}
