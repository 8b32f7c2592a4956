//! What a compose file says of its services: when one of them has to be made anew, and which come before which.
//!
//! Compose itself makes and replaces containers; it alone knows how. What is needed here is less: whether the definition of
//! a service means something else than before, for compose would find out only when it is asked. So the file is read as
//! YAML, anchors and merges are put in place, and what is left is compared by a digest that no comment, order of keys or
//! way of quoting changes. Where compose knows two ways to say one thing (a list or a map of variables), going from one to
//! the other counts as a change; compose is asked then, and does what it finds right.

use std::collections::{BTreeMap, BTreeSet};

use pconf_names::{Digest, RelativePath};
use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde_json::{Map, Value};

/// What compose does not look at when it decides whether a container is still the right one.
const NOT_OF_THE_CONTAINER: [&str; 4] = ["build", "depends_on", "profiles", "pull_policy"];

/// Where variables of the whole file come from, beside it.
const VARIABLES: &str = ".env";

/// The services of a compose file, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComposeServices(pub BTreeMap<String, ComposeService>);

/// A service of a compose file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComposeService {
    /// What its containers are made of: its own definition, that of the networks, volumes, configs and secrets that it
    /// names, and that of the services that it extends or shares a namespace with. Not the content of `env_files`.
    pub definition: Digest,
    /// The files that its variables come from, `.env` included where the definition uses a variable. Those that lie outside
    /// the root, as far as their paths tell, are left out.
    pub env_files: Vec<RelativePath>,
    /// What it sees of the root, as far as the file tells: folders and files that it mounts, and its `env_files`.
    pub reads: BTreeSet<RelativePath>,
    /// The services that have to be up before it, in order of name.
    pub depends_on: Vec<String>,
    /// The name that it gives its container.
    pub container_name: Option<String>,
}

/// Reads a compose file; `None` where it is none. What it includes from other files is not seen.
#[must_use]
pub fn compose_services(file: &RelativePath, text: &[u8]) -> Option<ComposeServices> {
    let documents = Yaml::load_from_str(std::str::from_utf8(text).ok()?).ok()?;
    let [document] = documents.as_slice() else { return None };
    let Value::Object(top) = in_place(document)? else { return None };
    let services = top.get("services")?.as_object()?;
    let known = services.iter().map(|(name, service)| Some((name.as_str(), service.as_object()?)));
    let project = Project { file, top: &top, services: known.collect::<Option<_>>()? };
    Some(ComposeServices(
        project.services.iter().map(|(name, service)| ((*name).to_owned(), project.describe(name, service))).collect(),
    ))
}

/// A node with aliases and merges put in place and keys in order; `None` where a key or a merge is none of compose's.
fn in_place(node: &Yaml) -> Option<Value> {
    Some(match node {
        Yaml::Value(scalar) => match scalar {
            Scalar::Null => Value::Null,
            Scalar::Boolean(value) => Value::Bool(*value),
            Scalar::Integer(value) => Value::from(*value),
            // Infinity has no other form.
            Scalar::FloatingPoint(value) => Value::from(value.to_string()),
            Scalar::String(text) => Value::from(text.as_ref()),
        },
        Yaml::Sequence(all) => Value::Array(all.iter().map(in_place).collect::<Option<_>>()?),
        Yaml::Mapping(all) => {
            let mut map = BTreeMap::new();
            let mut merged = Vec::new();
            for (key, value) in all {
                match (key_text(key)?, in_place(value)?) {
                    (key, Value::Object(source)) if key == "<<" => merged.push(source),
                    (key, Value::Array(sources)) if key == "<<" => {
                        let sources = sources.into_iter().map(|source| match source {
                            Value::Object(source) => Some(source),
                            _ => None,
                        });
                        merged.extend(sources.collect::<Option<Vec<_>>>()?);
                    }
                    (key, _) if key == "<<" => return None,
                    (key, value) => drop(map.insert(key, value)),
                }
            }
            // What is written here wins over what is merged, and the first source over the later ones.
            for (key, value) in merged.into_iter().flatten() {
                map.entry(key).or_insert(value);
            }
            Value::Object(map.into_iter().collect())
        }
        Yaml::Tagged(tag, value) => {
            Value::Object(Map::from_iter([(format!("{}{}", tag.handle, tag.suffix), in_place(value)?)]))
        }
        Yaml::Representation(..) | Yaml::Alias(_) | Yaml::BadValue => return None,
    })
}

