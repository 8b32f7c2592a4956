//! Whether a rendered file can be read at all by what it is for, judged by its ending.
//!
//! A judgement names a line and a column of the rendered file and quotes none of it: it may hold a secret.

mod json;

use saphyr::LoadableYamlNode as _;

/// Why the text cannot be read, or `None` where it can or its format is not known here.
pub(crate) fn fault(path: &str, bytes: &[u8]) -> Option<String> {
    let parser = match path.rsplit_once('.')?.1 {
        "json" => json::fault,
        "yml" | "yaml" => yaml_fault,
        "hjson" => hjson_fault,
        "pem" | "crt" | "key" => pem_fault,
        _ => return None,
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => parser(text),
        Err(error) => Some(format!("is not UTF-8 from byte {} on", error.valid_up_to())),
    }
}

fn yaml_fault(text: &str) -> Option<String> {
    let error = saphyr::Yaml::load_from_str(text).err()?;
    let marker = error.marker();
    Some(format!("is no YAML: line {}, column {}: {}", marker.line(), marker.col() + 1, error.info()))
}

fn hjson_fault(text: &str) -> Option<String> {
    deser_hjson::from_str::<serde_json::Value>(text).err().map(|error| match error {
        deser_hjson::Error::Syntax { line, col, code, .. } => {
            format!("is no Hjson: line {line}, column {col}: {code:?}")
        }
        _ => "is no Hjson".to_owned(),
    })
}

/// One or more PEM blocks (RFC 7468): matching labels around base64.
fn pem_fault(text: &str) -> Option<String> {
    let mut open: Option<&str> = None;
    let mut blocks = 0;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end();
        let number = index + 1;
        let label = |prefix: &str| line.strip_prefix(prefix).and_then(|rest| rest.strip_suffix("-----"));
        match (open, label("-----BEGIN "), label("-----END ")) {
            (None, Some(begun), _) => open = Some(begun),
            (Some(begun), _, Some(ended)) if begun == ended => {
                open = None;
                blocks += 1;
            }
            (Some(_), Some(_), _) | (_, _, Some(_)) => {
                return Some(format!("is no PEM: line {number}: labels do not match"));
            }
            (Some(_), None, None) if !line.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b)) => {
                return Some(format!("is no PEM: line {number} is no base64"));
            }
            // Text between blocks is allowed: certificates often come with their subject above them.
            _ => {}
        }
    }
    match (open, blocks) {
        (Some(_), _) => Some("is no PEM: the last block does not end".to_owned()),
        (None, 0) => Some("is no PEM: it holds no `-----BEGIN …-----` block".to_owned()),
        (None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_refused_with_its_line_and_without_its_text() {
        let cases: [(&str, &str); 16] = [
            ("a.json", "{\"a\": [1, null]}\n"),
            ("a.json", "{\"a\": \"hunter2\"\"}"),
            ("a.json", "{\"a\": 1}\n{\"b\": 2}"),
            ("a.json", "{\n  \"hunter2\": 1,\n  \"hunter2\": 2\n}"),
            ("a.yml", "a: \"x\"\nb: [1, 2]\n"),
            ("a.yml", "a: hunter2: x\n"),
            ("a.yml", "a: [hunter2\n"),
            ("a.yml", "hunter2: 1\nhunter2: 2\n"),
            ("a.yml", "a: *hunter2\n"),
            ("a.hjson", "{ a: text\n b: [1] }\n"),
            ("a.hjson", "{ a: [hunter2 "),
            ("a.pem", "-----BEGIN X-----\nAAAA\n-----END X-----\n"),
            ("a.pem", "-----BEGIN X-----\nhunter2!\n-----END X-----\n"),
            ("a.crt", "-----BEGIN X-----\nAAAA\n-----END Y-----\n"),
            ("a.crt", "hunter2"),
            ("a.txt", "{"),
        ];
        let mut table = String::new();
        for (path, text) in cases {
            let judgement = fault(path, text.as_bytes()).unwrap_or_else(|| "well-formed".to_owned());
            table += &format!("{path:8} {:50} {judgement}\n", text.escape_debug().to_string());
        }
        insta::assert_snapshot!(table);
        for (path, text) in cases {
            assert!(!fault(path, text.as_bytes()).unwrap_or_default().contains("hunter2"));
        }
    }
}
