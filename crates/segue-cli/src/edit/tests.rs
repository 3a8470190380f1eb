//! Two people at two terminals.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use insta::assert_snapshot;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use segue_crdt::{Document, YrsText};

use super::console::Console;
use super::editor::Editor;
use super::memory::{End, Network};
use super::session::Change;
use super::{Next, handle, run, view};

/// A person, an editor and a terminal of 60 columns and 6 rows.
struct Person {
    editor: Editor,
    end: End,
    terminal: Terminal<TestBackend>,
}

impl Person {
    fn key(&mut self, code: KeyCode) -> &mut Self {
        self.press(code, KeyModifiers::NONE)
    }

    fn control(&mut self, c: char) -> &mut Self {
        self.press(KeyCode::Char(c), KeyModifiers::CONTROL)
    }

    fn press(&mut self, code: KeyCode, modifiers: KeyModifiers) -> &mut Self {
        assert_eq!(handle(&mut self.editor, Event::Key(KeyEvent::new(code, modifiers))), Next::Stay);
        self
    }

    fn keys(&mut self, code: KeyCode, times: usize) -> &mut Self {
        for _ in 0..times {
            self.key(code);
        }
        self
    }

    fn types(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            self.key(match c {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                c => KeyCode::Char(c),
            });
        }
        self
    }

    fn exchange(&mut self) {
        self.editor.exchange(&mut self.end);
    }

    /// The terminal, with the cursor's place.
    fn screen(&mut self) -> String {
        self.exchange();
        self.terminal.draw(|frame| view::draw(&mut self.editor, frame)).expect("draws");
        let cursor = self.terminal.backend().cursor_position();
        format!("{}cursor: column {}, row {}", self.terminal.backend(), cursor.x, cursor.y)
    }

    fn text(&self) -> String {
        (0..self.editor.lines()).map(|line| self.editor.line(line)).collect()
    }
}

fn two(seed: u64) -> (Network, [Person; 2]) {
    let (network, ends) = Network::new(["desk", "couch"], seed);
    let mut client = 0;
    let people = ends.map(|end| {
        client += 1;
        let doc = YrsText::with_client(client, None).expect("opens");
        Person {
            editor: Editor::open(doc, "notes").expect("opens"),
            end,
            terminal: Terminal::new(TestBackend::new(60, 6)).expect("a terminal"),
        }
    });
    (network, people)
}

fn settle(network: &Network, people: &mut [Person; 2]) {
    for _ in 0..3 {
        people.iter_mut().for_each(Person::exchange);
        network.pass(1_000);
    }
    people.iter_mut().for_each(Person::exchange);
}

#[test]
fn two_people_type_part_and_meet_again() {
    let (network, mut people) = two(1);
    people[0].types("Shopping\n\n- milk\n");
    settle(&network, &mut people);
    people[1].key(KeyCode::PageDown).types("- bread");
    settle(&network, &mut people);
    assert_snapshot!("together_desk", people[0].screen());
    assert_snapshot!("together_couch", people[1].screen());

    network.link(false);
    people[0].key(KeyCode::End).types("\n- eggs").exchange();
    people[0].types("\n- salt").exchange();
    people[1].key(KeyCode::Up).key(KeyCode::End).types(", two").exchange();
    assert_snapshot!("parted_desk", people[0].screen());
    assert_snapshot!("parted_couch", people[1].screen());

    network.link(true);
    settle(&network, &mut people);
    assert_snapshot!("met_desk", people[0].screen());
    assert_snapshot!("met_couch", people[1].screen());
    assert_eq!(people[0].text(), people[1].text());
}

#[test]
fn undo_takes_back_ones_own_typing_only() {
    let (network, mut people) = two(2);
    people[0].types("one two");
    settle(&network, &mut people);
    people[1].key(KeyCode::End).types(" three");
    settle(&network, &mut people);
    people[0].key(KeyCode::Home).types("zero ").control('z');
    assert_eq!(people[0].text(), "one two three");
    people[0].control('z');
    assert_eq!(people[0].text(), " three");
    people[0].control('z');
    assert_snapshot!("nothing_to_undo", people[0].screen());
    people[0].control('y');
    settle(&network, &mut people);
    assert_eq!([people[0].text(), people[1].text()], ["one two three", "one two three"]);
}

#[test]
fn wide_characters_and_long_lines_are_moved_over_as_they_are_seen() {
    let (_, [mut person, _]) = two(3);
    person.types("日本\t👩‍🚀 e\u{301}\u{1b}[31m\n").types(&"0123456789".repeat(7)).key(KeyCode::Up);
    assert_snapshot!("wide", person.screen());
    person.key(KeyCode::Home).keys(KeyCode::Right, 4).key(KeyCode::Backspace).key(KeyCode::Delete);
    person.key(KeyCode::Delete);
    assert!(person.text().starts_with("日本\t\u{1b}[31m\n"), "{:?}", person.text());
    person.key(KeyCode::Down).key(KeyCode::End);
    assert_snapshot!("long", person.screen());
}