fn key_text(key: &Yaml) -> Option<String> {
    match in_place(key)? {
        Value::String(text) => Some(text),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
        plain => Some(plain.to_string()),
    }
}

/// A compose file as a whole.
struct Project<'a> {
    file: &'a RelativePath,
    top: &'a Map<String, Value>,
    services: BTreeMap<&'a str, &'a Map<String, Value>>,
}

impl Project<'_> {
    fn describe(&self, name: &str, service: &Map<String, Value>) -> ComposeService {
        let mut parts = BTreeMap::new();
        let mut env_files = BTreeSet::new();
        self.gather(name, &mut parts, &mut env_files);
        if parts.values().any(uses_a_variable) {
            env_files.extend(self.beside(VARIABLES));
        }
        let text = Value::Object(parts.into_iter().collect()).to_string();
        let mounted = texts(service.get("volumes"), "source").into_iter().filter_map(|volume| self.mounted(volume));
        ComposeService {
            reads: mounted.chain(env_files.iter().cloned()).collect(),
            definition: Digest::of(text.as_bytes()),
            env_files: env_files.into_iter().collect(),
            depends_on: comes_before(service).into_iter().collect(),
            container_name: service.get("container_name").and_then(Value::as_str).map(str::to_owned),
        }
    }

    /// Collects all that the containers of a service are made of, by its place in the file.
    fn gather(&self, name: &str, parts: &mut BTreeMap<String, Value>, env_files: &mut BTreeSet<RelativePath>) {
        let place = format!("services/{name}");
        let Some(service) = self.services.get(name).filter(|_| !parts.contains_key(&place)) else { return };
        let is_of_the_container =
            |key: &str| !NOT_OF_THE_CONTAINER.contains(&key) && !key.starts_with("x-") && key != "env_file";
        let definition = service.iter().filter(|(key, _)| is_of_the_container(key));
        parts.insert(place, Value::Object(definition.map(|(key, value)| (key.clone(), value.clone())).collect()));
        env_files.extend(env_file_names(service).into_iter().filter_map(|name| self.beside(name)));
        // The order of the files tells which one wins.
        parts.insert(
            format!("services/{name}/env_file"),
            env_file_names(service).into_iter().map(Value::from).collect(),
        );
        for (kind, named) in named_at_the_top(service) {
            if let Some(definition) = self.top.get(kind).and_then(|all| all.get(named)) {
                // `data:` says the same as `data: {}`.
                let definition = if definition.is_null() { Value::Object(Map::new()) } else { definition.clone() };
                parts.insert(format!("{kind}/{named}"), definition);
            }
        }
        for other in self.extended(service).into_iter().chain(shared_with(service)) {
            self.gather(other, parts, env_files);
        }
    }

    /// The service of the same file that a service is built upon.
    fn extended<'s>(&self, service: &'s Map<String, Value>) -> Option<&'s str> {
        let extends = service.get("extends")?;
        let is_here = |extends: &Value| match extends.get("file").and_then(Value::as_str) {
            Some(file) => self.beside(file).as_ref() == Some(self.file),
            None => true,
        };
        extends.as_str().or_else(|| extends.get("service").filter(|_| is_here(extends)).and_then(Value::as_str))
    }

    /// The folder or the file that a volume shows; `None` where it has a name, or lies elsewhere.
    fn mounted(&self, volume: &str) -> Option<RelativePath> {
        let source = volume.split(':').next().filter(|source| source.starts_with('.'))?;
        self.beside(source)
    }

    /// A path that is written in the file, from the root; `None` where it leaves the root or starts elsewhere.
    fn beside(&self, path: &str) -> Option<RelativePath> {
        if path.starts_with(['/', '~']) {
            return None;
        }
        let folder = self.file.parent();
        let mut segments: Vec<&str> = folder.iter().flat_map(RelativePath::segments).collect();
        for segment in path.split('/') {
            match segment {
                "" | "." => {}
                ".." => drop(segments.pop()?),
                segment => segments.push(segment),
            }
        }
        segments.join("/").parse().ok()
    }
}

