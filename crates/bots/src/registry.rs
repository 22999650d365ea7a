//! The configured bots.

use std::collections::BTreeMap;

use wicara_metrics::Metrics;
use wicara_platform::Random;

use crate::{ConfiguredBot, Settings};

/// All configured bots by id.
pub struct Registry {
    bots: BTreeMap<String, ConfiguredBot>,
    default_id: String,
}

impl Registry {
    /// Builds every bot. The error is a sentence for the operator that names the bot.
    ///
    /// `guide_base`: the URL or path below which the built-in guide is served; the links of its answers begin with it.
    pub fn new(
        settings: Vec<Settings>,
        guide_base: &str,
        random: &Random,
        metrics: &Metrics,
    ) -> Result<Self, String> {
        let default_id = check(&settings)?.to_owned();
        let mut bots = BTreeMap::new();
        for settings in settings {
            let bot = ConfiguredBot::new(&settings, guide_base, random, metrics)
                .map_err(|error| format!("the bot {:?}: {error}", settings.id))?;
            bots.insert(settings.id, bot);
        }
        Ok(Self { bots, default_id })
    }

    #[must_use]
    pub fn get(&self, id: &str) -> Option<&ConfiguredBot> {
        self.bots.get(id)
    }

    /// All of them, sorted by id.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ConfiguredBot)> {
        self.bots.iter().map(|(id, bot)| (id.as_str(), bot))
    }

    #[must_use]
    pub fn default_id(&self) -> &str {
        &self.default_id
    }
}

/// Checks that ids are unique and exactly one bot is the default, and returns the default's id. The error is a sentence for
/// the operator.
pub fn check(settings: &[Settings]) -> Result<&str, String> {
    for (index, bot) in settings.iter().enumerate() {
        if settings[..index].iter().any(|other| other.id == bot.id) {
            return Err(format!("two bots have the id {:?}; each needs its own", bot.id));
        }
    }
    let defaults: Vec<&str> = settings.iter().filter(|bot| bot.default).map(|bot| bot.id.as_str()).collect();
    match defaults.as_slice() {
        [id] => Ok(id),
        [] if settings.is_empty() => Err("there is no bot; add a [[bot]] with default = true".to_owned()),
        [] => Err(format!(
            "no bot is the default; set default = true on exactly one of {}",
            settings.iter().map(|bot| bot.id.as_str()).collect::<Vec<_>>().join(", ")
        )),
        several => Err(format!(
            "exactly one bot is the default, but default = true stands on {}",
            several.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(id: &str, more: &str) -> Settings {
        let text = format!("id = '{id}'\nkind = 'http'\nurl = 'http://localhost'\n{more}");
        Settings::from_table(text.parse().unwrap()).unwrap()
    }

    #[test]
    fn exactly_one_bot_is_the_default_and_ids_are_unique() {
        let registry = Registry::new(
            vec![settings("a", "public = true"), settings("b", "default = true"), settings("c", "")],
            "",
            &Random::System,
            &Metrics::default(),
        )
        .unwrap();
        assert_eq!(registry.default_id(), "b");
        let open = ["a", "b", "c"].map(|id| registry.get(id).unwrap().is_open_to_visitors());
        assert_eq!(open, [true, true, false]);
        assert!(registry.get("d").is_none());

        for (bots, expected) in [
            (vec![], "there is no bot"),
            (vec![settings("a", "")], "no bot is the default; set default = true on exactly one of a"),
            (
                vec![settings("a", "default = true"), settings("b", "default = true")],
                "exactly one bot is the default, but default = true stands on a, b",
            ),
            (vec![settings("a", "default = true"), settings("a", "")], "two bots have the id \"a\""),
        ] {
            let error = Registry::new(bots, "", &Random::System, &Metrics::default()).err().unwrap();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
