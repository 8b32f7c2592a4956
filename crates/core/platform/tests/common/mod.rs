//! A small template set to check platforms against.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use pconf_names::RoleName;
use pconf_platform::{Platform, PlatformFile, Problem, RoleManifest, Schema, Sources, render_text};

pub(crate) fn schema() -> Schema {
    let text = include_str!("../set/platform.schema.json");
    Schema::parse("platform.schema.json", text)
        .unwrap_or_else(|problems| panic!("{}", shown(&problems, "platform.schema.json", text)))
}

pub(crate) fn roles() -> BTreeMap<RoleName, RoleManifest> {
    let texts = [
        ("core", include_str!("../set/core.json")),
        ("reg-master", include_str!("../set/reg-master.json")),
        ("reg-slave", include_str!("../set/reg-slave.json")),
        ("singlenode", include_str!("../set/singlenode.json")),
    ];
    let role = |(name, text): (&str, &str)| {
        let manifest = RoleManifest::parse("role.json", text)
            .unwrap_or_else(|problems| panic!("{}", shown(&problems, "role.json", text)));
        (name.parse().unwrap_or_else(|error| panic!("{error}")), manifest)
    };
    texts.map(role).into()
}

pub(crate) fn check(text: &str) -> Result<Platform, Vec<Problem>> {
    static SET: LazyLock<(Schema, BTreeMap<RoleName, RoleManifest>)> = LazyLock::new(|| (schema(), roles()));
    Platform::check(&PlatformFile::parse("platform.json", text)?, &SET.0, &SET.1)
}

pub(crate) fn shown(problems: &[Problem], file: &str, text: &str) -> String {
    let mut sources = Sources::new();
    sources.insert(file, text);
    render_text(problems, &sources, false)
}
