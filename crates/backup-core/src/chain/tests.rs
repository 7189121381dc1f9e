//! Plans against what they mean, over chains of any shape.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

fn position(n: usize) -> Position {
    Position(n.into())
}

fn order(a: &Position, b: &Position) -> Result<Option<Ordering>> {
    Ok(a.0.as_u64().zip(b.0.as_u64()).map(|(a, b)| a.cmp(&b)))
}

fn header(ordinal: u64, kind: &str, parent: Option<&Header>, end: usize, log: serde_json::Value) -> Header {
    let base = parent.map(|parent| parent.base.clone().unwrap_or_else(|| parent.id.clone()));
    serde_json::from_value(json!({
        "lifeboat": 1, "writer": "test", "id": format!("b{ordinal}"), "repository": "r", "ordinal": ordinal,
        "engine": "fake", "product": "Fake", "database": "d", "type": kind, "format": "binary",
        "parent": parent.map(|parent| parent.id.clone()), "base": base,
        "started": at(0), "finished": at(0),
        "start": parent.map(|parent| parent.end.clone()), "end": end, "log": log,
        "content": "all", "partial": false, "rows": 0, "raw-size": 0, "stored-size": 0, "new-size": 0,
        "codec": "none", "file": null, "lists": [],
        "body": { "size": 0, "hash": "00".repeat(32), "codec": "none", "sealed": null },
    }))
    .unwrap()
}

#[derive(Debug, Clone)]
enum Step {
    Commit(i64),
    Full,
    Incremental,
    Differential,
}

/// The commit times of a log, and the backups that were made of it.
fn tell(steps: &[Step]) -> (Vec<i64>, Vec<Header>) {
    let (mut log, mut headers) = (Vec::new(), Vec::<Header>::new());
    for step in steps {
        let ordinal = headers.len() as u64 + 1;
        let (kind, full) = match step {
            Step::Commit(second) => {
                log.push(*second);
                continue;
            }
            Step::Full => ("full", true),
            Step::Incremental => ("incremental", false),
            Step::Differential => ("differential", false),
        };
        let chains = Chains::new(&headers);
        let parent = match chains.newest_base("fake", "d", "L") {
            Some(base) if kind == "differential" => Some(base),
            Some(base) if !full => chains.tips(base)[0].last().copied(),
            _ => None,
        };
        let kind = if parent.is_none() { "full" } else { kind };
        let start =
            parent.map_or(log.len(), |parent| parent.end.as_ref().unwrap().0.as_u64().unwrap() as usize);
        let covered = &log[start..];
        let record = json!({
            "id": "L", "precision-us": 1_000_000, "end-time": at(log.iter().copied().max().unwrap_or(0)),
            "transactions": covered.len(),
            "earliest-commit": covered.iter().min().map(|second| at(*second)),
            "latest-commit": covered.iter().max().map(|second| at(*second)),
        });
        let made = header(ordinal, kind, parent, log.len(), record);
        headers.push(made);
    }
    (log, headers)
}

fn number(position: &Option<Position>) -> usize {
    position.as_ref().unwrap().0.as_u64().unwrap() as usize
}

/// Where a plan's replay ends: behind so many transactions of the log.
fn replayed(plan: &Plan, log: &[i64]) -> usize {
    let mut end = number(&plan.path[0].end);
    assert_eq!(plan.path[0].backup_type, BackupType::Full);
    for (place, member) in plan.path.iter().enumerate().skip(1) {
        assert_eq!(number(&member.start), end, "a hole in {:?}", plan.path);
        for (n, commit) in log.iter().enumerate().take(number(&member.end)).skip(end) {
            let stops = match &plan.until {
                Until::End => false,
                Until::Time(time) => at(*commit) > *time,
                Until::Position(position) => position.0.as_u64().unwrap() as usize <= n,
            };
            if stops {
                assert_eq!(place + 1, plan.path.len(), "more is needed than has to be read");
                return n;
            }
        }
        end = number(&member.end);
    }
    end
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0i64..30).prop_map(Step::Commit),
        1 => Just(Step::Full),
        3 => Just(Step::Incremental),
        2 => Just(Step::Differential),
    ];
    proptest::collection::vec(step, 0..60).prop_map(|mut steps| {
        steps.push(Step::Incremental);
        steps
    })
}

