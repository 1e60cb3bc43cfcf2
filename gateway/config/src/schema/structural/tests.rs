use super::*;

fn of(node: Value, definitions: Value) -> Value {
    let root = json!({ "$defs": definitions, "node": node });
    structural(&root, "/node")
}

#[test]
fn references_are_filled_in_and_what_is_no_structure_is_left_out() {
    let definitions = json!({
        "Name": { "type": "string", "minLength": 1, "errorMessage": "write a name" },
        "Time": { "type": "string", "pattern": format!("(?:^[0-9]+s${OR_REFERENCE}") },
        "Odd": { "type": "string", "pattern": "^(?!x)" },
    });
    let node = json!({
        "type": "object", "additionalProperties": false, "required": ["name"],
        "dependentRequired": { "time": ["name"] }, "not": { "required": ["odd"] },
        "properties": {
            "name": { "$ref": "#/$defs/Name" },
            "time": { "$ref": "#/$defs/Time", "description": "How long.", "default": "1s" },
            "odd": { "$ref": "#/$defs/Odd" },
            "many": { "type": "array", "items": { "$ref": "#/$defs/Name" }, "uniqueItems": true },
            "map": { "type": "object", "additionalProperties": { "type": "integer", "maximum": 9 } },
        },
    });
    let name = json!({ "type": "string", "minLength": 1, "description": "write a name" });
    assert_eq!(
        of(node, definitions),
        json!({
            "type": "object", "required": ["name"],
            "properties": {
                "name": name,
                "time": { "type": "string", "pattern": "^[0-9]+s$", "description": "How long." },
                "odd": { "type": "string" },
                "many": { "type": "array", "items": name },
                "map": {
                    "type": "object", "additionalProperties": { "type": "integer", "maximum": 9 }
                },
            },
        })
    );
}

#[test]
fn choices_are_words_keys_of_objects_or_anything() {
    let tagged = |key: &str| json!({ "type": "object", "properties": { key: { "type": "string" } }, "required": [key] });
    let word = |word: &str| json!({ "type": "string", "const": word });
    assert_eq!(
        of(json!({ "oneOf": [word("a"), word("b")], "description": "d" }), json!({})),
        json!({ "type": "string", "enum": ["a", "b"], "description": "d" })
    );
    assert_eq!(
        of(json!({ "oneOf": [tagged("a"), tagged("b")] }), json!({})),
        json!({
            "type": "object",
            "properties": { "a": { "type": "string" }, "b": { "type": "string" } },
            "oneOf": [{ "required": ["a"] }, { "required": ["b"] }],
        })
    );
    let anything = json!({ ANYTHING: true });
    for node in [
        json!({ "oneOf": [word("a"), tagged("b")] }),
        json!({ "type": ["string", "object"] }),
        json!({}),
    ] {
        assert_eq!(of(node, json!({})), anything);
    }
}

#[test]
fn what_refers_to_itself_ends() {
    let definitions = json!({
        "Loop": { "type": "object", "properties": { "in": { "$ref": "#/$defs/Loop" } } },
        "Circle": { "$ref": "#/$defs/Circle" },
    });
    let deep = of(json!({ "$ref": "#/$defs/Loop" }), definitions.clone());
    assert!(deep.to_string().contains(ANYTHING));
    assert_eq!(of(json!({ "$ref": "#/$defs/Circle" }), definitions), json!({ ANYTHING: true }));
}
