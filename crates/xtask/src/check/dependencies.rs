//! Dependencies point one way: the core knows nothing of the transport, the runtime or the disk.

use std::path::Path;

use crate::problem::Problem;
use crate::tree::run;

/// Asks cargo for the dependencies of each crate that may not have some.
pub(crate) fn check(root: &Path) -> Result<Vec<Problem>, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut problems = Vec::new();
    for (name, barred) in BARRED {
        let arguments =
            ["tree", "--offline", "--all-features", "-p", name, "-e", "normal", "--prefix", "none", "--format", "{p}"];
        let printed = run(root, &cargo, &arguments)?;
        problems.extend(find(&printed, barred).map(|found| {
            Problem::with(
                &format!("crates/{name}/Cargo.toml"),
                format!("{name} depends on {found}: dependencies point from adapters to the core"),
            )
        }));
    }
    Ok(problems)
}

/// The barred packages in a list, one `name version` a line.
fn find<'a>(printed: &'a str, barred: &'a [&str]) -> impl Iterator<Item = &'a str> {
    let names = printed.lines().filter_map(|line| line.split_whitespace().next());
    let mut names: Vec<_> = names.filter(|name| barred.contains(name)).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter()
}

const BARRED: [(&str, &[&str]); 3] = [
    (
        "segue-proto",
        &["tokio", "quinn", "quinn-proto", "quinn-udp", "redb", "rustls", "segue-store", "segue-quic", "segue-testkit"],
    ),
    ("segue-store", &["quinn", "quinn-proto", "segue-quic", "segue-testkit"]),
    ("segue-testkit", &["tokio", "quinn", "quinn-proto", "redb", "segue-quic"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_barred_package_is_found() {
        let printed = "segue-proto v0.1.0\nblake3 v1.8.2\ntokio v1.0.0\ntokio v1.0.0 (*)\ntokio-util v0.7.0\n";
        assert_eq!(find(printed, &["tokio", "quinn", "redb"]).collect::<Vec<_>>(), ["tokio"]);
        assert_eq!(find(printed, &["quinn", "redb"]).count(), 0);
    }
}
