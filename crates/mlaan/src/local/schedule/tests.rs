//! All networks of up to eight modules, cascades of up to four, all cuts into stages: simulated with queues of one message,
//! and of sources of one more for each step that copies lag behind.

use super::*;
use std::collections::{HashMap, VecDeque};

const BATCHES: usize = 4;

/// The order of work of one device with all modules, as a loop.
fn one_device(n: usize, span: usize, mirrors: bool) -> Vec<Verb> {
    let (mut all, last) = (Vec::new(), n - 1);
    for j in 0..n {
        all.extend([Verb::Forward(j), Verb::LocalBackward(j)]);
        if span > 1 && n > 1 {
            let start = (j + 1).saturating_sub(span);
            all.extend((start + 1..=j).rev().map(|module| Verb::BackwardThrough { cascade: j, module }));
            all.push(Verb::Accumulate { cascade: j, module: start });
        }
        if j + 1 >= span {
            all.push(Verb::Update(j + 1 - span));
        }
    }
    all.extend(((last + 2).saturating_sub(span)..=last).map(Verb::Update));
    all.extend(mirrors.then_some(Verb::Follow));
    all
}

/// Every way to cut `n` modules into stages.
fn cuts(n: usize) -> impl Iterator<Item = Vec<usize>> {
    (0..1u32 << (n - 1)).map(move |bits| (1..n).filter(|i| bits >> (i - 1) & 1 == 1).collect())
}

/// Ways in which modules mirror blocks of others: not at all, the last, the next, the first, each other across the network.
fn mirrors(n: usize) -> Vec<Vec<Vec<usize>>> {
    let each =
        |f: &dyn Fn(usize) -> Vec<usize>| (0..n).map(|m| if m + 1 < n { f(m) } else { vec![] }).collect();
    vec![
        vec![vec![]; n],
        each(&|_| vec![n - 1]),
        each(&|m| vec![m + 1]),
        each(&|_| vec![0]),
        each(&|m| vec![n - 1 - m, m / 2]),
    ]
}

/// What goes from one stage to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum MessageKind {
    Features,
    Gradient,
    Sources,
}

/// A message: the batch, and of a gradient the cascade.
type Message = (usize, Option<usize>);

struct Stage {
    /// Verbs of all batches in the order in which it works.
    program: Vec<(usize, Verb)>,
    next: usize,
}

/// As a stage works: what is ahead of the next batch, what returns of this one, the rest of the next.
fn program(stage: &StageSchedule) -> Vec<(usize, Verb)> {
    let part = |t: usize, verbs: &[Verb]| verbs.iter().map(|&v| (t, v)).collect::<Vec<_>>();
    let mut all = Vec::new();
    for t in 0..BATCHES {
        all.extend(part(t, &stage.ahead));
        if t > 0 {
            all.extend(part(t - 1, &stage.returning));
        }
        all.extend(part(t, &stage.rest));
    }
    all.extend(part(BATCHES - 1, &stage.returning));
    all
}

/// Runs all stages until none can go on; what was done, in an order in which it could be.
fn simulate(schedule: &Schedule, (span, lag): (usize, usize), name: &str) -> Vec<(usize, usize, Verb)> {
    let mut stages: Vec<Stage> =
        schedule.stages.iter().map(|s| Stage { program: program(s), next: 0 }).collect();
    let mut queues: HashMap<(usize, usize, MessageKind), VecDeque<Message>> = HashMap::new();
    let mut done = Vec::new();
    loop {
        let before = done.len();
        for (k, stage) in stages.iter_mut().enumerate() {
            while let Some(&(t, verb)) = stage.program.get(stage.next) {
                let (send, receive) = match verb {
                    Verb::SendFeatures => (Some((k, k + 1, MessageKind::Features)), None),
                    Verb::ReceiveFeatures => (None, Some((k - 1, k, MessageKind::Features))),
                    Verb::SendGradient { .. } => (Some((k, k - 1, MessageKind::Gradient)), None),
                    Verb::ReceiveGradient { .. } => (None, Some((k + 1, k, MessageKind::Gradient))),
                    Verb::SendSources { to } => (Some((k, to, MessageKind::Sources)), None),
                    Verb::ReceiveSources { from } => (None, Some((from, k, MessageKind::Sources))),
                    _ => (None, None),
                };
                let cascade = match verb {
                    Verb::SendGradient { cascade } | Verb::ReceiveGradient { cascade } => Some(cascade),
                    _ => None,
                };
                if let Some(key) = send {
                    let queue = queues.entry(key).or_default();
                    let room = match key.2 {
                        MessageKind::Sources => lag + 1,
                        MessageKind::Gradient if lag > 0 => span.saturating_sub(1).max(1),
                        _ => 1,
                    };
                    if queue.len() == room {
                        break;
                    }
                    queue.push_back((t, cascade));
                }
                // What the first steps follow is there from the beginning.
                let late = if matches!(verb, Verb::ReceiveSources { .. }) { lag } else { 0 };
                if let (Some(key), true) = (receive, t >= late) {
                    let Some(message) = queues.entry(key).or_default().pop_front() else { break };
                    assert_eq!(message, (t - late, cascade), "{name}: stage {k}, {verb:?}");
                }
                stage.next += 1;
                done.push((k, t, verb));
            }
        }
        if done.len() == before {
            break;
        }
    }
    for (k, s) in stages.iter().enumerate() {
        assert_eq!(s.next, s.program.len(), "{name}: stage {k} waits at {:?}", s.program.get(s.next));
    }
    // What copies would follow next is drained.
    let left = |kind| if kind == MessageKind::Sources { lag.min(BATCHES) } else { 0 };
    assert!(queues.iter().all(|(key, q)| q.len() == left(key.2)), "{name}: {queues:?}");
    done
}

