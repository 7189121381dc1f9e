//! What retention promises.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::rules::is_good;
use super::*;
use crate::repository::{BackupType, Format};
use crate::request::Content;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

const NOW: &str = "2026-11-24T12:00:00Z";

/// A verified full backup, made at this time.
fn backup(ordinal: u64, created: &str) -> BackupInfo {
    let created_at = at(created);
    BackupInfo {
        id: format!("b{ordinal}").parse().unwrap(),
        ordinal,
        database: "shop".into(),
        engine: "fake".into(),
        product: "Fake".into(),
        backup_type: BackupType::Full,
        format: Format::Binary,
        path: String::new(),
        size: 1,
        new_size: 1,
        raw_size: 1,
        rows: 1,
        created_at,
        finished_at: created_at,
        compressed: false,
        codec: "none".into(),
        verified: Some(created_at),
        decoded: Some(created_at),
        recipients: Vec::new(),
        signer: None,
        trusted: true,
        content: Content::All,
        partial: false,
        left_out: Vec::new(),
        parent: None,
        base: None,
        start: None,
        position: None,
        position_time: None,
        transactions: 0,
        metadata: BTreeMap::new(),
    }
}

/// Verified full backups, one a day at 02:00, the last on the 24th of November.
fn daily(count: u64) -> Vec<BackupInfo> {
    let last = at("2026-11-24T02:00:00Z");
    (1..=count)
        .map(|ordinal| {
            let created = last - chrono::TimeDelta::days((count - ordinal) as i64);
            backup(ordinal, &created.to_rfc3339())
        })
        .collect()
}

fn continues(ordinal: u64, created: &str, parent: u64, base: u64) -> BackupInfo {
    BackupInfo {
        backup_type: BackupType::Incremental,
        parent: Some(format!("b{parent}").parse().unwrap()),
        base: Some(format!("b{base}").parse().unwrap()),
        ..backup(ordinal, created)
    }
}

fn unverified(backup: BackupInfo) -> BackupInfo {
    BackupInfo { verified: None, ..backup }
}

fn plan(backups: &[BackupInfo], policy: &RetentionPolicy) -> RetentionPlan {
    RetentionPlan::new(backups, &Retention::all(policy.clone()), at(NOW), false).unwrap()
}

fn kept(plan: &RetentionPlan) -> BTreeSet<u64> {
    plan.decisions.iter().filter(|decision| decision.keep).map(|decision| decision.backup.ordinal).collect()
}

fn said(plan: &RetentionPlan, ordinal: u64) -> Vec<String> {
    let decision = plan.decisions.iter().find(|decision| decision.backup.ordinal == ordinal).unwrap();
    decision.reasons.iter().map(ToString::to_string).collect()
}

#[test]
fn the_window_is_at_most_so_many_and_none_older_than_so_many_days() {
    let backups = daily(40);
    let by_number = plan(&backups, &RetentionPolicy::window(10, 30));
    assert_eq!(kept(&by_number), (31..=40).collect());
    assert_eq!(
        said(&by_number, 40),
        ["max-backups: the newest", "days: 0 days old", "min-good: the newest that is verified"]
    );
    assert_eq!(said(&by_number, 31), ["max-backups: 9 newer", "days: 9 days old"]);
    assert_eq!(said(&by_number, 30), ["max-backups: 10 newer, and no more than 10 are kept"]);
    let by_age = plan(&backups, &RetentionPolicy::window(100, 5));
    assert_eq!(kept(&by_age), (36..=40).collect());
    assert_eq!(said(&by_age, 35), ["days: 5 days old, and 5 are kept"]);
    let only_days = plan(&backups, &RetentionPolicy { days: Some(5), ..RetentionPolicy::default() });
    assert_eq!(kept(&only_days), kept(&by_age));
}

