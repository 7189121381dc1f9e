//! Tables whose parents got columns after they were made: they have these behind their own. They come back in that order only if they are
//! made the same way: without the late columns at first, and those that became children later alone.

use std::collections::{HashMap, HashSet};

/// A table, as far as the order of columns goes.
#[derive(Debug)]
pub(super) struct Member<'a> {
    pub(super) oid: u32,
    pub(super) parents: &'a [u32],
    /// Each column, and whether the table has it of its own.
    pub(super) columns: Vec<(&'a str, bool)>,
    /// Whether it can be made alone and become a child then: its constraints are its own.
    pub(super) may_join: bool,
}

/// A column of a table.
type Place<'a> = (u32, &'a str);

/// Tables that are made together.
#[derive(Debug, Default)]
pub(super) struct Family {
    /// Parents before their children.
    pub(super) members: Vec<u32>,
    /// Those that become children when all are made.
    pub(super) joining: HashSet<u32>,
    /// The columns that are added when all members are made, each to the topmost table that has it.
    pub(super) added: Vec<(u32, String)>,
    /// All columns that are not there when their table is made.
    pub(super) late: HashSet<(u32, String)>,
}

/// The families in which somebody has late columns, and which come back in their order. Of `members` parents come before their children.
pub(super) fn families(members: &[Member<'_>]) -> Vec<Family> {
    let places: HashMap<u32, usize> =
        members.iter().enumerate().map(|(place, member)| (member.oid, place)).collect();
    // The family of each, named by its first member.
    let mut of: Vec<usize> = (0..members.len()).collect();
    for (place, member) in members.iter().enumerate() {
        for parent in member.parents.iter().filter_map(|oid| places.get(oid)) {
            let (from, to) = (of[place].max(of[*parent]), of[place].min(of[*parent]));
            of.iter_mut().filter(|family| **family == from).for_each(|family| *family = to);
        }
    }
    let mut grouped: HashMap<usize, Vec<&Member<'_>>> = HashMap::new();
    for (member, family) in members.iter().zip(&of) {
        grouped.entry(*family).or_default().push(member);
    }
    let mut families: Vec<_> = grouped.into_iter().collect();
    families.sort_by_key(|(family, _)| *family);
    families.into_iter().filter_map(|(_, members)| family(&members)).collect()
}

/// The family of these members, if it has late columns and comes back in its order.
fn family(members: &[&Member<'_>]) -> Option<Family> {
    let by_oid: HashMap<u32, &Member<'_>> = members.iter().map(|member| (member.oid, *member)).collect();
    // A plain INHERITS does it.
    if comes_back(members, &by_oid, &HashSet::new(), &HashSet::new(), &[]) {
        return None;
    }
    made_with(members, &HashSet::new()).or_else(|| {
        // A column of its own that is its parents' too and stands before what is only inherited was there before they were its parents.
        let joined = |member: &&&Member<'_>| {
            let mut own = member.columns.iter().take_while(|(_, own)| *own);
            member.may_join && own.any(|(name, _)| inherits(member, &by_oid, name))
        };
        made_with(members, &members.iter().filter(joined).map(|member| member.oid).collect())
    })
}

/// The same, where some become children when all are made.
fn made_with(members: &[&Member<'_>], joining: &HashSet<u32>) -> Option<Family> {
    let by_oid: HashMap<u32, &Member<'_>> = members.iter().map(|member| (member.oid, *member)).collect();
    let mut late: HashSet<Place<'_>> = HashSet::new();
    // What is behind a late column is late too, and what is late in a parent is late in its children.
    loop {
        let before = late.len();
        for member in members {
            let first = match joining.contains(&member.oid) {
                true => member.columns.iter().take_while(|(_, own)| *own).count(),
                false => first_late(member, &by_oid, &late),
            };
            late.extend(member.columns.iter().skip(first).map(|(name, _)| (member.oid, *name)));
            let inherited: Vec<_> = member.columns.iter().filter(|(_, own)| !own).collect();
            for (name, _) in inherited {
                let mut from = member.parents.iter().filter_map(|oid| by_oid.get(oid));
                let from_late = from.clone().any(|parent| late.contains(&(parent.oid, *name)));
                if from_late || late.contains(&(member.oid, *name)) {
                    late.insert((member.oid, name));
                    let has = |parent: &&&Member<'_>| parent.columns.iter().any(|(of, _)| of == name);
                    late.extend(from.by_ref().filter(has).map(|parent| (parent.oid, *name)));
                }
            }
        }
        if late.len() == before {
            break;
        }
    }
    if late.is_empty() {
        return None;
    }
    let added = order(members, &late)?;
    comes_back(members, &by_oid, joining, &late, &added).then(|| Family {
        members: members.iter().map(|member| member.oid).collect(),
        joining: joining.clone(),
        added: added.iter().map(|(oid, name)| (*oid, (*name).to_owned())).collect(),
        late: late.iter().map(|(oid, name)| (*oid, (*name).to_owned())).collect(),
    })
}

/// The columns that a new child has: those of its parents in their order, then its own.
fn made<'a>(
    member: &Member<'a>,
    by_oid: &HashMap<u32, &Member<'a>>,
    joining: &HashSet<u32>,
    late: &HashSet<Place<'_>>,
) -> Vec<&'a str> {
    let mut columns = Vec::new();
    let parents = member.parents.iter().filter(|_| !joining.contains(&member.oid));
    let parents = parents.filter_map(|oid| by_oid.get(oid));
    let of = |member: &Member<'a>| {
        let oid = member.oid;
        let early = member.columns.iter().filter(|(name, _)| !late.contains(&(oid, *name)));
        early.map(|(name, _)| *name).collect::<Vec<_>>()
    };
    let own =
        member.columns.iter().map(|(name, _)| *name).filter(|name| !late.contains(&(member.oid, *name)));
    for name in parents.flat_map(|parent| of(parent)).chain(own) {
        if !columns.contains(&name) {
            columns.push(name);
        }
    }
    columns
}

