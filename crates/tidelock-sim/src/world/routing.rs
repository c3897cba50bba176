//! Where items go, and as what: the pipeline of a world, and what it must lead to, told without the help of the code that is tried.

use super::history::{TABLE, id};
use serde_json::{Value, json};
use tidelock_core::letter::timestamp;

/// Where a document is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Location {
    pub(crate) index: String,
    pub(crate) id: String,
}

/// What a change does at a location.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Effect {
    pub(crate) location: Location,
    /// What is there after it; `None`: nothing.
    pub(crate) document: Option<Value>,
    /// The document is one that is deleted and says so.
    pub(crate) soft: bool,
}

/// On what it depends which index an item goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// On nothing.
    Nothing,
    /// On whether it is hidden.
    Hidden,
    /// On its home, and on whether it is hidden.
    Home,
}

/// What ids are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    /// The source's key, as it is.
    Key,
    /// The key, with a text before it.
    Prefixed,
    /// A field that changes, and the key.
    Owner,
}

/// What becomes of deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deletes {
    Hard,
    Soft,
    Ignore,
}

/// How a route writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manner {
    pub(crate) id: Id,
    pub(crate) deletes: Deletes,
    /// The field [`NOTE`] belongs to the target's users.
    pub(crate) merges: bool,
}

/// A further route that gets the same changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Also {
    pub(crate) manner: Manner,
    /// It has a `where` of its own.
    pub(crate) visible_only: bool,
    /// All routes lead to it, not the first alone.
    pub(crate) of_all: bool,
    /// Its index is made of the home, where there are homes.
    pub(crate) by_home: bool,
}

/// Where items go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Routing {
    pub(crate) by: By,
    pub(crate) own: Manner,
    pub(crate) also: Option<Also>,
    /// Records carry old images.
    pub(crate) old_images: bool,
}

pub(crate) const HOMES: [&str; 3] = ["a", "b", "c"];

/// One of them has to be escaped in an id of several parts.
pub(crate) const OWNERS: [&str; 3] = ["x", "y", r"z|\z"];

/// The index of the further route, and how its indices begin.
pub(crate) const AUDIT: &str = "audit";

/// What belongs to the target's users where routes merge.
pub(crate) const NOTE: &str = "note";

/// The fields of a soft delete.
pub(crate) const FLAG: &str = "_deleted";
pub(crate) const FLAGGED_AT: &str = "_deleted_at";

impl Manner {
    /// As the source has it.
    pub(crate) const PLAIN: Self = Self { id: Id::Key, deletes: Deletes::Hard, merges: false };

    fn text(self) -> String {
        let mut text = match self.id {
            Id::Key => String::new(),
            Id::Prefixed => "id: 'order-{id}', ".to_owned(),
            Id::Owner => "id: '{owner}|{id}', ".to_owned(),
        };
        text += match self.deletes {
            Deletes::Hard => "",
            Deletes::Soft => "deletes: soft, soft: {flag: _deleted, at: _deleted_at}, ",
            Deletes::Ignore => "deletes: ignore, ",
        };
        if self.merges {
            text += "write: merge, preserve: [note], ";
        }
        text
    }

    fn id(self, item: &Value) -> String {
        let key = item["id"].as_str().unwrap_or_default();
        match self.id {
            Id::Key => key.to_owned(),
            Id::Prefixed => format!("order-{key}"),
            Id::Owner => {
                let owner = item["owner"].as_str().unwrap_or_default();
                format!("{}|{key}", owner.replace('\\', r"\\").replace('|', r"\|"))
            }
        }
    }
}

impl Routing {
    /// One that depends on `by` alone.
    #[cfg(test)]
    pub(crate) fn plain(by: By) -> Self {
        Self { by, own: Manner::PLAIN, also: None, old_images: by == By::Home }
    }

    /// A routing; every second one is plain.
    pub(crate) fn draw(rng: &mut fastrand::Rng, source: bool) -> Self {
        let by = *rng.choice(&[By::Nothing, By::Home, By::Hidden]).unwrap_or(&By::Nothing);
        let mut routing = Self { by, own: Manner::PLAIN, also: None, old_images: by == By::Home };
        if rng.bool() {
            return routing;
        }
        let manner = |rng: &mut fastrand::Rng| Manner {
            id: *rng.choice(&[Id::Key, Id::Prefixed, Id::Owner, Id::Owner]).unwrap_or(&Id::Key),
            deletes: match rng.u32(..7) {
                0..3 => Deletes::Hard,
                3..5 => Deletes::Soft,
                _ => Deletes::Ignore,
            },
            merges: rng.u32(..3) == 0,
        };
        routing.own = manner(rng);
        let also = Also {
            manner: manner(rng),
            visible_only: rng.bool(),
            of_all: rng.bool(),
            by_home: by == By::Home && rng.bool(),
        };
        routing.also = rng.bool().then_some(also);
        // The flag may be put on what is stored, where it is plain what that is.
        let blind = source && by == By::Nothing && routing.also.is_none() && rng.u32(..3) == 0;
        let takes = |wanted: &dyn Fn(&Manner) -> bool| routing.manners().any(|manner| wanted(&manner));
        routing.old_images |= takes(&|manner| manner.id == Id::Owner)
            || (takes(&|manner| manner.deletes == Deletes::Soft) && !blind)
            || rng.u32(..4) == 0;
        routing
    }