#[test]
fn what_any_rule_keeps_is_kept() {
    let mut backups = daily(400);
    backups[1].metadata.insert("pin".into(), "yes".into());
    let policy = RetentionPolicy {
        max_backups: Some(3),
        keep_daily: Some(7),
        keep_weekly: Some(4),
        keep_monthly: Some(3),
        keep_yearly: Some(5),
        keep_tags: vec!["pin=yes".parse().unwrap()],
        ..RetentionPolicy::default()
    };
    let plan = plan(&backups, &policy);
    let dates: Vec<String> = (plan.decisions.iter().filter(|decision| decision.keep))
        .map(|decision| decision.backup.created_at.format("%m-%d").to_string())
        .collect();
    // 2026-11-24 is a Tuesday. The first is pinned, the second the last of 2025; then the ends of months, of weeks, and of days.
    let expected = [
        "10-22", "12-31", "09-30", "10-31", "11-08", "11-15", "11-18", "11-19", "11-20", "11-21", "11-22",
        "11-23", "11-24",
    ];
    assert_eq!(dates, expected);
    assert_eq!(said(&plan, 2), ["keep-tags: it has the tag pin=yes"]);
    let first = said(&plan, 1).join("; ");
    assert!(first.contains("max-backups: 399 newer") && first.contains("keep-daily: 2025-10-21"), "{first}");
}

#[test]
fn failed_recent_backups_never_cost_the_last_good_ones() {
    let mut backups = daily(60);
    for backup in &mut backups[20..] {
        backup.verified = None;
    }
    let policy = RetentionPolicy::window(10, 30);
    assert_eq!(kept(&plan(&backups, &policy)), (51..=60).chain([20]).collect());
    let policy = RetentionPolicy { min_good: Some(3), ..policy };
    let plan = plan(&backups, &policy);
    assert_eq!(kept(&plan), (51..=60).chain([18, 19, 20]).collect());
    assert_eq!(said(&plan, 18), ["min-good: the 3rd newest that is verified"]);
}

#[test]
fn when_backups_stop_coming_the_last_ones_stay() {
    let backups: Vec<_> = (1..=5).map(|ordinal| backup(ordinal, "2020-01-01T00:00:00Z")).collect();
    assert_eq!(kept(&plan(&backups, &RetentionPolicy::window(10, 30))), [5].into());
    let nothing_verified: Vec<_> = backups.into_iter().map(unverified).collect();
    assert_eq!(kept(&plan(&nothing_verified, &RetentionPolicy::window(10, 30))), [5].into());
}

#[test]
fn a_partial_backup_does_not_count_for_a_whole_one() {
    let mut backups = daily(3);
    backups[1].partial = true;
    backups[2].content = Content::SchemaOnly;
    let policy = RetentionPolicy { max_backups: Some(1), ..RetentionPolicy::default() };
    assert_eq!(kept(&plan(&backups, &policy)), [1, 2, 3].into());
}

#[test]
fn a_chain_is_one() {
    let mut backups = daily(2);
    backups.push(continues(3, "2026-11-24T03:00:00Z", 2, 2));
    backups.push(continues(4, "2026-11-24T04:00:00Z", 3, 2));
    let newest = RetentionPolicy { max_backups: Some(1), ..RetentionPolicy::default() };
    let plan_ = plan(&backups, &newest);
    assert_eq!(kept(&plan_), [2, 3, 4].into());
    assert_eq!(said(&plan_, 2), ["chain: belongs together with b4"]);
    assert_eq!(plan_.dropped().iter().map(|backup| backup.ordinal).collect::<Vec<_>>(), [1]);
    // Of a chain with an unverified link what follows it cannot be relied on.
    backups[2].verified = None;
    backups.push(unverified(backup(5, "2026-11-24T05:00:00Z")));
    assert_eq!(kept(&plan(&backups, &newest)), [2, 3, 4, 5].into());
    backups[1].verified = None;
    assert_eq!(kept(&plan(&backups, &newest)), [1, 5].into());
}

#[test]
fn links_to_each_other_round_in_circles_end() {
    let backups = [
        continues(1, NOW, 2, 3),
        continues(2, NOW, 1, 2),
        continues(3, NOW, 3, 3),
        continues(4, NOW, 99, 98),
    ];
    assert_eq!(kept(&plan(&backups, &RetentionPolicy::window(1, 1))), [4].into());
}

