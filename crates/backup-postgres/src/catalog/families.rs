//! Tables whose parents got columns after they were made: they have these behind their own. They come back in that order only if they are
//! made the same way: without the late columns at first, and those that became children later alone.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

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

/// Tables that are made together.
#[derive(Debug, Default)]
pub(super) struct Family {
    /// Parents before their children.
    pub(super) members: Vec<u32>,
    /// Those that become children when all are made.
    pub(super) joining: HashSet<u32>,
    /// The columns that are added when all members are made, each to the tables that have it of their own.
    pub(super) added: Vec<(u32, String)>,
    /// All columns that are not there when their table is made.
    pub(super) late: HashSet<(u32, String)>,
}

/// All families, and which of them a table is in.
#[derive(Debug, Default)]
pub(super) struct Families {
    pub(super) all: Vec<Family>,
    places: HashMap<u32, usize>,
}

impl Families {
    pub(super) fn of(&self, table: u32) -> Option<&Family> {
        self.places.get(&table).and_then(|place| self.all.get(*place))
    }
}

/// The families in which somebody has late columns, and which come back in their order. Of `members` parents come before their children.
pub(super) fn families(members: &[Member<'_>]) -> Families {
    let places: HashMap<u32, usize> =
        members.iter().enumerate().map(|(place, member)| (member.oid, place)).collect();
    // Each leads to the first member of its family.
    let mut to: Vec<usize> = (0..members.len()).collect();
    for (place, member) in members.iter().enumerate() {
        for parent in member.parents.iter().filter_map(|oid| places.get(oid)) {
            let (one, other) = (first(&mut to, place), first(&mut to, *parent));
            to[one.max(other)] = one.min(other);
        }
    }
    let mut grouped: BTreeMap<usize, Vec<&Member<'_>>> = BTreeMap::new();
    for (place, member) in members.iter().enumerate() {
        grouped.entry(first(&mut to, place)).or_default().push(member);
    }
    let mut families = Families::default();
    for family in grouped.into_values().filter_map(|members| Kin::new(members).family()) {
        families.places.extend(family.members.iter().map(|oid| (*oid, families.all.len())));
        families.all.push(family);
    }
    families
}

/// Where the way from a place ends, which is made shorter for those that come after.
fn first(to: &mut [usize], mut place: usize) -> usize {
    while to[place] != place {
        to[place] = to[to[place]];
        place = to[place];
    }
    place
}

/// A column of a member: the places of both.
type Place = (usize, usize);

/// Members of one family, by their places, and who is whose.
struct Kin<'a> {
    members: Vec<&'a Member<'a>>,
    parents: Vec<Vec<usize>>,
    children: Vec<Vec<usize>>,
    /// Of each member, where its columns are.
    columns: Vec<HashMap<&'a str, usize>>,
}

impl<'a> Kin<'a> {
    fn new(members: Vec<&'a Member<'a>>) -> Self {
        let places: HashMap<u32, usize> =
            members.iter().enumerate().map(|(place, member)| (member.oid, place)).collect();
        let parents: Vec<Vec<usize>> = (members.iter())
            .map(|member| member.parents.iter().filter_map(|oid| places.get(oid).copied()).collect())
            .collect();
        let mut children = vec![Vec::new(); members.len()];
        for (child, parents) in parents.iter().enumerate() {
            for parent in parents {
                children[*parent].push(child);
            }
        }
        let columns = (members.iter())
            .map(|member| member.columns.iter().enumerate().map(|(at, (name, _))| (*name, at)).collect())
            .collect();
        Self { members, parents, children, columns }
    }

    /// The columns that a member inherits this one from.
    fn sources(&self, member: usize, name: &str) -> impl Iterator<Item = Place> + Clone {
        let parents = self.parents[member].iter();
        parents.filter_map(move |parent| Some((*parent, *self.columns[*parent].get(name)?)))
    }