/// The texts of a value that is a text or a list of them; of a list of maps, the texts at `key`.
fn texts<'a>(value: Option<&'a Value>, key: &str) -> Vec<&'a str> {
    let text = |each: &'a Value| each.as_str().or_else(|| each.get(key).and_then(Value::as_str));
    match value {
        Some(Value::Array(all)) => all.iter().filter_map(text).collect(),
        Some(single) => text(single).into_iter().collect(),
        None => Vec::new(),
    }
}

fn env_file_names(service: &Map<String, Value>) -> Vec<&str> {
    texts(service.get("env_file"), "path")
}

/// The keys of a map, or the texts of a list.
fn members(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::Object(all)) => all.keys().map(String::as_str).collect(),
        list => texts(list, "source"),
    }
}

/// What a service names of the file's other chapters: chapter and name.
fn named_at_the_top(service: &Map<String, Value>) -> Vec<(&'static str, &str)> {
    let mut named: Vec<(&'static str, &str)> = Vec::new();
    match service.get("networks") {
        None if service.contains_key("network_mode") => {}
        None => named.push(("networks", "default")),
        networks => named.extend(members(networks).into_iter().map(|name| ("networks", name))),
    }
    for volume in texts(service.get("volumes"), "source") {
        // `data:/var/lib` names a volume, `./data:/var/lib` and `/srv` a folder; a long form is by its source alone.
        named.push(("volumes", volume.split(':').next().unwrap_or(volume)));
    }
    for kind in ["configs", "secrets"] {
        named.extend(members(service.get(kind)).into_iter().map(|name| (kind, name)));
    }
    named
}

/// The services whose namespaces or volumes a service uses: it goes with their containers.
fn shared_with(service: &Map<String, Value>) -> Vec<&str> {
    let modes = ["network_mode", "ipc", "pid"].into_iter().filter_map(|mode| service.get(mode)?.as_str());
    let namespaces = modes.filter_map(|mode| mode.strip_prefix("service:"));
    let volumes = texts(service.get("volumes_from"), "source");
    let volumes = volumes.into_iter().filter_map(|from| from.split(':').next().filter(|name| *name != "container"));
    namespaces.chain(volumes).collect()
}

fn comes_before(service: &Map<String, Value>) -> BTreeSet<String> {
    let links = texts(service.get("links"), "source").into_iter().filter_map(|link| link.split(':').next());
    members(service.get("depends_on")).into_iter().chain(links).chain(shared_with(service)).map(str::to_owned).collect()
}

/// Whether compose puts a variable in somewhere: a `$` that is not doubled.
fn uses_a_variable(value: &Value) -> bool {
    match value {
        Value::String(text) => text.replace("$$", "").contains('$'),
        Value::Array(all) => all.iter().any(uses_a_variable),
        Value::Object(all) => all.values().any(uses_a_variable),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use super::*;

    fn read(text: &str) -> BTreeMap<String, ComposeService> {
        compose_services(&"docker/pryv.yml".parse().unwrap(), text.as_bytes()).unwrap().0
    }

    /// The services whose definition, variables included, is another one.
    fn changed(before: &str, after: &str) -> Vec<String> {
        let (before, after) = (read(before), read(after));
        assert!(before.keys().eq(after.keys()), "the same services");
        let differs = |name: &&String| before[*name].definition != after[*name].definition;
        before.keys().filter(differs).cloned().collect()
    }

    const PROJECT: &str = r#"
version: "3.5"
x-logging: &logging
  driver: json-file
  options: { max-size: 10m }
x-common: &common
  restart: always
  logging: *logging
services:
  core:
    <<: *common
    image: core:1.9
    environment: { NODE_ENV: production, PORT: 3000 }
    volumes: [ "./core/conf:/app/conf:ro", "data:/app/data" ]
    networks: [ backend ]
    secrets: [ key ]
  redis:
    <<: [ *common ]
    image: "redis:6"
    restart: "no"
  proxy:
    image: nginx
    volumes:
      - type: volume
        source: data
        target: /data
    network_mode: host
networks:
  backend: { driver: bridge }
  default:
volumes:
  data:
secrets:
  key: { file: ./key }
"#;

    #[test]
    fn another_way_to_write_the_same_is_no_change() {
        let rewritten = r#"
# Comments, order, quotes, flow and block, with and without anchors.
services:
  redis: { image: 'redis:6', restart: "no", logging: { options: { "max-size": "10m" }, driver: json-file } }
  proxy:
    network_mode: "host"
    volumes: [ { target: /data, source: data, type: volume } ]
    image: nginx

  core:
    secrets:
    - key
    networks:
    - "backend"
    logging:
      driver: "json-file"
      options:
        max-size: 10m
    volumes:
    - ./core/conf:/app/conf:ro
    - data:/app/data
    environment:
      PORT: 3000
      NODE_ENV: "production"
    image: core:1.9
    restart: always
volumes: { data: {} }
networks: { default: ~, backend: { driver: bridge } }
secrets: { key: { file: ./key } }
version: '3'
"#;
        assert_eq!(changed(PROJECT, rewritten), Vec::<String>::new());
    }

    #[test]
    fn a_change_concerns_exactly_the_services_that_use_it() {
        let cases = [
            ("image: core:1.9", "image: core:1.10", "core"),
            ("PORT: 3000", "PORT: 3001", "core"),
            ("PORT: 3000", "PORT: '3000'", "core"),
            ("PORT: 3000", "PORT:", "core"),
            ("max-size: 10m", "max-size: 20m", "core redis"),
            ("restart: always", "restart: unless-stopped", "core"),
            ("driver: bridge", "driver: overlay", "core"),
            ("  default:", "  default: { internal: true }", "redis"),
            ("  data:\nsecrets", "  data: { external: true }\nsecrets", "core proxy"),
            ("file: ./key", "file: ./other", "core"),
            ("source: data", "source: other", "proxy"),
            ("image: nginx", "image: nginx\n    depends_on: [ core ]", ""),
            ("image: nginx", "image: nginx\n    profiles: [ web ]", ""),
            ("image: nginx", "image: nginx\n    x-note: hello", ""),
            ("image: nginx", "image: nginx\n    env_file: a.env", "proxy"),
            ("version: \"3.5\"", "version: \"3.8\"", ""),
        ];
        for (before, after, services) in cases {
            assert!(PROJECT.contains(before), "{before}");
            assert_eq!(changed(PROJECT, &PROJECT.replacen(before, after, 1)).join(" "), services, "{after}");
        }
    }

    #[test]
    fn what_is_written_wins_over_what_is_merged_and_the_first_source_over_the_second() {
        let merged = "a: &a { image: a, user: a }\nb: &b { image: b, tty: true }\n\
                      services: { x: { <<: [ *a, *b ], user: me } }";
        let plain = "services: { x: { image: a, user: me, tty: true } }";
        assert_eq!(read(merged), read(plain));
    }

    #[test]
    fn a_service_that_extends_another_or_lives_in_its_network_changes_with_it() {
        let text = "services:\n  base: { image: a, env_file: base.env }\n  \
                    child: { extends: base, user: me }\n  \
                    other: { extends: { file: ./pryv.yml, service: base }, user: me }\n  \
                    far: { extends: { file: far.yml, service: base }, user: me }\n  \
                    side: { image: b, network_mode: 'service:base' }\n  \
                    round: { extends: round }\n";
        assert_eq!(changed(text, &text.replace("image: a", "image: c")), ["base", "child", "other", "side"]);
        assert_eq!(read(text)["child"].env_files, ["docker/base.env".parse().unwrap()]);
    }

    #[test]
    fn env_files_are_found_in_every_form_from_the_folder_of_the_file() {
        let cases = [
            ("a.env", "docker/a.env"),
            ("./conf/../a.env", "docker/a.env"),
            ("../core/a.env", "core/a.env"),
            ("../../a.env", ""),
            ("/etc/a.env", ""),
            ("~/a.env", ""),
            ("~", ""),
            ("[ b.env, a.env, b.env ]", "docker/a.env docker/b.env"),
            (
                "[ a.env, { path: b.env, required: false }, { path: ./c.env } ]",
                "docker/a.env docker/b.env docker/c.env",
            ),
            ("{ path: a.env }", "docker/a.env"),
            ("[]", ""),
        ];
        for (form, expected) in cases {
            let services = read(&format!("services: {{ core: {{ image: a, env_file: {form} }} }}"));
            let found: Vec<&str> = services["core"].env_files.iter().map(RelativePath::as_str).collect();
            assert_eq!(found.join(" "), expected, "{form}");
        }
        let order = |files: &str| format!("services: {{ core: {{ env_file: [ {files} ] }} }}");
        assert_eq!(changed(&order("a, b"), &order("b, a")), ["core"], "the last one wins");
    }

    #[test]
    fn a_definition_with_a_variable_depends_on_the_file_that_sets_it() {
        let env_files = |image: &str| {
            let services = read(&format!("services: {{ core: {{ image: '{image}' }}, redis: {{ image: redis }} }}"));
            assert_eq!(services["redis"].env_files, []);
            services["core"].env_files.clone()
        };
        assert_eq!(env_files("core:${TAG}"), ["docker/.env".parse().unwrap()]);
        assert_eq!(env_files("core:$TAG"), ["docker/.env".parse().unwrap()]);
        assert_eq!(env_files("core:$$TAG"), []);
    }

    #[test]
    fn what_comes_before_a_service_is_found_in_every_form() {
        let cases = [
            ("depends_on: [ redis, mongo ]", "mongo redis"),
            ("depends_on: { redis: { condition: service_healthy }, mongo: ~ }", "mongo redis"),
            ("depends_on: ~", ""),
            ("links: [ 'mongo:db', redis ]", "mongo redis"),
            ("volumes_from: [ 'mongo:ro', 'container:x' ]", "mongo"),
            ("network_mode: 'service:redis'", "redis"),
            ("network_mode: host", ""),
            ("depends_on: [ redis ], links: [ redis ]", "redis"),
        ];
        for (form, expected) in cases {
            let services = read(&format!("services: {{ core: {{ image: a, {form} }} }}"));
            assert_eq!(services["core"].depends_on.join(" "), expected, "{form}");
        }
    }

    #[test]
    fn container_names_are_read() {
        let services = read("services: { core: { container_name: pryvio_core }, redis: { image: redis } }");
        let names: Vec<_> = services.values().map(|service| service.container_name.as_deref()).collect();
        assert_eq!(names, [Some("pryvio_core"), None]);
    }

    #[test]
    fn what_is_no_compose_file_is_none() {
        let others = [
            "",
            "a: 1",
            "services:",
            "services: []",
            "services: { core: redis }",
            "services: { core: {} }\n---\nservices: {}",
            "services: { core: { <<: text } }",
            "services: { ? [ a ] : {} }",
            "services: { core: [ }",
            "- services",
        ];
        for text in others {
            assert_eq!(compose_services(&"a.yml".parse().unwrap(), text.as_bytes()), None, "{text}");
        }
        assert_eq!(compose_services(&"a.yml".parse().unwrap(), b"\xff"), None);
        assert_eq!(read("services: {}"), BTreeMap::new());
    }
}