/// The module that a verb works on.
fn module(verb: Verb) -> Option<usize> {
    match verb {
        Verb::Forward(m) | Verb::LocalBackward(m) | Verb::Update(m) => Some(m),
        Verb::BackwardThrough { module, .. } | Verb::Accumulate { module, .. } => Some(module),
        _ => None,
    }
}

fn each_case(mut f: impl FnMut(usize, usize, &[usize], &[Vec<usize>], &str)) {
    for n in 1..=8 {
        for (span, cuts) in (1..=4).flat_map(|s| cuts(n).map(move |c| (s, c))) {
            for (i, sources) in mirrors(n).iter().enumerate() {
                f(n, span, &cuts, sources, &format!("{n} modules, span {span}, cuts {cuts:?}, mirrors {i}"));
            }
        }
    }
}

/// Those, and some in which copies lag behind.
fn each_late_case(mut f: impl FnMut(usize, usize, &[usize], &[Vec<usize>], usize, &str)) {
    each_case(|n, span, cuts, sources, name| {
        let mirrors = sources.iter().any(|s| !s.is_empty());
        let lags = if mirrors && n < 6 { 0..=3 } else { 0..=0 };
        lags.for_each(|lag| f(n, span, cuts, sources, lag, &format!("{name}, lag {lag}")));
    });
}

#[test]
fn one_stage_works_as_one_device() {
    each_case(|n, span, cuts, sources, name| {
        if cuts.is_empty() {
            let schedule = Schedule::new(n, span, cuts, sources, 0);
            let mirrors = sources.iter().any(|s| !s.is_empty());
            assert_eq!(schedule.stages.len(), 1);
            assert!(!schedule.stages[0].overlaps(), "{name}");
            assert_eq!(schedule.stages[0].all().collect::<Vec<_>>(), one_device(n, span, mirrors), "{name}");
        }
    });
}

#[test]
fn stages_end_and_each_module_does_what_it_does_on_one_device() {
    each_late_case(|n, span, cuts, sources, lag, name| {
        let schedule = Schedule::new(n, span, cuts, sources, lag);
        let done = simulate(&schedule, (span, lag), name);
        let alone = one_device(n, span, false);
        for m in 0..n {
            // The same verbs in the same order, batch after batch: forward of a batch after the update of the one before.
            let of = |v: &Verb| module(*v) == Some(m);
            let found: Vec<_> = done.iter().filter(|d| of(&d.2)).map(|d| (d.1, d.2)).collect();
            let expected: Vec<_> =
                (0..BATCHES).flat_map(|t| alone.iter().filter(|v| of(v)).map(move |&v| (t, v))).collect();
            assert_eq!(found, expected, "{name}: module {m}");
        }
    });
}

#[test]
fn mirrors_follow_what_their_sources_were_at_the_end_of_the_batch() {
    each_case(|n, span, cuts, sources, name| {
        let schedule = Schedule::new(n, span, cuts, sources, 0);
        let done = simulate(&schedule, (span, 0), name);
        let stage_of = |m: usize| schedule.stages.iter().position(|s| s.modules.contains(&m)).unwrap();
        let at = |k: usize, t: usize, v: Verb| done.iter().position(|d| *d == (k, t, v));
        for (m, s) in sources.iter().enumerate().flat_map(|(m, all)| all.iter().map(move |&s| (m, s))) {
            let (own, of) = (stage_of(m), stage_of(s));
            for t in 0..BATCHES {
                let follows = at(own, t, Verb::Follow).unwrap();
                let updated = at(of, t, Verb::Update(s)).unwrap();
                let again = at(of, t + 1, Verb::Update(s));
                let learns = at(own, t + 1, Verb::LocalBackward(m));
                let seen =
                    if own == of { follows } else { at(of, t, Verb::SendSources { to: own }).unwrap() };
                assert!(updated < seen && again.is_none_or(|c| seen < c), "{name}: {m} mirrors {s}");
                assert!(seen <= follows && learns.is_none_or(|l| follows < l), "{name}: {m} mirrors {s}");
                if own != of {
                    let received = at(own, t, Verb::ReceiveSources { from: of }).unwrap();
                    assert!(seen < received && received < follows, "{name}: {m} mirrors {s}");
                }
            }
        }
    });
}