#[test]
fn clocks_that_go_back_and_equal_timestamps_do_no_harm() {
    // The clock of the host was set back to 1970 after the first, and is still wrong.
    let mut backups = vec![backup(1, "2026-11-24T01:00:00Z")];
    backups.extend((2..=4).map(|ordinal| backup(ordinal, "1970-01-01T00:00:00Z")));
    let only_days = RetentionPolicy { days: Some(30), ..RetentionPolicy::default() };
    assert_eq!(kept(&plan(&backups, &only_days)), [1, 2, 3, 4].into());
    // One from the future is as young as can be, and so is everything made after it.
    let backups = [backup(1, "2099-01-01T00:00:00Z"), backup(2, "2026-01-01T00:00:00Z")];
    assert_eq!(kept(&plan(&backups, &only_days)), [1, 2].into());
    let same: Vec<_> = (1..=5).map(|ordinal| backup(ordinal, NOW)).collect();
    let policy = RetentionPolicy { keep_daily: Some(1), ..RetentionPolicy::default() };
    assert_eq!(kept(&plan(&same, &policy)), [5].into());
    for extreme in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
        let mut backups = daily(1);
        backups[0].created_at = extreme;
        let policy = RetentionPolicy { timezone: Tz::Europe__Berlin, ..everything(u32::MAX) };
        assert_eq!(kept(&plan(&backups, &policy)).len(), 1);
    }
}

#[test]
fn days_and_hours_are_those_of_the_time_zone() {
    let berlin = RetentionPolicy { timezone: Tz::Europe__Berlin, ..RetentionPolicy::default() };
    // In Berlin the second is of the next day.
    let backups = [backup(1, "2026-11-20T22:30:00Z"), backup(2, "2026-11-20T23:30:00Z")];
    let daily = |policy: &RetentionPolicy| RetentionPolicy { keep_daily: Some(2), ..policy.clone() };
    assert_eq!(kept(&plan(&backups, &daily(&RetentionPolicy::default()))), [2].into());
    assert_eq!(kept(&plan(&backups, &daily(&berlin))), [1, 2].into());
    // On the 25th of October 02:30 came twice: those are two hours.
    let backups = [backup(1, "2026-10-25T00:30:00Z"), backup(2, "2026-10-25T01:30:00Z")];
    let hourly = RetentionPolicy { keep_hourly: Some(2), ..berlin.clone() };
    let plan_ = plan(&backups, &hourly);
    assert_eq!(kept(&plan_), [1, 2].into());
    assert_eq!(said(&plan_, 1), ["keep-hourly: the newest of 2026-10-25 02:00 +02:00"]);
    // The 29th of March had 23 hours, and is one day all the same.
    let backups = [backup(1, "2026-03-28T23:00:00Z"), backup(2, "2026-03-29T21:59:59Z")];
    assert_eq!(kept(&plan(&backups, &daily(&berlin))), [2].into());
}

#[test]
fn the_newest_of_a_day_does_not_cost_the_verified_one() {
    let backups = [backup(1, "2026-11-20T02:00:00Z"), unverified(backup(2, "2026-11-20T03:00:00Z"))];
    let more = backups.iter().cloned().chain([backup(3, "2026-11-24T02:00:00Z")]).collect::<Vec<_>>();
    let policy = RetentionPolicy { keep_daily: Some(7), ..RetentionPolicy::default() };
    let plan = plan(&more, &policy);
    assert_eq!(kept(&plan), [1, 2, 3].into());
    assert_eq!(said(&plan, 1), ["keep-daily: the newest of 2026-11-20 that is verified"]);
}

#[test]
fn a_policy_that_keeps_nothing_is_refused_without_a_word_that_says_so() {
    let backups = daily(3);
    let pins = vec!["pin".parse().unwrap()];
    for empty in [
        RetentionPolicy::default(),
        RetentionPolicy::window(0, 30),
        RetentionPolicy::window(10, 0),
        RetentionPolicy { keep_daily: Some(0), ..RetentionPolicy::default() },
        RetentionPolicy { min_good: Some(2), keep_tags: pins, ..RetentionPolicy::default() },
    ] {
        let retention = Retention::all(empty.clone());
        for backups in [&backups[..], &[]] {
            let error = RetentionPlan::new(backups, &retention, at(NOW), false).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Usage);
            assert!(error.to_string().contains("--allow-empty"), "{error}");
        }
        let plan = RetentionPlan::new(&backups, &retention, at(NOW), true).unwrap();
        assert!(kept(&plan).contains(&3), "the last verified one stays");
        let all = Retention::all(RetentionPolicy { min_good: Some(0), ..empty });
        assert!(kept(&RetentionPlan::new(&backups, &all, at(NOW), true).unwrap()).is_empty());
    }
    // Another's policy may be sound; this one is not.
    let mut retention = Retention::all(RetentionPolicy::window(1, 1));
    retention.sources.insert(("fake".into(), "other".into()), RetentionPolicy::default());
    assert!(RetentionPlan::new(&backups, &retention, at(NOW), false).is_err());
}