    /// The family of these members, if it has late columns and comes back in its order.
    fn family(&self) -> Option<Family> {
        let all: Vec<usize> = self.members.iter().map(|member| member.columns.len()).collect();
        let nobody = HashSet::new();
        // A plain INHERITS does it, or an ALTER of a table that has everything of its own.
        let is_alone =
            |member: &Member<'_>| member.may_join && member.columns.iter().all(|(_, is_own)| *is_own);
        let mut places = 0..self.members.len();
        if places.all(|place| self.is_made_so(place, &nobody, &all) || is_alone(self.members[place])) {
            return None;
        }
        // A column of its own that is its parents' too and stands before what is only inherited was there before they were its parents.
        let joined = |place: &usize| {
            let member = self.members[*place];
            let mut own = member.columns.iter().take_while(|(_, is_own)| *is_own);
            member.may_join && own.any(|(name, _)| self.sources(*place, name).next().is_some())
        };
        let joining = (0..self.members.len()).filter(joined).collect();
        (self.made_with(&nobody, false))
            .or_else(|| self.made_with(&joining, true))
            .or_else(|| self.made_with(&nobody, true))
    }

    /// The same, where some become children when all are made, and where parents may get a column that a child has already.
    fn made_with(&self, joining: &HashSet<usize>, merges: bool) -> Option<Family> {
        let early = self.early(joining, merges)?;
        let mut late = HashSet::new();
        for (member, early) in self.members.iter().zip(&early) {
            let behind = member.columns.iter().skip(*early);
            late.extend(behind.map(|(name, _)| (member.oid, (*name).to_owned())));
        }
        if late.is_empty() || !(0..early.len()).all(|place| self.is_made_so(place, joining, &early)) {
            return None;
        }
        let added = self.order(early)?;
        let named = |(place, at): &Place| {
            let member = self.members[*place];
            (member.oid, member.columns[*at].0.to_owned())
        };
        Some(Family {
            members: self.members.iter().map(|member| member.oid).collect(),
            joining: joining.iter().map(|place| self.members[*place].oid).collect(),
            added: added.iter().map(named).collect(),
            late,
        })
    }

    /// With how many of its columns each member is made; all others are late.
    fn early(&self, joining: &HashSet<usize>, merges: bool) -> Option<Vec<usize>> {
        let mut early: Vec<usize> = (self.members.iter().enumerate())
            .map(|(place, member)| match joining.contains(&place) {
                true => member.columns.iter().take_while(|(_, is_own)| *is_own).count(),
                false => member.columns.len(),
            })
            .collect();
        loop {
            let before = early.clone();
            for (place, member) in self.members.iter().enumerate() {
                let mut behind_own = false;
                for (at, (name, is_own)) in member.columns.iter().enumerate() {
                    let sources = self.sources(place, name);
                    let is_inherited = sources.clone().next().is_some();
                    let comes_with_it = sources.clone().any(|(parent, at)| at < early[parent]);
                    // One that comes with the table, but behind those that are its own alone, came later: to it, or to its parents.
                    let is_behind = comes_with_it && behind_own && !joining.contains(&place);
                    if is_behind && *is_own && !merges {
                        return None;
                    }
                    if !is_own && (is_behind || is_inherited && !comes_with_it) {
                        early[place] = early[place].min(at);
                    }
                    if is_behind || at >= early[place] {
                        sources.for_each(|(parent, at)| early[parent] = early[parent].min(at));
                    }
                    behind_own |= !comes_with_it;
                }
            }
            if early == before {
                return Some(early);
            }
        }
    }

    /// Whether making a member gives it its early columns in their order: those of its parents in theirs, then its own.
    fn is_made_so(&self, place: usize, joining: &HashSet<usize>, early: &[usize]) -> bool {
        let names =
            |place: usize| self.members[place].columns.iter().take(early[place]).map(|(name, _)| *name);
        let mut of_parents = self.parents[place].iter().flat_map(|parent| names(*parent));
        if joining.contains(&place) {
            // It has to have what its parents have.
            return of_parents.all(|name| self.columns[place].get(name).is_some_and(|at| *at < early[place]));
        }
        let mut seen = HashSet::new();
        of_parents.chain(names(place)).filter(|name| seen.insert(*name)).eq(names(place))
    }

