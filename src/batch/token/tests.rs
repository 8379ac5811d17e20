use super::*;
use crate::status::PIPELINE_OK;
use std::sync::{Mutex as Notes, MutexGuard};

/// Held by each test. `Noted` takes an answer for any token, also for an old one of an issuer whose number another test has now; a pool
/// refuses that one.
static ALONE: Notes<()> = Notes::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Notes what it is told.
#[derive(Default)]
struct Noted(Notes<Vec<(usize, u64, i32)>>);

impl Answered for Noted {
    fn set_stored(&self, _: usize, _: u64, _: usize) -> Result<()> {
        Ok(())
    }

    fn set_rejected(&self, _: usize, _: u64, _: usize) -> Result<()> {
        Ok(())
    }

    fn complete(self: Arc<Self>, slot: usize, token: u64, _: usize, result: i32) -> Result<()> {
        self.0.lock().unwrap().push((slot, token, result));
        Ok(())
    }
}

fn issuer(who: &Arc<Noted>, slot: usize) -> Issuer {
    Issuer::new(Arc::downgrade(who) as Weak<dyn Answered>, slot).unwrap()
}

fn is_unknown(token: u64) -> bool {
    complete(token, 0, PIPELINE_OK).is_err_and(|error| error.status == PIPELINE_ERR_UNKNOWN_TOKEN)
}

#[test]
fn an_answer_reaches_the_batch_of_its_token() {
    let _alone = alone();
    let (one, other) = (Arc::new(Noted::default()), Arc::new(Noted::default()));
    let (mut a, mut b, mut c) = (issuer(&one, 3), issuer(&one, 4), issuer(&other, 3));
    let tokens = [&mut a, &mut b, &mut c].map(|issuer| issuer.issue().unwrap());
    for (i, &token) in tokens.iter().enumerate() {
        complete(token, 0, i as i32).unwrap();
    }
    assert_eq!(*one.0.lock().unwrap(), [(3, tokens[0], 0), (4, tokens[1], 1)]);
    assert_eq!(*other.0.lock().unwrap(), [(3, tokens[2], 2)]);
}

#[test]
fn no_token_is_issued_twice_also_by_one_that_has_the_number_of_another() {
    let _alone = alone();
    let who = Arc::new(Noted::default());
    let mut seen = std::collections::HashSet::new();
    for round in 0..100 {
        let mut all: Vec<Issuer> = (0..=round % 5).map(|slot| issuer(&who, slot)).collect();
        for issuer in &mut all {
            for _ in 0..=round % 3 {
                let token = issuer.issue().unwrap();
                assert!(token != 0 && seen.insert(token), "{token}");
            }
        }
    }
}

#[test]
fn an_issuer_that_has_issued_all_that_it_can_issues_nothing_more_nor_does_any_with_its_number() {
    let _alone = alone();
    let who = Arc::new(Noted::default());
    let mut spent = issuer(&who, 1);
    let number = spent.number;
    spent.issued = MOST - 1;
    let last = spent.issue().unwrap();
    assert_eq!((last >> COUNT_BITS, last & MOST, spent.issue()), (number, MOST, None));
    complete(last, 0, PIPELINE_OK).unwrap();
    drop(spent);
    assert!(is_unknown(last));
    let others: Vec<Issuer> = (0..100).map(|slot| issuer(&who, slot)).collect();
    assert!(others.iter().all(|other| other.number != number));
}

#[test]
fn a_token_is_unknown_when_its_issuer_or_its_pool_is_gone_and_where_there_never_was_one() {
    let _alone = alone();
    let who = Arc::new(Noted::default());
    let (mut kept, mut dropped) = (issuer(&who, 1), issuer(&who, 2));
    let (one, other) = (kept.issue().unwrap(), dropped.issue().unwrap());
    drop(dropped);
    assert!(is_unknown(other));
    complete(one, 0, PIPELINE_OK).unwrap();
    drop(who);
    assert!(is_unknown(one));
    for token in [u64::MAX, u64::MAX << COUNT_BITS] {
        assert!(is_unknown(token), "{token}");
    }
}
