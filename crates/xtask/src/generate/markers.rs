//! Marked sections: what stands between `<!-- generated: NAME -->` and `<!-- end -->` is generated.

use crate::problem::Problem;
use crate::tree::File;

/// The page with all its sections filled by `section`, and their names.
pub(crate) fn fill(file: &File, section: impl Fn(&str) -> Option<String>) -> Result<(String, Vec<String>), Problem> {
    let (mut text, mut names) = (String::new(), Vec::new());
    let mut open: Option<usize> = None;
    for (number, line) in file.lines() {
        let name = line.trim().strip_prefix(START).and_then(|rest| rest.strip_suffix("-->")).map(str::trim);
        match (open, name) {
            (Some(start), Some(_)) => {
                return Err(Problem::at(
                    &file.path,
                    number,
                    format!("the section of line {start} has no {END}: add it"),
                ));
            }
            (Some(_), None) if line.trim() == END => open = None,
            (Some(_), None) => continue,
            (None, Some(name)) => {
                let Some(body) = section(name) else {
                    return Err(Problem::at(
                        &file.path,
                        number,
                        format!("nothing generates a section '{name}': correct its name"),
                    ));
                };
                text.push_str(&format!("{}\n\n{}\n\n{END}\n", line.trim(), body.trim_end()));
                names.push(name.to_owned());
                open = Some(number);
                continue;
            }
            (None, None) => text.push_str(&format!("{line}\n")),
        }
    }
    match open {
        Some(start) => Err(Problem::at(&file.path, start, format!("the section has no {END}: add it"))),
        None => Ok((text, names)),
    }
}

const START: &str = "<!-- generated:";
const END: &str = "<!-- end -->";

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, String> {
        let file = File { path: "spec/a.md".into(), text: text.into() };
        let section = |name: &str| (name == "x y").then(|| "| new |\n".to_owned());
        fill(&file, section).map(|(text, _)| text).map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_section_is_replaced_and_nothing_else() {
        let before = "a\n<!-- generated: x y -->\nold\n<!-- end -->\nb\n";
        let after = "a\n<!-- generated: x y -->\n\n| new |\n\n<!-- end -->\nb\n";
        assert_eq!(filled(before).unwrap(), after);
        assert_eq!(filled(after).unwrap(), after);
    }

    #[test]
    fn broken_markers_are_found() {
        assert!(filled("<!-- generated: x y -->\n").unwrap_err().starts_with("spec/a.md:1: the section has no"));
        assert!(
            filled("<!-- generated: z -->\n<!-- end -->\n").unwrap_err().starts_with("spec/a.md:1: nothing generates")
        );
        let nested = "<!-- generated: x y -->\n<!-- generated: x y -->\n<!-- end -->\n";
        assert!(filled(nested).unwrap_err().starts_with("spec/a.md:2: the section of line 1 has no"));
    }
}