#[test]
fn every_source_has_its_own_policy_and_without_one_is_kept() {
    let mut backups = daily(6);
    for backup in &mut backups[..3] {
        backup.database = "ledger".into();
    }
    let mut retention = Retention::default();
    retention.sources.insert(("fake".into(), "shop".into()), RetentionPolicy::window(1, 30));
    let plan = RetentionPlan::new(&backups, &retention, at(NOW), false).unwrap();
    assert_eq!(kept(&plan), [1, 2, 3, 6].into());
    assert_eq!(said(&plan, 1), ["no-policy: no retention is configured for this source"]);
}

#[test]
fn a_tag_is_named_by_its_key_or_its_key_and_value() {
    let tags = BTreeMap::from([("pin".to_owned(), "yes".to_owned())]);
    let matches = |text: &str| text.parse::<TagPattern>().unwrap().matches(&tags);
    assert!(matches("pin") && matches("pin=yes"));
    assert!(!matches("pin=no") && !matches("pin=") && !matches("yes"));
    assert!("".parse::<TagPattern>().is_err() && "=yes".parse::<TagPattern>().is_err());
}

/// A policy with every rule on, each of this number.
fn everything(number: u32) -> RetentionPolicy {
    RetentionPolicy {
        max_backups: Some(number),
        days: Some(number),
        keep_hourly: Some(number),
        keep_daily: Some(number),
        keep_weekly: Some(number),
        keep_monthly: Some(number),
        keep_yearly: Some(number),
        min_good: Some(number),
        keep_tags: Vec::new(),
        timezone: Tz::UTC,
    }
}

fn any_policy() -> impl Strategy<Value = RetentionPolicy> {
    let number = || proptest::option::of(0u32..6);
    let zone = prop_oneof![Just(Tz::UTC), Just(Tz::Europe__Berlin), Just(Tz::Pacific__Apia)];
    let days = proptest::option::of(0u32..60);
    (number(), days, proptest::array::uniform5(number()), number(), any::<bool>(), zone).prop_map(
        |(max_backups, days, keep, min_good, pins, timezone)| RetentionPolicy {
            max_backups,
            days,
            keep_hourly: keep[0],
            keep_daily: keep[1],
            keep_weekly: keep[2],
            keep_monthly: keep[3],
            keep_yearly: keep[4],
            min_good,
            keep_tags: pins.then(|| "pin".parse().unwrap()).into_iter().collect(),
            timezone,
        },
    )
}

prop_compose! {
    /// Backups with clocks that jump, times that are equal, chains with and without holes, of two databases.
    fn any_backups()(seeds in proptest::collection::vec(
        (0u64..4, 0i64..1200, 0u8..4, any::<bool>(), 0usize..40, 0u8..8, any::<bool>()), 0..40,
    )) -> Vec<BackupInfo> {
        let mut backups: Vec<BackupInfo> = Vec::new();
        for (i, (step, hours, jump, verified, parent, kind, pinned)) in seeds.into_iter().enumerate() {
            let before = backups.last().map_or(1, |before| before.ordinal);
            let created = match jump {
                0 => at(NOW) - chrono::TimeDelta::hours(hours),
                1 => at("1970-01-01T00:00:00Z"),
                2 => at(NOW) + chrono::TimeDelta::hours(hours),
                _ => backups.last().map_or(at(NOW), |before| before.created_at + chrono::TimeDelta::hours(hours % 7)),
            };
            let mut backup = backup(before + step, &created.to_rfc3339());
            backup.id = format!("b{i}").parse().unwrap();
            backup.verified = verified.then_some(created);
            backup.partial = kind == 7;
            if pinned && kind == 6 {
                backup.metadata.insert("pin".into(), String::new());
            }
            backup.database = if kind == 5 { "ledger" } else { "shop" }.into();
            if kind < 4 && parent < i {
                let parent = &backups[parent];
                backup.database = parent.database.clone();
                backup.backup_type = BackupType::Incremental;
                backup.parent = Some(parent.id.clone());
                backup.base = parent.base.clone().or_else(|| Some(parent.id.clone()));
            }
            backups.push(backup);
        }
        // Some are gone or cannot be read.
        let mut place = 0;
        backups.retain(|_| { place += 1; place % 9 != 0 });
        backups
    }
}

