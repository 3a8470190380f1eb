//! The requirements of the spec: one paragraph each, starting `**AREA-TOPIC-N.** `.

use super::ids::is_id;
use crate::problem::Problem;
use crate::tree::File;

/// A requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Requirement {
    /// Its permanent id.
    pub(crate) id: String,
    /// The page that states it.
    pub(crate) file: String,
    /// The line on which it starts.
    pub(crate) line: usize,
    /// Whether it says MUST, MUST NOT, SHALL or REQUIRED.
    pub(crate) must: bool,
}

/// The requirements of a page, and what is wrong with their form.
pub(crate) fn parse(file: &File) -> (Vec<Requirement>, Vec<Problem>) {
    let (mut requirements, mut problems) = (Vec::new(), Vec::new());
    for block in blocks(file) {
        let id = block.lines.first().and_then(|line| leading_id(line));
        let keyword = block.lines.iter().find_map(|line| keyword(line));
        if block.table {
            if let Some((at, word)) = first_keyword(&block) {
                let what = format!("a table's cell says {word}: say it in a paragraph with an id");
                problems.push(Problem::at(&file.path, at, what));
            }
            continue;
        }
        let later = block.lines.iter().enumerate().skip(1).find(|(_, line)| leading_id(line).is_some());
        if let Some((at, _)) = later {
            let what = "a requirement starts inside a paragraph: put an empty line before it";
            problems.push(Problem::at(&file.path, block.line + at, what));
        }
        match (id, keyword) {
            (Some(id), _) => requirements.push(Requirement {
                id: id.into(),
                file: file.path.clone(),
                line: block.line,
                must: keyword.is_some(),
            }),
            (None, Some(_)) if block.convention => {}
            (None, Some(word)) => {
                let at = first_keyword(&block).map_or(block.line, |(at, _)| at);
                let what =
                    format!("a paragraph says {word} without an id: start it with **AREA-TOPIC-N.**, or reword it");
                problems.push(Problem::at(&file.path, at, what));
            }
            (None, None) => {}
        }
    }
    (requirements, problems)
}

/// Lines that belong together: a paragraph, a heading, a list, or a table.
struct Block<'a> {
    line: usize,
    lines: Vec<&'a str>,
    table: bool,
    convention: bool,
}

/// The blocks of a page, without code blocks, comments and generated sections.
fn blocks(file: &File) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut open = false;
    let mut skip_until: Option<&str> = None;
    let mut convention: Option<usize> = None;
    for (number, line) in file.lines() {
        let text = line.trim();
        if let Some(end) = skip_until {
            skip_until = (!text.starts_with(end)).then_some(end);
            continue;
        }
        skip_until = match () {
            () if text.starts_with("```") => Some("```"),
            () if text.starts_with("<!-- generated:") => Some("<!-- end -->"),
            () => None,
        };
        if skip_until.is_some() || text.is_empty() || text.starts_with("<!--") {
            open = false;
            continue;
        }
        let level = text.bytes().take_while(|b| *b == b'#').count();
        if level > 0 {
            if convention.is_some_and(|outer| level <= outer) {
                convention = None;
            }
            if file.path == "spec/README.md" && text.to_lowercase().contains("convention") {
                convention = Some(level);
            }
        }
        let table = text.starts_with('|');
        let joins = open && level == 0 && blocks.last().is_some_and(|block| block.table == table);
        match blocks.last_mut() {
            Some(block) if joins => block.lines.push(text),
            _ => blocks.push(Block { line: number, lines: vec![text], table, convention: convention.is_some() }),
        }
        open = level == 0;
    }
    blocks
}

/// The id with which a paragraph starts.
fn leading_id(line: &str) -> Option<&str> {
    let (id, rest) = line.strip_prefix("**")?.split_once(".**")?;
    (is_id(id) && rest.starts_with(' ')).then_some(id)
}

fn first_keyword<'a>(block: &Block<'a>) -> Option<(usize, &'a str)> {
    block.lines.iter().enumerate().find_map(|(at, line)| keyword(line).map(|word| (block.line + at, word)))
}

/// The first word in a line, code spans left out, that makes it binding.
fn keyword(line: &str) -> Option<&str> {
    let prose = line.split('`').step_by(2);
    prose.flat_map(|text| text.split(|c: char| !c.is_alphanumeric())).find(|word| KEYWORDS.contains(word))
}

const KEYWORDS: [&str; 3] = ["MUST", "SHALL", "REQUIRED"];

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(path: &str, text: &str) -> (Vec<String>, Vec<String>) {
        let (requirements, problems) = parse(&File { path: path.into(), text: text.into() });
        let requirements = requirements.iter().map(|r| format!("{} {} {}", r.id, r.line, r.must)).collect();
        (requirements, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_requirement_is_a_paragraph_that_starts_with_its_id() {
        let text = "# Title\n\n**HO-A-1.** A device MUST\nwait.\n\n**HO-A-2.** It SHOULD not.\n";
        let (requirements, problems) = parsed("spec/05-handoff.md", text);
        assert_eq!(requirements, ["HO-A-1 3 true", "HO-A-2 6 false"]);
        assert_eq!(problems, [""; 0]);
    }

    #[test]
    fn a_must_without_an_id_is_found() {
        for (text, line) in [
            ("A device\nMUST wait.\n", 2),
            ("- it SHALL\n", 1),
            ("> is REQUIRED.\n", 1),
            ("# You MUST\n", 1),
            ("**HO-A-1** MUST\n", 1),
        ] {
            let (requirements, problems) = parsed("spec/05-handoff.md", text);
            assert!(requirements.is_empty());
            assert_eq!(problems.len(), 1, "{text}");
            assert!(problems[0].starts_with(&format!("spec/05-handoff.md:{line}: ")), "{}", problems[0]);
        }
    }

    #[test]
    fn two_requirements_in_one_paragraph_are_found() {
        let (requirements, problems) = parsed("spec/a.md", "**HO-A-1.** MUST.\n**HO-A-2.** MUST.\n");
        assert_eq!(requirements, ["HO-A-1 1 true"]);
        assert_eq!(problems, ["spec/a.md:2: a requirement starts inside a paragraph: put an empty line before it"]);
    }

    #[test]
    fn a_must_in_a_table_is_found() {
        let (_, problems) = parsed("spec/a.md", "**HO-A-1.** MUST:\n\n| a |\n|---|\n| MUST |\n");
        assert_eq!(problems, ["spec/a.md:5: a table's cell says MUST: say it in a paragraph with an id"]);
    }

    #[test]
    fn code_and_generated_sections_and_the_convention_are_left_out() {
        let text = "## Conventions\n\nThe word MUST binds.\n\n## Next\n\n```\nMUST\n```\n`MUST` MUSTARD\n\n\
                    <!-- generated: x -->\nMUST\n<!-- end -->\n";
        assert_eq!(parsed("spec/README.md", text).1, [""; 0]);
        assert_eq!(parsed("spec/01-wire.md", text).1.len(), 1);
        let text = "## Conventions\n\nx\n\n## Next\n\nYou MUST.\n";
        assert_eq!(parsed("spec/README.md", text).1.len(), 1);
    }
}
