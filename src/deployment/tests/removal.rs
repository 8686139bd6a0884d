//! The rows of the decision table about removals.

use proptest::prelude::*;

use super::*;

fn removal(asked: i64, number: u64, is_unfinished: bool) -> Option<Removal> {
    Some(Removal { is_unfinished, ..Removal::unfinished(at(asked), number) })
}

fn asked(head: &Head, at_seconds: i64) -> RemovalDecision {
    decide_removal(head, "second", at(at_seconds), at(at_seconds + 1))
}

#[test]
fn a_removal_takes_the_next_number_and_its_retry_keeps_it() {
    let live = head(3, 5, Some(run(5, 3)));
    assert_eq!(asked(&live, 9), RemovalDecision::Remove { number: 4 });
    let begun = Head { removed: removal(9, 4, true), sequence: 4, ..live.clone() };
    assert_eq!(asked(&begun, 9), RemovalDecision::Remove { number: 4 });
    assert_eq!(asked(&begun, 20), RemovalDecision::Remove { number: 4 }, "another request continues it");
}

#[test]
fn a_removal_is_done_once_and_every_later_one_moves_the_tombstone() {
    let tombstone = Head { removed: removal(9, 4, false), ..head(4, 5, None) };
    assert_eq!(asked(&tombstone, 9), RemovalDecision::Nothing);
    assert_eq!(asked(&tombstone, 8), RemovalDecision::Nothing, "a later one has done it");
    // The event of an upload from between them may still come.
    assert_eq!(asked(&tombstone, 20), RemovalDecision::Remove { number: 5 });
    assert_eq!(asked(&Head::default(), 9), RemovalDecision::Remove { number: 1 });
    // A preview whose only run was refused is listed, and has records.
    assert_eq!(asked(&head(1, 5, None), 9), RemovalDecision::Remove { number: 2 });
}

#[test]
fn a_removal_that_is_done_is_not_repeated_on_what_a_person_has_brought_back() {
    let back = Head { removed: removal(9, 4, false), ..head(5, 5, Some(run(5, 5))) };
    assert_eq!(asked(&back, 9), RemovalDecision::Superseded);
    assert_eq!(asked(&back, 20), RemovalDecision::Remove { number: 6 });
}

#[test]
fn a_removal_waits_for_a_living_lease_and_a_newer_push_wins_over_it() {
    let live = head(3, 5, Some(run(5, 3)));
    assert_eq!(asked(&held(live.clone(), "first", 5, 60), 9), RemovalDecision::Wait);
    assert_eq!(asked(&live, 4), RemovalDecision::Superseded);
    assert_eq!(asked(&live, 5), RemovalDecision::Superseded, "nobody knows which came first, and a push wins");
}

#[test]
fn a_removal_that_was_asked_for_before_a_persons_word_does_not_overrule_it() {
    let tombstone = Head { removed: removal(9, 4, false), ..head(4, 5, None) };
    let place = place(5);
    let replay = Request { id: "person", place: &place, replay: true, now: at(50) };
    let claimed = tombstone.claimed(&replay, 5, at(60));
    let back = claimed.finished(&run(5, 5), at(55));
    for head in [&claimed, &back] {
        // It comes late, or a second time by EventBridge with another time.
        let late = decide_removal(head, "person", at(25), at(61));
        assert_eq!(late, RemovalDecision::Superseded, "{head:?}");
    }
    assert_eq!(asked(&back, 51), RemovalDecision::Remove { number: 6 });
}

#[test]
fn no_run_of_an_upload_from_before_a_removal_cancels_it() {
    let pushed = Head { sequence: 4, unfinished: vec![unfinished(5, 3), unfinished(30, 4)], ..head(2, 1, None) };
    let postponed = pushed.postponing_removal(at(20));
    let older = event(5).now(40);
    assert_eq!(older.decide(&postponed, Some(&record(5, Status::Unfinished, 3))), Decision::Superseded);
    let refused = Head { live: Some(run(5, 3)), unfinished: Vec::new(), ..postponed.refused(&run(30, 4), false) };
    let duplicate = event(5).now(41);
    assert_eq!(duplicate.decide(&refused, Some(&record(5, Status::Finished, 3))), Decision::Duplicate);
    assert!(!refused.is_between_builds(), "nothing is removed yet");
    assert_eq!(asked(&refused, 20), RemovalDecision::Remove { number: 5 });
}

#[test]
fn previous_is_what_is_live_while_a_removal_is_half_done() {
    let live = head(3, 5, Some(run(5, 3)));
    let removing = live.removing(removal(9, 4, true).unwrap(), "dead", at(15), at(10));
    assert_eq!(removing.previous(), Previous::Live(id(5)));
    assert_eq!(live.postponing_removal(at(9)).previous(), Previous::ReplacedBy(id(5)));
}

