//! Paths that may be written on every device, and ones that may not.

use segue_proto::Rules;
use segue_proto::data::check_path;

use crate::vectors::form::{Book, Vector, text};

/// Adds the vectors.
pub(crate) fn add(book: &mut Book) {
    let component = "a".repeat(255);
    let longest = format!("{component}/{component}/{component}/{}/b", &component[1..]);
    for (name, path) in [
        ("plain", "notes.txt"),
        ("nested", "photos/2026/tent.raw"),
        ("hidden", ".config"),
        ("dots", "a..b/...c"),
        ("space-inside", "my notes.txt"),
        ("unicode", "Größe/日本語/🏕.txt"),
        ("component-255", &component),
        ("bytes-1024", &longest),
        ("not-a-device", "CONSOLE/com10/nullable"),
    ] {
        let vector = Vector::valid("data", "path", format!("path-{name}"), "A path that may be written.")
            .clause("DATA-NAME-1")
            .input("path", text(path))
            .expect("accepted", true);
        book.same(&vector, "whether it is taken", check_path(Rules::ALL, path).is_ok(), true);
        book.add(vector);
    }
    let long_component = "a".repeat(256);
    let long_path = longest.clone() + "c";
    let long_unicode = "é".repeat(128);
    for (name, path, what) in [
        ("empty", "", "No path."),
        ("absolute", "/etc/passwd", "A path that starts at the root."),
        ("trailing-slash", "photos/", "A path that ends in a slash."),
        ("double-slash", "photos//tent.raw", "An empty component."),
        ("dot", "./notes.txt", "A component `.`."),
        ("dot-dot", "photos/../../notes.txt", "A component `..`."),
        ("dot-dot-last", "photos/..", "A component `..` at the end."),
        ("backslash", "photos\\tent.raw", "A backslash."),
        ("drive", "C:notes.txt", "A colon."),
        ("stream", "notes.txt:hidden", "A colon."),
        ("nul", "notes\0.txt", "NUL."),
        ("newline", "notes\n.txt", "A control character."),
        ("delete", "notes\u{7f}.txt", "A control character."),
        ("bidirectional", "notes\u{202e}txt.exe", "A character that turns the direction of text."),
        ("byte-order-mark", "\u{feff}notes.txt", "A byte order mark."),
        ("trailing-dot", "notes.", "A component that ends in a full stop."),
        ("trailing-space", "notes /a", "A component that ends in a space."),
        ("device", "CON", "A name that Windows takes for a device."),
        ("device-lower", "photos/nul", "The same in small letters."),
        ("device-extension", "Aux.txt", "The same with an extension."),
        ("device-port", "COM1", "The same with a number."),
        ("device-port-0", "com0.txt", "The same with 0."),
        ("device-superscript", "COM¹", "The same with a superscript digit."),
        ("device-console", "conin$", "The name of the console's input."),
        ("device-space", "aux .txt", "A device's name with a space behind it."),
        ("device-printer", "lpt9.tar.gz", "The same with two extensions."),
        ("component-256", &long_component, "A component of 256 bytes."),
        ("component-256-unicode", &long_unicode, "A component of 128 characters and 256 bytes."),
        ("bytes-1025", &long_path, "A path of 1,025 bytes."),
    ] {
        let vector = Vector::invalid("data", "path", format!("path-{name}"), what, ("DATA-NAME-1", "DATA_NAME"));
        book.refuse(vector.input("path", text(path)), check_path(Rules::ALL, path));
    }
}
