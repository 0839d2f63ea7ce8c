//! The seam of containment: what holds a tree together, so that it can be signalled, killed and proven empty.
//!
//! What a strategy provides, as [`Tree`]:
//!
//! | function | promise |
//! |---|---|
//! | `leader_ended()` | how the leader ended, if it has; its identity stays ours |
//! | `signal(reach, signal)` | reaches those processes and no stranger; `Ok` when nobody is left |
//! | `kill()` | forces everything the tree holds |
//! | `members()` | who lives, without the leader |
//! | `leftovers(now)` | when the leader has died: who lives, and whether that is nobody |
//! | `is_empty(now)` | whether nobody lives but the leader; cheap enough to be asked often |
//! | `reap()` | gives the leader's pid back |

mod group;

pub(crate) use group::Group as Tree;