/// From where on the columns are not those of a new child.
fn first_late(member: &Member<'_>, by_oid: &HashMap<u32, &Member<'_>>, late: &HashSet<Place<'_>>) -> usize {
    let is_late = |name: &str| late.contains(&(member.oid, name));
    let first = member.columns.iter().position(|(name, _)| is_late(name)).unwrap_or(member.columns.len());
    if first < member.columns.len() {
        return first;
    }
    // An inherited column behind one that is the table's own alone came later.
    let inherits = |name: &str| inherits(member, by_oid, name);
    let own = member.columns.iter().position(|(name, _)| !inherits(name)).unwrap_or(member.columns.len());
    let behind = member.columns.iter().skip(own).position(|(name, _)| inherits(name));
    behind.map_or(member.columns.len(), |behind| own + behind)
}

/// Whether a parent has a column of that name.
fn inherits(member: &Member<'_>, by_oid: &HashMap<u32, &Member<'_>>, name: &str) -> bool {
    let mut parents = member.parents.iter().filter_map(|oid| by_oid.get(oid));
    parents.any(|parent| parent.columns.iter().any(|(of, _)| *of == name))
}

/// An order of adding in which each table gets its late columns one behind the other; none if there is none.
fn order<'a>(members: &[&Member<'a>], late: &HashSet<Place<'_>>) -> Option<Vec<Place<'a>>> {
    let mut left: Vec<Vec<&str>> = members
        .iter()
        .map(|member| {
            let names = member.columns.iter().map(|(name, _)| *name);
            names.filter(|name| late.contains(&(member.oid, *name))).rev().collect()
        })
        .collect();
    let mut added = Vec::new();
    while left.iter().any(|names| !names.is_empty()) {
        // A column whose turn it is in every table that inherits it from the one that it is added to.
        let place = (0..members.len()).find(|place| {
            let Some(name) = left[*place].last() else { return false };
            let is_own = members[*place].columns.iter().any(|(of, own)| of == name && *own);
            is_own && heirs(members, *place, name).iter().all(|heir| left[*heir].last() == Some(name))
        })?;
        let name = *left[place].last()?;
        for heir in heirs(members, place, name) {
            left[heir].pop();
        }
        added.push((members[place].oid, name));
    }
    Some(added)
}

