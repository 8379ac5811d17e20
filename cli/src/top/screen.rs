//! What is seen, on a terminal: refreshed in place, and sorted and chosen by keys.

mod chosen;
mod draw;

use super::Watch;
use super::args::{Key, Subject, Top};
use crate::failure::{Failure, Outcome};
use crate::messages::tell;
use chosen::Chosen;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a signal may wait at most.
const SIGNALS_EVERY: Duration = Duration::from_millis(200);
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3600);

/// What a key asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    /// To end.
    End,
    /// Another look now.
    Look,
    /// To show the same differently.
    Show,
}

/// The terminal as it is for the command. When it is dropped, it is as it was.
struct Terminal(ratatui::DefaultTerminal);

impl Terminal {
    fn open() -> Result<Self, Failure> {
        ratatui::try_init().map(Self).map_err(|error| failed(&error))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // (A terminal that is gone needs nothing.)
        let _ = self.0.show_cursor();
        let _ = ratatui::try_restore();
    }
}

fn failed(error: &io::Error) -> Failure {
    Failure::of(Path::new("terminal"), error)
}

/// Shows pipelines until the user or a signal ends it.
pub fn run(watch: &mut Watch, args: &Top) -> Result<Outcome, Failure> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&ended)).map_err(|error| failed(&error))?;
    }
    let subject = match &args.subject {
        Subject::Directory(path) => path.display().to_string(),
        Subject::Process(pid) => format!("process {pid}"),
    };
    let mut chosen =
        Chosen { subject, interval: args.interval, key: args.sort, generation: None, rings_above: 0 };
    let done = show(watch, &mut chosen, &ended);
    if watch.has_ended && done.is_ok() {
        tell(format_args!("{} has ended", chosen.subject));
    }
    done.map(|()| Outcome::Well)
}

fn show(watch: &mut Watch, chosen: &mut Chosen, ended: &AtomicBool) -> Result<(), Failure> {
    let mut terminal = Terminal::open()?;
    loop {
        let looked = Instant::now();
        loop {
            let shown = watch.shown(chosen.key);
            terminal.0.draw(|frame| draw::draw(frame, &shown, chosen)).map_err(|error| failed(&error))?;
            match wish(watch, chosen, looked, ended)? {
                Wish::End => return Ok(()),
                Wish::Look => break,
                Wish::Show => {}
            }
        }
        watch.look()?;
        if watch.has_ended {
            return Ok(());
        }
    }
}

/// Waits for a key, a signal, or the time of the next look.
fn wish(watch: &Watch, chosen: &mut Chosen, looked: Instant, ended: &AtomicBool) -> Result<Wish, Failure> {
    loop {
        if ended.load(Ordering::Relaxed) {
            return Ok(Wish::End);
        }
        let left = chosen.interval.saturating_sub(looked.elapsed());
        if left.is_zero() {
            return Ok(Wish::Look);
        }
        // (A signal may end the wait early.)
        match event::poll(left.min(SIGNALS_EVERY)) {
            Ok(false) => continue,
            Ok(true) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(&error)),
        }
        match event::read().map_err(|error| failed(&error))? {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                if let Some(wish) = press(watch, chosen, key) {
                    return Ok(wish);
                }
            }
            Event::Resize(..) => return Ok(Wish::Show),
            _ => {}
        }
    }
}

/// What a key does. `None`: nothing.
fn press(watch: &Watch, chosen: &mut Chosen, key: KeyEvent) -> Option<Wish> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c' | 'd') if control => return Some(Wish::End),
        KeyCode::Char('q') | KeyCode::Esc => return Some(Wish::End),
        KeyCode::Char(' ') => return Some(Wish::Look),
        KeyCode::Char('s') => chosen.key = chosen.key.next(),
        KeyCode::Char('r') => chosen.key = Key::Rate,
        KeyCode::Char('e') => chosen.key = Key::Events,
        KeyCode::Char('b') => chosen.key = Key::Backlog,
        KeyCode::Char('f') => chosen.key = Key::Fill,
        KeyCode::Char('l') => chosen.key = Key::Lost,
        KeyCode::Char('t') => chosen.key = Key::Latency,
        KeyCode::Char('n') => chosen.key = Key::Name,
        KeyCode::Char('p') => chosen.key = Key::Pid,
        KeyCode::Char('+') => chosen.interval = (chosen.interval * 2).min(LONGEST),
        KeyCode::Char('-') => chosen.interval = (chosen.interval / 2).max(SHORTEST),
        KeyCode::Down | KeyCode::Char('j') => step(watch, chosen, 1),
        KeyCode::Up | KeyCode::Char('k') => step(watch, chosen, -1),
        KeyCode::PageDown => chosen.rings_above = chosen.rings_above.saturating_add(10),
        KeyCode::PageUp => chosen.rings_above = chosen.rings_above.saturating_sub(10),
        _ => return None,
    }
    Some(Wish::Show)
}

/// Chooses a pipeline before or behind the chosen one.
fn step(watch: &Watch, chosen: &mut Chosen, by: isize) {
    let pipelines = watch.shown(chosen.key).pipelines;
    let at = pipelines.iter().position(|pipeline| Some(pipeline.look.generation) == chosen.generation);
    let last = pipelines.len().saturating_sub(1);
    let next = at.unwrap_or(0).saturating_add_signed(by).min(last);
    chosen.generation = pipelines.get(next).map(|pipeline| pipeline.look.generation);
    chosen.rings_above = 0;
}

#[cfg(test)]
mod tests;
