//! x
mod common;
#[test]
fn a() {
    for text in [r#"{
  "kind": "small",
  "settings": {
    "domian": "pryv.example",
    "home": "https://${settings.domain.x}/",
    "mail": { "sender": { "name": "", "address": "x${settings.uploads.maxSizeMB}@b.ch" }, "port": "587" },
    "uploads": { "types": ["a/b", "c/d", "a/b", "nono"], "maxSizeMb": 0 },
    "storage": { "type": "s3", "buket": "abc" }
  },
  "machines": {
    "reg-master": { "role": "reg-master", "ip": "10.0.0.300" },
    "co1": { "role": "cor" },
    "Co2": {}
  }
}"#, r#"{
  "kind": "small",
  "settings": { "domain": "pryv.example" },
  "machines": {
    "reg1": { "role": "reg-master", "ip": "10.0.0.1" },
    "reg2": { "role": "reg-master", "ip": "${machines.reg1.ip}" },
    "co1": { "role": "core" },
  }
}"#] {
        match common::check(text) {
            Ok(p) => println!("{p:#?}"),
            Err(e) => println!("{}", common::shown(&e, "platform.json", text)),
        }
    }
}