#[test]
fn copies_that_lag_behind_follow_earlier_versions() {
    each_late_case(|n, span, cuts, sources, lag, name| {
        if lag == 0 {
            return;
        }
        let schedule = Schedule::new(n, span, cuts, sources, lag);
        let done = simulate(&schedule, (span, lag), name);
        let stage_of = |m: usize| schedule.stages.iter().position(|s| s.modules.contains(&m)).unwrap();
        let at = |k: usize, t: usize, v: Verb| done.iter().position(|d| *d == (k, t, v));
        for (m, s) in sources.iter().enumerate().flat_map(|(m, all)| all.iter().map(move |&s| (m, s))) {
            let (own, of) = (stage_of(m), stage_of(s));
            let last =
                sources.iter().enumerate().rev().find(|(m, all)| stage_of(*m) == own && all.contains(&s));
            let last = last.unwrap().0;
            for t in 0..BATCHES {
                let follows = at(own, t, Verb::FollowLate { module: m }).unwrap();
                // The module's auxiliary network has learnt from this batch, and not from the next.
                assert!(at(own, t, Verb::LocalBackward(m)).unwrap() < follows, "{name}: {m} mirrors {s}");
                assert!(at(own, t + 1, Verb::LocalBackward(m)).is_none_or(|l| follows < l), "{name}: {m}");
                if own == of {
                    // Kept as the batch left it, when nobody needs the version whose room it takes, and in time.
                    let kept = at(own, t, Verb::Keep { module: s }).unwrap();
                    assert!(at(own, t, Verb::Update(s)).unwrap() < kept, "{name}: {m} mirrors {s}");
                    assert!(
                        at(own, t + 1, Verb::Update(s)).is_none_or(|c| kept < c),
                        "{name}: {m} mirrors {s}"
                    );
                    assert!(
                        at(own, t, Verb::FollowLate { module: last }).unwrap() < kept,
                        "{name}: {m} mirrors {s}"
                    );
                    let next = at(own, t + lag, Verb::FollowLate { module: m });
                    assert!(next.is_none_or(|f| kept < f), "{name}: {m} mirrors {s}");
                } else {
                    let received = at(own, t, Verb::ReceiveSources { from: of }).unwrap();
                    assert!(received < follows, "{name}: {m} mirrors {s}");
                    let sent = at(of, t, Verb::SendSources { to: own }).unwrap();
                    assert!(at(of, t, Verb::Update(s)).unwrap() < sent, "{name}: {m} mirrors {s}");
                    assert!(
                        at(of, t + 1, Verb::Update(s)).is_none_or(|c| sent < c),
                        "{name}: {m} mirrors {s}"
                    );
                }
            }
        }
    });
}

#[test]
fn stages_with_room_begin_a_batch_before_the_one_before_comes_back() {
    let none = vec![vec![]; 8];
    let stages = Schedule::new(8, 3, &[4], &none, 0).stages;
    // Modules 2 and 3 wait for cascades 4 and 5; the input of module 2 is all that is kept of module 1.
    assert!(stages[0].overlaps() && !stages[1].overlaps());
    assert_eq!(stages[0].ahead.iter().filter_map(|v| module(*v)).max(), Some(1));
    assert_eq!(stages[0].returning.iter().filter_map(|v| module(*v)).min(), Some(2));
    let updates = |verbs: &[Verb]| verbs.iter().filter(|v| matches!(v, Verb::Update(_))).count();
    assert_eq!(
        (updates(&stages[0].ahead), updates(&stages[0].rest), updates(&stages[0].returning)),
        (0, 2, 2)
    );
    assert!(!Schedule::new(8, 1, &[4], &none, 0).stages[0].overlaps(), "nothing comes back");
    assert!(!Schedule::new(8, 4, &[3], &none, 0).stages[0].overlaps(), "every module waits");
    let mut mirrored = none.clone();
    mirrored[5] = vec![0];
    assert!(!Schedule::new(8, 3, &[4], &mirrored, 0).stages[0].overlaps(), "a mirror in another stage waits");
    mirrored[5] = vec![7];
    assert!(Schedule::new(8, 3, &[4], &mirrored, 0).stages[0].overlaps(), "mirrors stay in the stage above");
    mirrored[0] = vec![7];
    assert!(!Schedule::new(8, 3, &[4], &mirrored, 0).stages[0].overlaps(), "mirrors of blocks above");
    assert!(Schedule::new(8, 3, &[4], &mirrored, 1).stages[0].overlaps(), "they lag behind");
    mirrored[0] = vec![3];
    assert!(
        !Schedule::new(8, 3, &[4], &mirrored, 1).stages[0].overlaps(),
        "module 3 is updated by what comes back"
    );
    assert!(Schedule::new(8, 3, &[4], &mirrored, 2).stages[0].overlaps(), "the version before is there");
}
