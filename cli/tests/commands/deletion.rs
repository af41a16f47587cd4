//! `accounts delete` and `accounts export --personal`: a person's rights towards the holder of
//! their data.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use threads_auth::NewSession;

use crate::stack::Local;
use crate::support::{DAY, Ended, run_with, text};

const ADA: &str = "17841400000000001";
const BEN: &str = "17841400000000002";
const EVE: &str = "17841400000000003";
const IDA: &str = "17841400000000004";

/// The keys of the table of grants that begin so.
fn keys(local: &Local, prefix: &str) -> Vec<String> {
    let client = local.dynamodb();
    let scan = client.scan().table_name(&local.stack.urls().grants_table).send();
    let rows = local.runtime.block_on(scan).unwrap().items.unwrap();
    let keys = rows.iter().map(|row| row["pk"].as_s().unwrap().clone());
    let mut keys: Vec<_> = keys.filter(|key| key.starts_with(prefix)).collect();
    keys.sort();
    keys
}

/// Returns each person's user id, outcome and code.
fn told(ended: &Ended) -> Vec<(String, String, String)> {
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    let people = json["people"].as_array().unwrap().iter();
    people
        .map(|person| {
            ["user_id", "outcome", "confirmation_code"]
                .map(|name| text(person, &format!("/{name}")).to_owned())
        })
        .map(|[user_id, outcome, code]| (user_id, outcome, code))
        .collect()
}

fn outcomes(ended: &Ended) -> Vec<(String, String)> {
    told(ended).into_iter().map(|(user_id, outcome, _)| (user_id, outcome)).collect()
}

fn named(people: &[(&str, &str)]) -> Vec<(String, String)> {
    people.iter().map(|(user_id, outcome)| ((*user_id).to_owned(), (*outcome).to_owned())).collect()
}

#[test]
fn a_list_of_people_is_deleted_and_can_be_gone_through_again() {
    let local = Local::new();
    let (ada, ben) = (local.account(ADA), local.account(BEN));
    local.account(IDA);
    local.write(
        "ids.csv",
        format!("\u{feff}user_id,asked\r\n{ADA},monday\r\n\r\n# from Meta\r\n1.78414E+16,\r\n{BEN}\r\n{ada}\r\n{ADA}\r\n{EVE}"),
    );
    // There is no terminal here.
    local.run(&["accounts", "delete", "ids.csv"]).says(2, &["--yes"]).hides(&[&ada]);
    assert!(local.grant(ADA).is_some() && keys(&local, "tombstone#").is_empty());

    let arguments = ["accounts", "delete", "ids.csv", "--yes", "--json"];
    let ended = local.run(&arguments);
    ended.says(1, &["ids.csv, line 5: ", "ids.csv, line 7: "]).hides(&[&ada, &ben]);
    assert_eq!(outcomes(&ended), named(&[(ADA, "deleted"), (BEN, "deleted"), (EVE, "unknown")]));
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&json["left"], &json["error"]), (&Value::from(0), &Value::Null));
    assert_eq!(json["bad_lines"].as_array().unwrap().len(), 2);
    assert!(local.grant(ADA).is_none() && local.grant(BEN).is_none() && local.grant(IDA).is_some());
    // A person who was not known leaves a trace too.
    assert_eq!(keys(&local, "user#").len(), 1);
    let traces = (keys(&local, "tombstone#"), keys(&local, "deletion#"));
    assert_eq!((traces.0.len(), traces.1.len()), (3, 3));
    let service = local.stack.service();
    for (_, _, code) in told(&ended) {
        assert!(local.runtime.block_on(service.find_deletion(&code)).unwrap().is_some());
    }

    // A repeated command a day later changes nothing, and the codes are the same.
    local.stack.clock().advance(DAY);
    let again = local.run(&arguments);
    again.expect(1);
    let codes = |ended: &Ended| told(ended).into_iter().map(|(_, _, code)| code).collect::<Vec<_>>();
    assert_eq!(codes(&again), codes(&ended));
    assert_eq!((keys(&local, "tombstone#"), keys(&local, "deletion#")), traces);
    println!("accounts delete: 3 people of 9 lines deleted, 2 lines named, 0 changes by a second run");
}

#[test]
fn who_has_connected_since_is_left_alone() {
    let local = Local::new();
    local.account(ADA);
    let asked = "2040-12-31T00:00:00Z";
    let arguments = ["accounts", "delete", ADA, "--requested-at", asked, "--yes", "--json"];
    let ended = local.run(&arguments);
    ended.expect(0);
    assert_eq!(outcomes(&ended), named(&[(ADA, "connected_since")]));
    assert!(local.grant(ADA).is_some());
    // A time in the future counts as now.
    let later = ["accounts", "delete", ADA, "--requested-at", "2050-01-01T00:00:00Z", "--yes", "--json"];
    assert_eq!(outcomes(&local.run(&later)), named(&[(ADA, "deleted")]));
    local.run(&["accounts", "delete", ADA, "--requested-at", "monday", "--yes"]).says(2, &["monday"]);
}