#[test]
fn a_removal_waits_for_the_run_of_a_newer_push_to_end() {
    let live = Head { sequence: 4, ..head(3, 5, Some(run(5, 3))) };
    let pushed = Head { unfinished: vec![unfinished(30, 4)], ..live };
    let at_work = held(pushed.clone(), "first", 30, 60);
    assert_eq!(asked(&at_work, 20), RemovalDecision::Wait, "it may be refused");
    assert_eq!(asked(&pushed, 20), RemovalDecision::Postpone);
    let postponed = pushed.postponing_removal(at(20));
    assert_eq!(asked(&postponed, 20), RemovalDecision::Superseded, "once is enough");
    // The run may still resume, and then the push wins.
    let resumed = event(30).now(40).decide(&postponed, Some(&record(30, Status::Unfinished, 4)));
    assert_eq!(resumed, Decision::Resume);
    let pushed_run = run(30, 4);
    let finished = postponed.finished(&pushed_run, at(41));
    assert_eq!((asked(&finished, 20), finished.unfinished_removal()), (RemovalDecision::Superseded, None));
    // If it is refused, the sweep or the request's retry removes the preview.
    let refused = postponed.refused(&pushed_run, false);
    assert_eq!(refused.unfinished_removal(), Some(at(20)));
    assert_eq!(asked(&refused, 20), RemovalDecision::Remove { number: 5 });
}

#[test]
fn an_upload_from_before_the_removal_is_dead_unless_a_person_says_otherwise() {
    for is_unfinished in [true, false] {
        let live = is_unfinished.then(|| run(5, 3));
        let removed = Head { removed: removal(9, 4, is_unfinished), ..head(4, 5, live) };
        // Whether the ledger still knows it or not.
        for known in [None, Some(record(5, Status::Finished, 3)), Some(record(7, Status::Unfinished, 2))] {
            let uploaded = known.as_ref().map_or(7, |record| (record.uploaded_at - at(0)).num_seconds());
            let late = event(uploaded).now(20);
            assert_eq!(late.decide(&removed, known.as_ref()), Decision::Superseded, "{known:?}");
            assert_eq!(late.replay().decide(&removed, known.as_ref()), ROLLBACK, "{known:?}");
        }
        assert_eq!(event(30).decide(&removed, None), START);
        assert_eq!(event(9).decide(&removed, None), START, "of the same second: a push wins");
    }
}

#[test]
fn a_push_over_a_removal_that_has_not_finished_finds_the_site_between_two_builds() {
    let live = head(3, 5, Some(run(5, 3)));
    let removing = live.removing(removal(9, 4, true).unwrap(), "dead", at(15), at(10));
    assert!(removing.is_between_builds() && removing.has_unfinished());
    let place = place(30);
    let request = Request { id: "second", place: &place, replay: false, now: at(31) };
    let pushed = removing.claimed(&request, 5, at(60));
    assert!(pushed.is_between_builds(), "objects may be gone");
    assert!(pushed.is_before_removal(&super::place(5)), "what is dead stays dead");
    let pushed_run = RunId { deployment: place.deployment.clone(), number: 5 };
    let finished = pushed.finished(&pushed_run, at(40));
    assert!(!finished.is_between_builds());
    assert_eq!(finished.unfinished_removal(), None);
    // If the push is refused, the removal goes on, under a number of its own.
    let refused = pushed.refused(&pushed_run, false);
    assert_eq!(asked(&refused, 9), RemovalDecision::Remove { number: 6 });
    assert_eq!(refused.unfinished_removal(), Some(at(9)), "the sweep finishes it if nobody else does");
}

#[test]
fn a_removal_ends_unfinished_runs_and_leaves_a_tombstone() {
    let live = Head {
        unfinished: vec![UnfinishedRun { has_begun: true, ..unfinished(8, 4) }],
        manifest: Some("manifest-3".to_owned()),
        list_at: vec!["m".to_owned()],
        sequence: 4,
        ..head(3, 5, Some(run(5, 3)))
    };
    let removing = live.removing(removal(9, 5, true).unwrap(), "remover", at(15), at(10));
    assert_eq!((removing.unfinished.len(), removing.newest.as_ref()), (0, Some(&place(8))));
    let emptied = removing.emptied();
    assert_eq!((&emptied.manifest, &emptied.outdated), (&None, &vec!["manifest-3".to_owned()]));
    let buried = emptied.buried(1_000);
    let expected = Head {
        version: live.version + 3,
        sequence: 5,
        newest: Some(place(8)),
        removed: removal(9, 5, false),
        expires_at: Some(1_000),
        ..Head::default()
    };
    assert_eq!(buried, expected);
}

proptest! {
    /// Whatever order a push and a removal come in, the later of the two has its way.
    #[test]
    fn the_later_of_a_push_and_a_removal_has_its_way(uploaded in 0..40i64, asked_at in 0..40i64, is_push_first: bool) {
        let place = place(uploaded);
        let request = Request { id: "push", place: &place, replay: false, now: at(50) };
        let before = head(1, -10, Some(run(-10, 1)));
        let push = |head: &Head| match decide(head, None, &request) {
            Decision::Start { .. } => head.claimed(&request, head.sequence + 1, at(60)).finished(&RunId { deployment: place.deployment.clone(), number: head.sequence + 1 }, at(55)),
            _ => head.clone(),
        };
        let remove = |head: &Head| match decide_removal(head, "remove", at(asked_at), at(50)) {
            RemovalDecision::Remove { number } => {
                let removal = Removal::unfinished(at(asked_at), number);
                head.removing(removal, "remove", at(60), at(50)).emptied().buried(0)
            }
            _ => head.clone(),
        };
        let after = if is_push_first { remove(&push(&before)) } else { push(&remove(&before)) };
        prop_assert_eq!(after.live.is_some(), uploaded >= asked_at);
    }
}