    /// An order of adding late columns in which each table gets them one behind the other; none if there is none. Each is added where it is a
    /// table's own, and comes to those that inherit it; where one of these has it of its own already, it stays that.
    fn order(&self, mut has: Vec<usize>) -> Option<Vec<Place>> {
        let mut heirs: HashMap<Place, Vec<Place>> = HashMap::new();
        // How many tables an addition waits for, and which additions wait until a table has so many columns.
        let mut waits: HashMap<Place, usize> = HashMap::new();
        let mut waiting: HashMap<Place, Vec<Place>> = HashMap::new();
        let mut ready = BTreeSet::new();
        for (place, member) in self.members.iter().enumerate() {
            for (at, (name, is_own)) in member.columns.iter().enumerate().skip(has[place]) {
                if !is_own {
                    continue;
                }
                let (of, kept) = self.heirs((place, at), name, &has)?;
                let until = of.iter().copied().chain(kept.iter().map(|(child, at)| (*child, at + 1)));
                let until: Vec<Place> = until.filter(|(place, count)| has[*place] < *count).collect();
                if until.is_empty() {
                    ready.insert((place, at));
                }
                waits.insert((place, at), until.len());
                until.into_iter().for_each(|count| waiting.entry(count).or_default().push((place, at)));
                heirs.insert((place, at), of);
            }
        }
        let mut added = Vec::new();
        while let Some(addition) = ready.pop_first() {
            added.push(addition);
            for (heir, at) in heirs.remove(&addition).into_iter().flatten() {
                // From another parent it may have it since.
                if has[heir] != at {
                    continue;
                }
                has[heir] += 1;
                for waiter in waiting.remove(&(heir, has[heir])).into_iter().flatten() {
                    let count = waits.get_mut(&waiter)?;
                    *count -= 1;
                    if *count == 0 {
                        ready.insert(waiter);
                    }
                }
            }
        }
        let is_whole = self.members.iter().zip(&has).all(|(member, has)| member.columns.len() == *has);
        is_whole.then_some(added)
    }