    fn manners(&self) -> impl Iterator<Item = Manner> {
        std::iter::once(self.own).chain(self.also.map(|also| also.manner))
    }

    /// How the route writes that leads to a location.
    pub(crate) fn manner_at(&self, location: &Location) -> Manner {
        self.also.filter(|_| location.index.starts_with(AUDIT)).map_or(self.own, |also| also.manner)
    }

    /// Whether items have this field.
    pub(crate) fn has(&self, field: &str) -> bool {
        match field {
            "home" => self.by == By::Home,
            "hidden" => self.by != By::Nothing || self.also.is_some_and(|also| also.visible_only),
            _ => self.manners().any(|manner| manner.id == Id::Owner),
        }
    }

    /// Whether some field belongs to the target's users.
    pub(crate) fn merges(&self) -> bool {
        self.manners().any(|manner| manner.merges)
    }

    /// The pipeline that says so. `on_outage` is what its routes do while the target cannot be reached, `on_conflict` what when it refuses a
    /// document for one of its fields.
    pub(crate) fn pipeline(&self, on_outage: [&str; 2], on_conflict: &str) -> String {
        let [first, second] = on_outage.map(|policy| format!("on_outage: {policy}, on_conflict: {on_conflict}"));
        let own = self.own.text();
        let further = |leads: bool| if leads && self.also.is_some() { ", also: [audit]" } else { "" };
        let (always, not_first) = (further(true), further(self.also.is_some_and(|also| also.of_all)));
        let mut routes = match self.by {
            By::Nothing => vec![format!("{{from: orders, to: orders, {own}{first}{always}}}")],
            By::Hidden => vec![
                format!("{{from: orders, where: .hidden | not, to: orders, {own}{first}{always}}}"),
                format!("{{from: orders, where: .text, to: hidden, {own}{second}{not_first}}}"),
            ],
            By::Home => {
                vec![format!("{{from: orders, where: .hidden | not, to: 'orders-{{home}}', {own}{first}{always}}}")]
            }
        };
        if let Some(also) = self.also {
            let to = if also.by_home { "'audit-{home}'" } else { AUDIT };
            let condition = if also.visible_only { "where: .hidden | not, " } else { "" };
            routes.push(format!("{{name: audit, {condition}to: {to}, {}{second}}}", also.manner.text()));
        }
        format!("version: 1\nroutes: [{}]", routes.join(", "))
    }

    /// Every index that routes lead to.
    pub(crate) fn indices(&self) -> Vec<String> {
        (0..self.branches()).flat_map(|branch| self.indices_of(branch)).collect()
    }

    fn branches(&self) -> usize {
        1 + usize::from(self.also.is_some())
    }

    fn indices_of(&self, branch: usize) -> Vec<String> {
        let of_homes = |name: &str| HOMES.iter().map(|home| format!("{name}-{home}")).collect();
        match (branch, self.by, self.also) {
            (0, By::Nothing, _) => vec![TABLE.to_owned()],
            (0, By::Hidden, _) => vec![TABLE.to_owned(), "hidden".to_owned()],
            (0, By::Home, _) => of_homes(TABLE),
            (_, _, Some(also)) if also.by_home => of_homes(AUDIT),
            (_, _, also) => also.iter().map(|_| AUDIT.to_owned()).collect(),
        }
    }

    /// Every location of an item.
    pub(crate) fn locations(&self, item: &Value) -> Vec<Location> {
        (0..self.branches()).filter_map(|branch| self.location(branch, item)).collect()
    }

    fn location(&self, branch: usize, item: &Value) -> Option<Location> {
        let hidden = item["hidden"] == json!(true);
        let at_home = |name: &str| format!("{name}-{}", item["home"].as_str().unwrap_or_default());
        if branch == 0 {
            let index = match self.by {
                By::Nothing => TABLE.to_owned(),
                By::Hidden => if hidden { "hidden" } else { TABLE }.to_owned(),
                By::Home if hidden => return None,
                By::Home => at_home(TABLE),
            };
            return Some(Location { index, id: self.own.id(item) });
        }
        let also = self.also?;
        let leads = match self.by {
            By::Nothing => true,
            By::Hidden => !hidden || also.of_all,
            By::Home => !hidden,
        };
        if !leads || (also.visible_only && hidden) {
            return None;
        }
        let index = if also.by_home { at_home(AUDIT) } else { AUDIT.to_owned() };
        Some(Location { index, id: also.manner.id(item) })
    }

