use super::*;
use crate::top::pipeline::Pipeline;
use crate::top::pipeline::tests::look;
use crate::top::{Unread, Watch};
use capture_pipeline::ring_file::view::Words;
use ratatui::backend::TestBackend;

fn watch(pipelines: u64, rings: u64) -> Watch {
    let mut watch = Watch::new(Subject::Directory("/rings".into()));
    for generation in 1..=pipelines {
        let ring = |index: u64| Words {
            index,
            is_priority: false,
            bytes: 4096,
            head: 100 * (index + 1),
            claimed: 0,
            released: 0,
            ring_id: 1000 * generation + index,
            thread_id: 9,
            name: *b"worker\0\0\0\0\0\0\0\0\0\0",
        };
        let all: Vec<Words> = (0..rings).map(ring).collect();
        watch.pipelines.insert(generation, Pipeline::new(look(generation, 10, &all, Some((9, 4321)))));
    }
    watch
}

fn chosen() -> Chosen {
    Chosen {
        subject: "/rings".into(),
        interval: Duration::from_secs(1),
        key: Key::Name,
        generation: None,
        rings_above: 0,
    }
}

/// The lines of a screen of this size.
fn lines(watch: &Watch, chosen: &Chosen, width: u16, height: u16) -> Vec<String> {
    let mut terminal = ratatui::Terminal::new(TestBackend::new(width, height)).expect("a screen");
    terminal.draw(|frame| draw::draw(frame, &watch.shown(chosen.key), chosen)).expect("drawn");
    let buffer = terminal.backend().buffer();
    let cells = buffer.content().chunks(usize::from(width.max(1)));
    cells
        .map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned())
        .collect()
}

fn press(watch: &Watch, chosen: &mut Chosen, code: KeyCode) -> Option<Wish> {
    super::press(watch, chosen, KeyEvent::new(code, KeyModifiers::NONE))
}

#[test]
fn the_chosen_pipeline_shows_its_rings() {
    let (mut watch, mut chosen) = (watch(3, 30), chosen());
    let screen = lines(&watch, &chosen, 160, 30);
    assert!(screen[0].contains("/rings") && screen[0].contains("by name"), "{screen:#?}");
    assert!(
        screen[1].starts_with("PIPELINE")
            && screen[2].starts_with("audit1")
            && screen[4].starts_with("audit3")
    );
    assert!(screen.iter().any(|line| line.contains("4,321 captured")), "{screen:#?}");
    let rings = |screen: &[String]| screen.iter().filter(|line| line.contains("worker/9")).count();
    assert!(screen.iter().any(|line| line.contains("1000  worker/9")) && rings(&screen) > 10, "{screen:#?}");
    assert_eq!(press(&watch, &mut chosen, KeyCode::Down), Some(Wish::Show));
    assert_eq!(chosen.generation, Some(2));
    let screen = lines(&watch, &chosen, 160, 30);
    assert!(screen.iter().any(|line| line.contains("2000  worker/9")), "{screen:#?}");
    press(&watch, &mut chosen, KeyCode::PageDown);
    let screen = lines(&watch, &chosen, 160, 30);
    assert!(!screen.iter().any(|line| line.contains("2000  worker/9")), "{screen:#?}");
    assert!(screen.iter().any(|line| line.contains("2010  worker/9")), "{screen:#?}");
    for code in [KeyCode::Down, KeyCode::Down, KeyCode::Down] {
        press(&watch, &mut chosen, code);
    }
    assert_eq!((chosen.generation, chosen.rings_above), (Some(3), 0));
    // A pipeline that is chosen may end.
    watch.pipelines.clear();
    let screen = lines(&watch, &chosen, 160, 30);
    assert!(screen.iter().any(|line| line.contains("no pipeline")), "{screen:#?}");
    assert_eq!(press(&watch, &mut chosen, KeyCode::Up), Some(Wish::Show));
    watch.unread.push(Unread { path: "x.rings".into(), why: "cut".into() });
    assert!(lines(&watch, &chosen, 160, 30)[29].contains("x.rings: cut"));
}

#[test]
fn every_size_of_a_screen_can_be_drawn() {
    let (watch, mut chosen) = (watch(40, 40), chosen());
    chosen.rings_above = usize::MAX;
    for (width, height) in [(0, 0), (1, 1), (5, 3), (20, 6), (80, 24), (300, 100)] {
        assert_eq!(
            lines(&watch, &chosen, width, height).len(),
            usize::from(if width == 0 { 0 } else { height })
        );
    }
}

#[test]
fn keys_choose_what_is_sorted_by_and_how_often_is_looked() {
    let (watch, mut chosen) = (watch(1, 1), chosen());
    for (key, wanted) in [
        ('r', Key::Rate),
        ('e', Key::Events),
        ('b', Key::Backlog),
        ('f', Key::Fill),
        ('l', Key::Lost),
        ('t', Key::Latency),
        ('n', Key::Name),
        ('p', Key::Pid),
    ] {
        assert_eq!(press(&watch, &mut chosen, KeyCode::Char(key)), Some(Wish::Show), "{key}");
        assert_eq!(chosen.key, wanted);
    }
    press(&watch, &mut chosen, KeyCode::Char('s'));
    assert_eq!(chosen.key, Key::Rate);
    press(&watch, &mut chosen, KeyCode::Char('+'));
    assert_eq!(chosen.interval, Duration::from_secs(2));
    for _ in 0..20 {
        press(&watch, &mut chosen, KeyCode::Char('-'));
    }
    assert_eq!(chosen.interval, SHORTEST);
    for _ in 0..40 {
        press(&watch, &mut chosen, KeyCode::Char('+'));
    }
    assert_eq!(chosen.interval, LONGEST);
    assert_eq!(press(&watch, &mut chosen, KeyCode::Char(' ')), Some(Wish::Look));
    assert_eq!(press(&watch, &mut chosen, KeyCode::Char('x')), None);
    assert_eq!(press(&watch, &mut chosen, KeyCode::Char('q')), Some(Wish::End));
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(super::press(&watch, &mut chosen, control_c), Some(Wish::End));
}
