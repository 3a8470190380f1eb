//! What a pick picks, by the ids of parts and folders.

use segue_proto::data::{PartKind, Pick, named_part};
use segue_proto::limits::MAX_PICK;
use segue_proto::wire::PartId;

use crate::util::{SESSION, World, part};

fn folders(paths: &[&str]) -> Pick {
    Pick::new(paths.iter().map(|path| Pick::folder(&SESSION, path))).unwrap()
}

#[test]
fn ho_pick_2_a_folder_picks_what_lies_in_it_at_any_depth() {
    let picks = |pick: &Pick, path: &str| pick.picks(&SESSION, &part(1), path);
    let letters = folders(&["letters"]);
    assert!(picks(&letters, "letters/first") && picks(&letters, "letters/old/first"));
    for path in ["first", "letter/first", "lettersold/first", "old/letters/first", "letters"] {
        assert!(!picks(&letters, path), "{path}");
    }
    let deep = folders(&["letters/old"]);
    assert!(picks(&deep, "letters/old/first") && !picks(&deep, "letters/first"));
    // The empty one stands for the files that lie in none.
    let loose = folders(&[""]);
    assert!(picks(&loose, "first") && !picks(&loose, "letters/first"));
    let both = folders(&["letters", ""]);
    assert!(picks(&both, "first") && picks(&both, "letters/first") && !picks(&both, "photos/beach"));
    // A part is picked wherever its file lies.
    let one = Pick::new([part(1)]).unwrap();
    assert!(picks(&one, "anywhere/at/all") && !one.picks(&SESSION, &part(2), "anywhere/at/all"));
    assert!(picks(&Pick::all(), "anywhere/at/all") && Pick::all().is_all() && !one.is_all());
    assert_ne!(Pick::folder(&SESSION, "letters"), named_part(&SESSION, PartKind::Blob, "letters"));
}

#[test]
fn a_pick_names_so_many_ids_each_once() {
    let ids = |count: usize| (0..count).map(|n| PartId::new((n as u128 + 1).to_be_bytes())).collect::<Vec<_>>();
    assert_eq!(Pick::new(ids(MAX_PICK + 1)), None);
    let most = Pick::new([ids(MAX_PICK), ids(3)].concat()).unwrap();
    assert_eq!(most.ids().to_vec(), ids(MAX_PICK));
    let mut backwards = ids(5);
    backwards.reverse();
    assert_eq!(Pick::new(backwards), Pick::new(ids(5)));
    // Two together pick what either does.
    let (few, last) = (Pick::new(ids(5)).unwrap(), Pick::new(ids(MAX_PICK + 1).into_iter().skip(MAX_PICK)).unwrap());
    assert_eq!(most.with(&few), Some(most.clone()));
    assert_eq!(most.with(&last), None, "one more than it may name");
    assert_eq!(few.with(&last).unwrap().ids().len(), 6);
    assert_eq!((few.with(&Pick::all()), Pick::all().with(&few)), (Some(Pick::all()), Some(Pick::all())));
}

#[test]
fn ho_pick_1_a_part_is_left_out_if_it_has_content_and_none_of_it_is_picked() {
    let mut world = World::new();
    world.file(part(1), "letters/first", b"Dear all");
    world.file(part(2), "photos/beach", b"The beach");
    world.file(part(3), "photos/empty", b"");
    world.write(part(4), PartKind::Register, b"a title").unwrap();
    let left_out = |pick: &Pick| {
        let left_out = world.state.parts().filter(|part| pick.leaves_out(&SESSION, part));
        left_out.map(|part| part.part).collect::<Vec<_>>()
    };
    assert_eq!(left_out(&folders(&["letters"])), [part(2)]);
    assert_eq!(left_out(&folders(&["photos"])), [part(1)]);
    assert_eq!(left_out(&folders(&["nowhere"])), [part(1), part(2)]);
    assert_eq!(left_out(&Pick::new([part(2)]).unwrap()), [part(1)]);
    assert_eq!(left_out(&Pick::all()), []);
}