    /// The tables that get a column when it is added, the one that it is added to among them; and those that have it before.
    fn heirs(&self, of: Place, name: &str, early: &[usize]) -> Option<(Vec<Place>, Vec<Place>)> {
        let (mut heirs, mut kept) = (Vec::new(), Vec::new());
        let (mut seen, mut ahead) = (HashSet::from([of.0]), vec![of]);
        while let Some((place, at)) = ahead.pop() {
            heirs.push((place, at));
            for child in self.children[place].iter().filter(|child| seen.insert(**child)) {
                let at = *self.columns[*child].get(name)?;
                let is_own = self.members[*child].columns[at].1;
                if is_own || at < early[*child] { kept.push((*child, at)) } else { ahead.push((*child, at)) }
            }
        }
        Some((heirs, kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member<'a>(oid: u32, parents: &'a [u32], columns: &[(&'a str, bool)]) -> Member<'a> {
        Member { oid, parents, columns: columns.to_vec(), may_join: true }
    }

    /// What the first family adds.
    fn added(families: &Families) -> Vec<(u32, &str)> {
        families.all[0].added.iter().map(|(oid, name)| (*oid, name.as_str())).collect()
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
        assert_eq!(families.all.len(), 1);
        assert_eq!(families.all[0].members, [1, 2, 3]);
        assert_eq!(added(&families), [(1, "e"), (2, "c"), (1, "f")]);
        assert!(families.of(3).is_some() && families.of(9).is_none());
    }

    #[test]
    fn families_in_order_and_those_that_cannot_come_back_are_left_as_they_are() {
        let in_order = [member(1, &[], &[("a", true)]), member(2, &[1], &[("a", false), ("b", true)])];
        assert!(families(&in_order).all.is_empty());
        let swapped =
            [member(1, &[], &[("a", true), ("b", true)]), member(2, &[1], &[("b", true), ("a", true)])];
        assert!(families(&swapped).all.is_empty());
        let merged = [
            member(1, &[], &[("a", true), ("b", true), ("c", true)]),
            member(2, &[1], &[("a", true), ("b", false), ("c", true)]),
        ];
        assert!(families(&merged).all.is_empty());
        let alone = [member(1, &[], &[("a", true)]), member(2, &[1], &[("b", true), ("a", true)])];
        assert!(families(&alone).all.is_empty());
        let lost =
            [member(1, &[], &[("a", true), ("b", true)]), member(2, &[1], &[("b", false), ("a", false)])];
        assert!(families(&lost).all.is_empty());
    }

    #[test]
    fn a_column_that_a_child_had_before_its_parent_stays_where_it_is() {
        // Its own columns are a and b of the parent's, which got them later: one before another that came to both, one behind it.
        let parent = [("x", true), ("a", true), ("late", true), ("b", true)];
        let child = [("x", false), ("own", true), ("a", true), ("late", false), ("b", true)];
        let grandchild = [("x", false), ("own", false), ("a", false), ("late", false), ("b", false)];
        let merged = [member(1, &[], &parent), member(2, &[1], &child), member(3, &[2], &grandchild)];
        let found = families(&merged);
        assert_eq!(added(&found), [(1, "a"), (1, "late"), (2, "b"), (1, "b")]);
        assert_eq!(found.all[0].joining, HashSet::new());
        let late = [(1, "a"), (1, "late"), (1, "b"), (2, "late"), (2, "b"), (3, "late"), (3, "b")];
        assert_eq!(found.all[0].late, late.map(|(oid, name)| (oid, name.to_owned())).into());
        // The same behind one that its parent has had always.
        let columns = [("a", true), ("own", true), ("b", false), ("c", true)];
        let merged = [member(1, &[], &[("a", true), ("b", true), ("c", true)]), member(2, &[1], &columns)];
        assert_eq!(added(&families(&merged)), [(1, "b"), (2, "c"), (1, "c")]);
        // Two parents that have it: the child has it from whichever was first.
        let both = [
            member(1, &[], &[("a", true), ("b", true)]),
            member(2, &[], &[("b", true)]),
            member(3, &[1, 2], &[("a", false), ("own", true), ("b", false)]),
        ];
        assert_eq!(added(&families(&both)), [(1, "b"), (2, "b")]);
    }

    #[test]
    fn a_parent_of_thousands_takes_no_time() {
        const CHILDREN: u32 = 20_000;
        let columns = [("a", false), ("own", true), ("late", false), ("more", true), ("later", false)];
        let mut members = vec![member(0, &[], &[("a", true), ("late", true), ("later", true)])];
        members.extend((1..=CHILDREN).map(|oid| member(oid, &[0], &columns)));
        let began = std::time::Instant::now();
        let families = families(&members);
        assert_eq!(families.all[0].added.len(), CHILDREN as usize + 2);
        // Quadratic it took minutes.
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    }

    #[test]
    fn a_child_that_was_made_alone_is_made_so_again_before_its_parent_gets_more() {
        let parent = member(1, &[], &[("a", true), ("b", true), ("late", true)]);
        let child = [("b", true), ("own", true), ("a", true), ("late", false)];
        let grandchild = [("b", false), ("own", false), ("a", false), ("x", true), ("late", false)];
        let mut members = [parent, member(2, &[1], &child), member(3, &[2], &grandchild)];
        let found = families(&members);
        assert_eq!(found.all.len(), 1);
        assert_eq!(found.all[0].joining, HashSet::from([2]));
        assert_eq!(added(&found), [(1, "late")]);
        // Else as if its parent had got all of its columns later.
        members[1].may_join = false;
        let found = families(&members);
        assert_eq!(found.all[0].joining, HashSet::new());
        assert_eq!(added(&found), [(1, "a"), (1, "b"), (1, "late")]);
    }
}