/// A table and those that get a column when it does.
fn heirs(members: &[&Member<'_>], of: usize, name: &str) -> Vec<usize> {
    let mut heirs = vec![of];
    for (place, member) in members.iter().enumerate() {
        let has = member.columns.iter().any(|(column, own)| *column == name && !own);
        let from = |heir: &usize| members.get(*heir).is_some_and(|heir| member.parents.contains(&heir.oid));
        if has && heirs.iter().any(from) && !heirs.contains(&place) {
            heirs.push(place);
        }
    }
    heirs
}

/// Whether making the members and adding the columns gives each table its columns in its order.
fn comes_back(
    members: &[&Member<'_>],
    by_oid: &HashMap<u32, &Member<'_>>,
    joining: &HashSet<u32>,
    late: &HashSet<Place<'_>>,
    added: &[Place<'_>],
) -> bool {
    let mut columns: Vec<Vec<&str>> =
        members.iter().map(|member| made(member, by_oid, joining, late)).collect();
    for (oid, name) in added {
        let Some(place) = members.iter().position(|member| member.oid == *oid) else { return false };
        for heir in heirs(members, place, name) {
            columns[heir].push(name);
        }
    }
    members
        .iter()
        .zip(&columns)
        .all(|(member, columns)| member.columns.iter().map(|(name, _)| name).eq(columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member<'a>(oid: u32, parents: &'a [u32], columns: &[(&'a str, bool)]) -> Member<'a> {
        Member { oid, parents, columns: columns.to_vec(), may_join: true }
    }

    #[test]
    fn columns_that_a_parent_got_later_are_added_when_its_children_are_made() {
        let members = [
            member(1, &[], &[("a", true), ("e", true), ("f", true)]),
            member(2, &[1], &[("a", false), ("b", true), ("e", false), ("c", true), ("f", false)]),
            member(
                3,
                &[2],
                &[("a", false), ("b", false), ("d", true), ("e", false), ("c", false), ("f", false)],
            ),
            member(9, &[], &[("a", true)]),
        ];
        let families = families(&members);
        assert_eq!(families.len(), 1);
        assert_eq!(families[0].members, [1, 2, 3]);
        let added = [(1, "e"), (2, "c"), (1, "f")].map(|(oid, name)| (oid, name.to_owned()));
        assert_eq!(families[0].added, added);
    }

    #[test]
    fn families_in_order_and_those_that_cannot_come_back_are_left_as_they_are() {
        let in_order = [member(1, &[], &[("a", true)]), member(2, &[1], &[("a", false), ("b", true)])];
        assert!(families(&in_order).is_empty());
        let swapped =
            [member(1, &[], &[("a", true), ("b", true)]), member(2, &[1], &[("b", true), ("a", true)])];
        assert!(families(&swapped).is_empty());
        // Made alone, joined, and given more since, of which the parent got some, too.
        let all = [("a", true), ("b", false), ("c", true)];
        let merged = [member(1, &[], &[("a", true), ("b", true), ("c", true)]), member(2, &[1], &all)];
        assert!(families(&merged).is_empty());
    }

    #[test]
    fn a_child_that_was_made_alone_is_made_so_again_before_its_parent_gets_more() {
        let parent = member(1, &[], &[("a", true), ("b", true), ("late", true)]);
        let child = [("b", true), ("own", true), ("a", true), ("late", false)];
        let grandchild = [("b", false), ("own", false), ("a", false), ("x", true), ("late", false)];
        let mut members = [parent, member(2, &[1], &child), member(3, &[2], &grandchild)];
        let found = families(&members);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].joining, HashSet::from([2]));
        assert_eq!(found[0].added, [(1, "late".to_owned())]);
        members[1].may_join = false;
        assert!(families(&members).is_empty());
    }
}