fn apply(backups: &[BackupInfo], policy: &RetentionPolicy) -> (Vec<BackupInfo>, Vec<BackupInfo>) {
    let plan = RetentionPlan::new(backups, &Retention::all(policy.clone()), at(NOW), true).unwrap();
    assert_eq!(plan.decisions.len(), backups.len());
    let (keep, drop): (Vec<_>, Vec<_>) = plan.decisions.into_iter().partition(|decision| decision.keep);
    (keep.into_iter().map(|d| d.backup).collect(), drop.into_iter().map(|d| d.backup).collect())
}

fn ids(backups: &[BackupInfo]) -> BTreeSet<String> {
    backups.iter().map(|backup| backup.id.to_string()).collect()
}

/// How many good chains there are, of each source and kind.
fn good(backups: &[BackupInfo]) -> BTreeMap<(String, bool), usize> {
    let by_id = backups.iter().map(|backup| (&backup.id, backup)).collect();
    let chains = chains(backups);
    let mut good: BTreeMap<(String, bool), BTreeSet<&BackupId>> = BTreeMap::new();
    for backup in backups.iter().filter(|backup| is_good(backup, &by_id)) {
        good.entry((backup.database.clone(), backup.partial)).or_default().insert(chains[&backup.id]);
    }
    good.into_iter().map(|(key, chains)| (key, chains.len())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn applied_twice_it_drops_nothing_more(backups in any_backups(), policy in any_policy()) {
        let (kept, _) = apply(&backups, &policy);
        let (again, dropped) = apply(&kept, &policy);
        prop_assert_eq!(ids(&dropped), BTreeSet::new());
        prop_assert_eq!(ids(&again), ids(&kept));
    }

    #[test]
    fn never_fewer_than_min_good_are_left(backups in any_backups(), policy in any_policy()) {
        let (kept, _) = apply(&backups, &policy);
        let left = good(&kept);
        for (key, there) in good(&backups) {
            let least = there.min(policy.min_good.unwrap_or(1) as usize);
            prop_assert!(left.get(&key).copied().unwrap_or(0) >= least, "{:?}", key);
        }
    }

    #[test]
    fn a_larger_number_never_drops_what_a_smaller_one_keeps(
        backups in any_backups(), policy in any_policy(), which in 0usize..8, more in 1u32..10,
    ) {
        let mut larger = policy.clone();
        let number = match which {
            0 => &mut larger.max_backups,
            1 => &mut larger.days,
            2 => &mut larger.keep_hourly,
            3 => &mut larger.keep_daily,
            4 => &mut larger.keep_weekly,
            5 => &mut larger.keep_monthly,
            6 => &mut larger.keep_yearly,
            _ => &mut larger.min_good,
        };
        *number = number.map(|number| number + more);
        let (small, large) = (ids(&apply(&backups, &policy).0), ids(&apply(&backups, &larger).0));
        prop_assert!(small.is_subset(&large), "{:?}", small.difference(&large).collect::<Vec<_>>());
    }

    #[test]
    fn a_chain_is_never_cut(backups in any_backups(), policy in any_policy()) {
        let (kept, dropped) = apply(&backups, &policy);
        let (kept_ids, dropped_ids) = (ids(&kept), ids(&dropped));
        for backup in &kept {
            for other in [&backup.parent, &backup.base].into_iter().flatten() {
                prop_assert!(!dropped_ids.contains(other.as_str()), "{} needs {}", backup.id, other);
            }
        }
        for backup in &dropped {
            for other in [&backup.parent, &backup.base].into_iter().flatten() {
                prop_assert!(!kept_ids.contains(other.as_str()), "{} goes, {} stays", backup.id, other);
            }
        }
    }

    #[test]
    fn a_policy_that_is_not_empty_keeps_the_newest_of_every_source(backups in any_backups(), policy in any_policy()) {
        prop_assume!(!policy.is_empty());
        let kept = ids(&apply(&backups, &policy).0);
        for database in ["shop", "ledger"] {
            let of_it = backups.iter().filter(|backup| backup.database == database);
            if let Some(newest) = of_it.max_by_key(|backup| (backup.ordinal, backup.created_at, &backup.id)) {
                prop_assert!(kept.contains(newest.id.as_str()));
            }
        }
    }

    #[test]
    fn the_order_in_which_backups_are_found_says_nothing(backups in any_backups(), policy in any_policy()) {
        let mut reversed = backups.clone();
        reversed.reverse();
        prop_assert_eq!(ids(&apply(&backups, &policy).0), ids(&apply(&reversed, &policy).0));
    }
}