#[test]
fn what_names_nobody_is_refused_before_anybody_is_deleted() {
    let local = Local::new();
    local.account(ADA);
    std::fs::create_dir(local.path("folder")).unwrap();
    for (arguments, said) in [
        (&[][..], "ID|FILE"),
        (&[ADA, "@ada"], "@ada is not a user id"),
        (&[ADA, "nowhere.csv"], "nowhere.csv is not a user id"),
        (&[ADA, "folder"], "folder cannot be read"),
        (&["-1"], "-1"),
    ] {
        let all: Vec<_> = ["accounts", "delete", "--yes"].iter().chain(arguments).copied().collect();
        local.run(&all).says(2, &[said]);
    }
    assert!(local.grant(ADA).is_some());
    // A pipe, which may be empty.
    let piped = |input: &str| run_with(local.command(&["accounts", "delete", "-", "--yes", "--json"]), input);
    assert!(told(&piped("")).is_empty());
    let ended = piped(&format!("nobody\n{ADA}\n"));
    ended.says(1, &["standard input, line 1: "]);
    assert_eq!(outcomes(&ended), named(&[(ADA, "deleted")]));
}

#[test]
fn a_person_gets_all_that_is_held_about_them_and_no_token() {
    let local = Local::new();
    let (ada, _) = (local.account(ADA), local.account(BEN));
    let (service, now) = (local.stack.service(), local.stack.clock().now());
    let session = |reference: &str, user_id: &str| NewSession {
        reference: reference.to_owned(),
        scopes: None,
        return_to: "http://127.0.0.1:4000/done".to_owned(),
        ui_locales: None,
        user_id: Some(user_id.parse().unwrap()),
        lifetime: jiff::SignedDuration::from_mins(30),
    };
    let ours = local.runtime.block_on(service.create_session(session("user-7", ADA), now)).unwrap();
    local.runtime.block_on(service.create_session(session("user-8", BEN), now)).unwrap();

    let told = local.run(&["accounts", "export", ADA, "--personal"]);
    told.hides(&[&ada, &ours.id, BEN, "user-8"]);
    let data = told.json();
    assert_eq!((text(&data, "/user_id"), text(&data, "/account/username")), (ADA, "person00001"));
    assert_eq!(text(&data, "/account/connected_at"), "2041-01-01T00:00:00Z");
    assert_eq!(text(&data, "/account/scopes"), "threads_basic,threads_content_publish");
    assert_eq!(data["account"]["withheld"], serde_json::json!(["token"]));
    let sessions = data["sessions"].as_array().unwrap();
    assert_eq!((sessions.len(), text(&sessions[0], "/reference")), (1, "user-7"));
    assert_eq!(sessions[0]["withheld"], serde_json::json!(["id"]));
    assert_eq!(data["ends"], Value::Null);
    // Every attribute of the row is included or named.
    let client = local.dynamodb();
    let key = aws_sdk_dynamodb::types::AttributeValue::S(format!("user#{ADA}"));
    let get = client.get_item().table_name(&local.stack.urls().grants_table).key("pk", key).send();
    let row = local.runtime.block_on(get).unwrap().item.unwrap();
    let account = data["account"].as_object().unwrap();
    let untold: Vec<_> = row
        .keys()
        .filter(|name| !["pk", "token"].contains(&name.as_str()) && !account.contains_key(*name))
        .collect();
    assert!(untold.is_empty(), "{untold:?}");

    let file = ["accounts", "export", ADA, "--personal", "--output", "ada.json"];
    local.run(&file).says(0, &["was written to ada.json"]);
    let written: Value = serde_json::from_str(&local.read("ada.json")).unwrap();
    assert_eq!(written, data);
    let mode = std::fs::metadata(local.path("ada.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    local.run(&file).says(2, &["ada.json exists"]);
    println!("accounts export --personal: {} attributes told, 0 tokens", account.len() - 1);

    local.run(&["accounts", "export", EVE, "--personal"]).says(1, &["holds nothing about"]);
    for wrong in [
        &[ADA][..],
        &["--personal"],
        &[ADA, "--personal", "--with-tokens"],
        &[ADA, "--personal", "--format", "csv"],
    ] {
        let all: Vec<_> = ["accounts", "export"].iter().chain(wrong).copied().collect();
        local.run(&all).expect(2);
    }
    // A deletion is reported.
    local.run(&["accounts", "delete", ADA, "--yes"]).expect(0);
    let left = local.run(&["accounts", "export", ADA, "--personal"]).json();
    assert_eq!((&left["account"], &left["sessions"]), (&Value::Null, &serde_json::json!([])));
    assert_eq!(text(&left, "/ends/deleted_at"), "2041-01-01T00:00:00Z");
}