#[test]
fn pages_turn_and_the_window_changes_its_size() {
    let (network, mut people) = two(4);
    let page: String = (0..30).map(|line| format!("line {line}\n")).collect();
    handle(&mut people[0].editor, Event::Paste(page.replace('\n', "\r")));
    settle(&network, &mut people);
    people[1].screen();
    people[1].keys(KeyCode::PageDown, 3);
    assert_snapshot!("third_page", people[1].screen());
    people[1].terminal.backend_mut().resize(12, 3);
    assert_snapshot!("small", people[1].screen());
    // What is added above doesn't move what one looks at.
    people[0].press(KeyCode::Home, KeyModifiers::CONTROL).types("above\nabove\n");
    settle(&network, &mut people);
    assert_snapshot!("still_there", people[1].screen());
    for (columns, rows) in [(0, 0), (1, 1), (3, 1), (1, 3)] {
        let Person { editor, terminal, .. } = &mut people[1];
        terminal.backend_mut().resize(columns, rows);
        terminal.draw(|frame| view::draw(editor, frame)).expect("draws");
    }
}

#[test]
fn a_strange_op_and_a_full_disk_are_survived() {
    let (network, mut people) = two(5);
    people[0].types("kept");
    settle(&network, &mut people);
    network.slip(0, vec![0xff; 40]);
    network.fail(0);
    people[0].types("!");
    assert_snapshot!("full_disk", people[0].screen());

    // Another device under this one's client id.
    let mut twin = YrsText::with_client(1, None).expect("opens");
    twin.insert(0, "twin").expect("inside");
    network.slip(0, twin.flush().expect("an op"));
    people[0].exchange();
    people[0].types("lost");
    assert_snapshot!("broken", people[0].screen());
}

#[test]
fn what_a_user_is_to_know_is_shown_until_the_editor_ends_and_harms_no_terminal() {
    let (network, mut people) = two(6);
    people[0].types("text");
    network.ring(0, "device 07 signed two records\u{1b}[2J");
    people[0].exchange();
    let shown = |people: &[Person]| people[0].editor.status();
    assert!(shown(&people).contains("read when you quit: device 07 signed two records"), "{}", shown(&people));
    people[0].types("!");
    assert!(shown(&people).contains("signed two records") && !shown(&people).contains('\u{1b}'));
}

#[test]
fn random_keys_through_partitions_end_in_one_text() {
    for seed in 0..20 {
        let (network, mut people) = two(seed);
        for _ in 0..400 {
            let who = network.below(2) as usize;
            let person = &mut people[who];
            match network.below(12) {
                0 => person.keys(KeyCode::Left, 3),
                1 => person.key(KeyCode::Up),
                2 => person.key(KeyCode::Backspace),
                3 => person.key(KeyCode::Delete),
                4 => person.control('z'),
                5 => person.key(KeyCode::PageDown),
                6 => person.types("日\n"),
                _ => person.types("word "),
            };
            if network.below(4) == 0 {
                person.screen();
            }
            network.pass(network.below(60));
            match network.below(40) {
                0 => network.link(false),
                1 | 2 => network.link(true),
                _ => {}
            }
        }
        network.link(true);
        settle(&network, &mut people);
        let screens = people.each_mut().map(Person::screen);
        assert!(screens.iter().all(|screen| screen.contains("saved") && !screen.contains("waiting")), "{screens:?}");
        assert_eq!(people[0].text(), people[1].text(), "seed {seed}");
    }
}

/// A terminal that gives some keys, without waiting.
struct Script(Terminal<TestBackend>, VecDeque<Event>);

impl Console for Script {
    type Backend = TestBackend;

    fn terminal(&mut self) -> &mut Terminal<TestBackend> {
        &mut self.0
    }

    fn next(&mut self, _: Duration) -> io::Result<Option<Event>> {
        Ok(self.1.pop_front())
    }
}

#[test]
fn run_submits_what_was_typed_before_it_ends() {
    let (network, [mine, theirs]) = Network::new(["desk", "couch"], 6);
    let keys = [('h', KeyModifiers::NONE), ('i', KeyModifiers::SHIFT), ('q', KeyModifiers::CONTROL)];
    let keys = keys.map(|(c, modifiers)| Event::Key(KeyEvent::new(KeyCode::Char(c), modifiers)));
    let script = Script(Terminal::new(TestBackend::new(20, 3)).expect("a terminal"), keys.into());
    run(script, mine, YrsText::with_client(1, None).expect("opens"), "Ctrl-Q quits").expect("quits");
    network.pass(1_000);
    let mut other = Editor::open(YrsText::with_client(2, None).expect("opens"), "notes").expect("opens");
    let mut theirs = theirs;
    other.exchange(&mut theirs);
    assert_eq!(other.line(0), "hi");
}

#[test]
fn a_text_goes_on_from_a_snapshot_with_what_was_typed_meanwhile() {
    let (network, mut people) = two(5);
    let mut theirs = YrsText::with_client(9, None).expect("opens");
    theirs.insert(0, "Shopping").expect("an edit");
    let op = |text: &str| {
        let mut other = YrsText::with_client(10, None).expect("opens");
        other.insert(0, text).expect("an edit");
        other.flush().expect("its op")
    };
    let (snapshot, ops) = (Some(theirs.snapshot().expect("a snapshot")), vec![op("milk")]);
    // It is submitted after the snapshot was read, and saved after that was told.
    people[0].types("bread");
    network.tell(0, Change::Reread { snapshot, ops, resumed: true });
    people[0].exchange();
    for part in ["Shopping", "milk", "bread"] {
        assert!(people[0].text().contains(part), "{part} is missing in {:?}", people[0].text());
    }
    people[0].types("!");
    people[0].exchange();
    assert!(people[0].text().contains('!'));
}