    /// What a change does, by location. `before` and `item` are what the item was and is, `at` is the change's time, seconds since 1970.
    pub(crate) fn effects(
        &self,
        name: &str,
        key: usize,
        before: Option<&Value>,
        item: Option<&Value>,
        at: i64,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        for branch in 0..self.branches() {
            let manner = if branch == 0 { Some(self.own) } else { self.also.map(|also| also.manner) };
            let Some(manner) = manner else { continue };
            let was = before.and_then(|before| self.location(branch, before));
            let is = item.and_then(|item| self.location(branch, item));
            match (item, manner.deletes) {
                (None, Deletes::Ignore) => continue,
                (None, Deletes::Soft) => {
                    let document = before.map(|before| flagged(before, at));
                    effects.extend(was.map(|location| Effect { location, document, soft: true }));
                    continue;
                }
                _ => {}
            }
            let left: Vec<Location> = match (self.old_images, name) {
                (true, _) => was.into_iter().collect(),
                (false, "INSERT") => Vec::new(),
                // Nobody knows where it was, but it was at one of these.
                (false, _) => {
                    let id = manner.id(&json!({"id": id(key)}));
                    self.indices_of(branch).into_iter().map(|index| Location { index, id: id.clone() }).collect()
                }
            };
            let left = left.into_iter().filter(|left| Some(left) != is.as_ref()).collect::<Vec<_>>();
            effects.extend(is.map(|location| Effect { location, document: item.cloned(), soft: false }));
            effects.extend(left.into_iter().map(|location| Effect { location, document: None, soft: false }));
        }
        effects
    }
}

/// A document that says that it is deleted.
fn flagged(item: &Value, at: i64) -> Value {
    let mut item = item.clone();
    item[FLAG] = json!(true);
    item[FLAGGED_AT] = json!(timestamp(at * 1000));
    item
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidelock_core::pipeline::Pipeline;

    #[test]
    fn pipelines_are_valid_and_of_every_kind() {
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..300 {
            let routing = Routing::draw(&mut fastrand::Rng::with_seed(seed), seed % 2 == 0);
            let text = routing.pipeline(["retry", "hold"], "park");
            let problems = Pipeline::parse(&text).err();
            assert!(problems.is_none(), "{text}: {problems:?}");
            for manner in routing.manners() {
                kinds.insert(format!("{:?} {:?} {}", manner.id, manner.deletes, manner.merges));
            }
        }
        assert_eq!(kinds.len(), 18, "{kinds:?}");
    }

    #[test]
    fn what_a_change_does() {
        let owned = Manner { id: Id::Owner, deletes: Deletes::Soft, merges: false };
        let also = Also { manner: Manner::PLAIN, visible_only: true, of_all: false, by_home: false };
        let routing = Routing { by: By::Home, own: owned, also: Some(also), old_images: true };
        let item =
            |home: &str, owner: &str, hidden: bool| json!({"id": "k7", "home": home, "owner": owner, "hidden": hidden});
        let told = |name: &str, before: Option<&Value>, item: Option<&Value>| -> Vec<String> {
            let effects = routing.effects(name, 7, before, item, 0);
            let told = |effect: &Effect| {
                let what = match &effect.document {
                    None => "-",
                    Some(_) if effect.soft => "soft",
                    Some(_) => "item",
                };
                format!("{}/{} {what}", effect.location.index, effect.location.id)
            };
            effects.iter().map(told).collect()
        };
        let (a, moved, hidden) = (item("a", "x", false), item("b", r"z|\z", false), item("a", "x", true));
        assert_eq!(told("INSERT", None, Some(&a)), ["orders-a/x|k7 item", "audit/k7 item"]);
        assert_eq!(
            told("MODIFY", Some(&a), Some(&moved)),
            [r"orders-b/z\|\\z|k7 item", "orders-a/x|k7 -", "audit/k7 item"]
        );
        assert_eq!(told("MODIFY", Some(&a), Some(&hidden)), ["orders-a/x|k7 -", "audit/k7 -"]);
        assert_eq!(told("REMOVE", Some(&a), None), ["orders-a/x|k7 soft", "audit/k7 -"]);
        assert_eq!(told("REMOVE", Some(&hidden), None), [""; 0]);
    }
}
