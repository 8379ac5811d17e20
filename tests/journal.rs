//! The reader of journals, on segments that the tests make themselves.

#[path = "journal/damage.rs"]
mod damage;
#[path = "journal/facts.rs"]
mod facts;
#[path = "journal/following.rs"]
mod following;
#[path = "journal/limits.rs"]
mod limits;
#[path = "journal/locks.rs"]
mod locks;
#[path = "journal/mutations.rs"]
mod mutations;
#[path = "journal/order.rs"]
mod order;
#[path = "journal/python.rs"]
mod python;
#[path = "journal/python_damage.rs"]
mod python_damage;
#[path = "journal/python_definitions.rs"]
mod python_definitions;
#[path = "journal/random.rs"]
mod random;
#[path = "journal/reading.rs"]
mod reading;
#[path = "journal/segments.rs"]
mod segments;
