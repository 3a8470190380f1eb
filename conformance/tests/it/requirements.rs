//! Frozen sets of requirements stay as they were published.

use std::path::Path;

use segue_conformance::requirements::{SETS, Set, find};
use segue_conformance::spec;
use segue_proto::Generation;
use segue_proto::wire::hash::blob_id;

/// The BLAKE3 hash of every set that was published. A set that changes is another set: it gets the next version, a
/// file and a line here.
const PINNED: &[(&str, &str)] = &[
    ("1.4-1", "e0ff6811cb3a5e7f41e66a47d2382aa42557905fb0aa48a020f6866d7255106e"),
    ("1.7-1", "29061e7879ebf98403d17aa6145a7e9568d30401fda0104b8e5705f268ca86b4"),
    ("2-1", "89ad814056d24429f560b2d443fc17ac01d9d5bbf6ed3503573a785b0199d14f"),
    ("7-1", "ff6007174305e7e9eaf455cad33b9ad37aa4a063256f2ccde64e3880b9c8cefa"),
];

#[test]
fn a_set_never_changes_once_it_is_published() {
    let now: Vec<(String, String)> =
        SETS.iter().map(|(name, text)| ((*name).to_string(), blob_id(text.as_bytes()).to_string())).collect();
    let pinned: Vec<(String, String)> =
        PINNED.iter().map(|(name, hash)| ((*name).to_string(), (*hash).to_string())).collect();
    assert_eq!(now, pinned);
}

#[test]
fn whatever_a_set_asks_for_still_exists() {
    let clauses = spec::ids();
    for (name, text) in SETS {
        let set = Set::from_text(text).unwrap();
        assert_eq!(set.name(), *name);
        let has = Set::draw(set.generation, set.version);
        let gone = set.cases.iter().filter(|case| !has.cases.contains(case));
        assert_eq!(gone.collect::<Vec<_>>(), Vec::<&String>::new(), "{name} asks for cases that are gone");
        let gone = set.clauses.iter().filter(|clause| !clauses.contains(*clause));
        assert_eq!(gone.collect::<Vec<_>>(), Vec::<&String>::new(), "{name} asks for clauses that are gone");
        assert!(set.cases.len() > 100 && set.clauses.len() > 50, "{name} asks for next to nothing");
    }
}

#[test]
fn sets_are_found_by_version_and_by_name() {
    assert_eq!(find("1").unwrap().len(), Generation::ALL.len());
    assert_eq!(find("1.4-1").unwrap().len(), 1);
    assert!(find("1.4-99").unwrap_err().contains("1.4-1"));
}

/// `SEGUE_FREEZE=2` writes the sets of version 2 as the suite is now, where there is no file, or one that holds just `{}`:
/// the suite reads the files as it is built, so they have to be there before.
#[test]
fn a_new_version_is_drawn_on_request() {
    let Some(version) = std::env::var("SEGUE_FREEZE").ok().and_then(|text| text.parse().ok()) else { return };
    for generation in Generation::ALL {
        let set = Set::draw(generation, version);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("requirements").join(format!("{}.json", set.name()));
        if std::fs::read_to_string(&path).is_ok_and(|text| text.trim() != "{}") {
            println!("{} is published", set.name());
        } else {
            std::fs::write(&path, set.to_text()).unwrap();
        }
        println!("(\"{}\", \"{}\"),", set.name(), blob_id(set.to_text().as_bytes()));
    }
}
