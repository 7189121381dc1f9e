//! The order of views: behind all that they read.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::objects::View;
use crate::ddl::lex::{Token, tokens};
use crate::ddl::view;

/// What a view may need to be made.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub(super) tables: Vec<String>,
    pub(super) functions: Vec<String>,
}

/// The names in its definition that stand where a table or a function can.
pub(super) fn needs(view: &View, database: &str) -> Needs {
    let all: Vec<_> = tokens(&view.definition).collect();
    let called = all.windows(2).filter(|pair| pair.get(1) == Some(&Token::Other("(")));
    let functions = called.filter_map(|pair| pair.first()?.name()).collect();
    Needs { tables: view::tables(&view.definition, database), functions }
}

/// Views, each behind those that it reads. Where names mislead into a circle it is broken: no views are in one.
pub(super) fn views<'a>(views: &'a [View], database: &str) -> Vec<&'a View> {
    let by_name: HashMap<&str, &View> = views.iter().map(|view| (view.name.as_str(), view)).collect();
    let (mut ordered, mut seen) = (Vec::new(), HashSet::new());
    for view in views {
        // Depth first, on a stack of its own: views can be nested deeply.
        let mut ahead = vec![(view, false)];
        while let Some((view, is_ready)) = ahead.pop() {
            if is_ready {
                ordered.push(view);
                continue;
            }
            if !seen.insert(view.name.as_str()) {
                continue;
            }
            ahead.push((view, true));
            let tables = view::tables(&view.definition, database);
            ahead.extend(tables.iter().rev().filter_map(|name| Some((*by_name.get(name.as_str())?, false))));
        }
    }
    ordered
}

/// Without what was not selected a view that reads it is invalid, and so is one that reads such a view.
pub(super) fn note_bereft(views: &mut [View], database: &str, unselected: &BTreeSet<String>) {
    if unselected.is_empty() {
        return;
    }
    let mut missing = unselected.clone();
    for view in self::views(views, database) {
        let needs = needs(view, database);
        if needs.tables.iter().chain(&needs.functions).any(|name| missing.contains(name)) {
            missing.insert(view.name.clone());
        }
    }
    for view in views {
        view.invalid |= missing.contains(&view.name);
    }
}

/// A view that reads what cannot be updated cannot be, whatever MariaDB remembers of it. What is said of some, as of one of expressions alone,
/// is not what counts for a view of them: so the server has the last word, when the view is made.
pub(super) fn note_fixed(views: &mut [View], database: &str, mut read_only: BTreeSet<String>) {
    if !views.iter().any(|view| view.checked) {
        return;
    }
    let mut fixed = BTreeSet::new();
    for view in self::views(views, database) {
        if needs(view, database).tables.iter().any(|name| read_only.contains(name)) {
            read_only.insert(view.name.clone());
            fixed.insert(view.name.clone());
        }
    }
    for view in views {
        view.fixed = view.checked && fixed.contains(&view.name);
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::Context;
    use super::*;

    fn view(name: &str, reads: &str) -> View {
        let definition = format!("select `x`.`a` AS `a`,`shop`.`f`(1) AS `b` from `shop`.`{reads}` `x`");
        View {
            name: name.into(),
            definition,
            invalid: false,
            checked: false,
            fixed: false,
            context: Context::default(),
        }
    }

    #[test]
    fn views_come_behind_those_they_read() {
        let all = [view("a", "c"), view("b", "a"), view("c", "table"), view("d", "e"), view("e", "d")];
        let ordered: Vec<_> = views(&all, "shop").iter().map(|view| view.name.as_str()).collect();
        assert_eq!(ordered, ["c", "a", "b", "e", "d"]);
        assert_eq!(needs(&all[0], "shop").functions, ["f"]);
        assert_eq!(needs(&all[0], "shop").tables, ["c"]);
    }

    #[test]
    fn a_view_may_be_fixed_by_what_it_reads() {
        let mut all = [view("low", "t"), view("middle", "low"), view("up", "middle"), view("beside", "u")];
        for view in &mut all {
            view.checked = true;
        }
        note_fixed(&mut all, "shop", BTreeSet::from(["low".to_owned()]));
        assert_eq!(all.each_ref().map(|view| view.fixed), [false, true, true, false]);
    }

    #[test]
    fn views_without_what_they_read_are_invalid() {
        let mut all = [view("a", "c"), view("b", "t"), view("c", "gone"), view("d", "a")];
        note_bereft(&mut all, "shop", &BTreeSet::from(["gone".to_owned()]));
        assert_eq!(all.each_ref().map(|view| view.invalid), [true, false, true, true]);
        note_bereft(&mut all, "shop", &BTreeSet::from(["f".to_owned()]));
        assert!(all[1].invalid);
    }
}