proptest! {
    #[test]
    fn a_plan_ends_where_its_point_is_or_there_is_none(steps in steps(), second in -2i64..32, chosen: prop::sample::Index) {
        let (log, headers) = tell(&steps);
        let chains = Chains::new(&headers);
        let header = chosen.get(&headers);
        let base = chains.base(header).unwrap();
        let covered = chains.members(base).map(|member| number(&member.end)).max().unwrap();
        let from = number(&base.end);

        // To its own end.
        let plan = chains.plan(header, false, &Until::End, &order).unwrap();
        prop_assert_eq!(replayed(&plan, &log), number(&header.end));
        prop_assert_eq!(&plan.path.last().unwrap().id, &header.id);

        // To a time: the first later transaction is found wherever it is.
        let later = (from..covered).find(|n| log[*n] > second);
        let reach = chains.reach(base).unwrap();
        match chains.plan(header, false, &Until::Time(at(second)), &order) {
            Ok(plan) => {
                prop_assert!(reach.from <= at(second) && at(second) < reach.before);
                prop_assert_eq!(replayed(&plan, &log), later.unwrap_or(covered));
            }
            Err(error) => {
                prop_assert_eq!(error.kind(), ErrorKind::Unreachable);
                prop_assert!(at(second) < reach.from || at(second) >= reach.before, "{}", error);
            }
        }

        // To a position: every one between the ends, and no other.
        for n in 0..=log.len() {
            match chains.plan(header, false, &Until::Position(position(n)), &order) {
                Ok(plan) => prop_assert_eq!(replayed(&plan, &log), n),
                Err(error) => {
                    prop_assert_eq!(error.kind(), ErrorKind::Unreachable);
                    prop_assert!(n < from || n > covered, "{}", error);
                }
            }
        }

        // The newest chain that holds a time is the one that `latest` takes.
        let latest = headers.last().unwrap();
        let newest = headers.iter().rev().filter(|header| is_base(header)).find(|base| {
            chains.plan(base, false, &Until::Time(at(second)), &order).is_ok()
        });
        let plan = chains.plan(latest, true, &Until::Time(at(second)), &order);
        prop_assert_eq!(plan.ok().map(|plan| plan.path[0].id.clone()), newest.map(|base| base.id.clone()));
    }

    #[test]
    fn a_chain_from_which_anything_is_missing_or_changed_is_refused(steps in steps(), damage: prop::sample::Index, how in 0..5) {
        let (_, mut headers) = tell(&steps);
        let header = headers.last().unwrap().clone();
        let path: Vec<_> = Chains::new(&headers).path(&header).unwrap().iter().map(|header| header.id.clone()).collect();
        prop_assume!(path.len() > 1);
        let victim = damage.get(&path[..path.len() - 1]).clone();
        let place = headers.iter().position(|header| header.id == victim).unwrap();
        match how {
            0 => drop(headers.remove(place)),
            1 => headers[place].end = Some(Position("elsewhere".into())),
            2 => headers[place].log.as_mut().unwrap().info.id = "another".into(),
            3 => headers[place].ordinal = header.ordinal + 7,
            _ => headers[place].database = "another".into(),
        }
        let header = headers.iter().find(|other| other.id == header.id).unwrap();
        let error = Chains::new(&headers).path(header).unwrap_err();
        prop_assert_eq!(error.kind(), ErrorKind::Damaged);
    }
}

#[test]
fn a_circle_of_backups_is_no_chain() {
    let (_, mut headers) = tell(&[Step::Full, Step::Incremental, Step::Incremental]);
    headers[1].parent = Some(headers[2].id.clone());
    headers[1].start = headers[2].end.clone();
    assert!(Chains::new(&headers).path(&headers[2]).is_err());
}

#[test]
fn two_incrementals_made_at_once_are_two_ends_of_one_chain() {
    let (_, mut headers) = tell(&[Step::Full, Step::Commit(1), Step::Incremental]);
    let mut twin = headers[1].clone();
    twin.id = "twin".parse().unwrap();
    headers.push(twin);
    let chains = Chains::new(&headers);
    let tips: Vec<_> =
        chains.tips(&headers[0]).iter().map(|path| path.last().unwrap().id.to_string()).collect();
    assert_eq!(tips, ["twin", "b2"]);
}

#[test]
fn what_is_no_whole_database_at_an_exact_place_is_no_base() {
    let (_, headers) = tell(&[Step::Full]);
    assert!(is_base(&headers[0]));
    let damaged: [fn(&mut Header); 5] = [
        |header| header.partial = true,
        |header| header.content = Content::SchemaOnly,
        |header| header.content = Content::DataOnly,
        |header| header.end = None,
        |header| header.log = None,
    ];
    for change in damaged {
        let mut header = headers[0].clone();
        change(&mut header);
        assert!(!is_base(&header));
    }
}
