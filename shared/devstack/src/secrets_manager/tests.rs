#![allow(clippy::unwrap_used, reason = "tests fail so")]

use jiff::SignedDuration;

use super::*;

const START: &str = "2041-01-01T00:00:00Z";

/// A service without a listener, with its own time.
struct Quiet {
    service: SecretsManager,
    now: Timestamp,
}

impl Quiet {
    fn new() -> Self {
        Self { service: SecretsManager::open(None).unwrap(), now: START.parse().unwrap() }
    }

    async fn ask(&self, operation: &str, body: Value) -> Result<Value, Refused> {
        self.service.perform(operation, body.to_string().as_bytes(), self.now).await
    }

    async fn create(&self) {
        let asked = json!({"Name": "it", "SecretString": "0", "ClientRequestToken": token(0)});
        self.ask("CreateSecret", asked).await.unwrap();
    }

    async fn put(&self, n: usize) {
        let (text, token) = (n.to_string(), token(n));
        let asked = json!({"SecretId": "it", "SecretString": text, "ClientRequestToken": token});
        self.ask("PutSecretValue", asked).await.unwrap();
    }

    fn pass(&mut self, time: SignedDuration) {
        self.now += time;
    }
}

fn token(n: usize) -> String {
    format!("{n:032}")
}

#[tokio::test]
async fn a_file_of_before_opens_and_keeps_its_versions() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secrets.json");
    std::fs::write(&file, include_bytes!("before.json")).unwrap();
    for _ in 0..2 {
        let service = SecretsManager::open(Some(file.clone())).unwrap();
        // Deleted at 07:55:40 with a window of thirty days.
        let quiet = Quiet { service, now: "2026-12-28T07:55:39Z".parse().unwrap() };
        let by = |id: &str| json!({"SecretId": "threads-auth/app", "VersionId": id});
        let named = ["11111111", "22222222", "33333333"].map(|n| format!("{n}-bb6e-4fad-8549-e33d935d500d"));
        let first = quiet.ask("GetSecretValue", by(&named[0])).await.unwrap();
        assert_eq!(first["SecretString"], "first");
        let second = quiet.ask("GetSecretValue", by(&named[1])).await.unwrap();
        assert_eq!(
            (&second["SecretBinary"], &second["CreatedDate"]),
            (&json!("AP8="), &json!(1_795_852_538.0))
        );
        let told = quiet.ask("DescribeSecret", json!({"SecretId": "threads-auth/app"})).await.unwrap();
        let labels = json!({&named[1]: ["AWSPREVIOUS"], &named[2]: ["AWSCURRENT"]});
        assert_eq!(told["VersionIdsToStages"], labels);
        quiet.ask("RestoreSecret", json!({"SecretId": "threads-auth/deleted"})).await.unwrap();
        quiet.ask("DeleteSecret", json!({"SecretId": "threads-auth/deleted"})).await.unwrap();
    }
}

#[tokio::test]
async fn a_deleted_secret_can_be_restored_until_its_window_ends() {
    let mut quiet = Quiet::new();
    quiet.create().await;
    let it = json!({"SecretId": "it"});
    let told = quiet.ask("DeleteSecret", json!({"SecretId": "it", "RecoveryWindowInDays": 7})).await.unwrap();
    quiet.pass(SignedDuration::from_hours(7 * 24) - SignedDuration::from_secs(1));
    assert_eq!(quiet.ask("DescribeSecret", it.clone()).await.unwrap()["DeletedDate"], told["DeletionDate"]);
    quiet.ask("RestoreSecret", it.clone()).await.unwrap();
    quiet.ask("DeleteSecret", it.clone()).await.unwrap();
    quiet.pass(SignedDuration::from_hours(30 * 24));
    assert_eq!(quiet.ask("RestoreSecret", it).await.unwrap_err().kind, Kind::NotFound);
    // Its name is free again.
    quiet.create().await;
}

#[tokio::test]
async fn a_hundred_versions_are_kept_and_all_of_a_day() {
    let mut quiet = Quiet::new();
    quiet.create().await;
    let own = json!({"SecretId": "it", "VersionStage": "MINE", "MoveToVersionId": token(0)});
    quiet.ask("UpdateSecretVersionStage", own).await.unwrap();
    for n in 1..120 {
        quiet.pass(SignedDuration::from_secs(1));
        quiet.put(n).await;
    }
    let versions = async |quiet: &Quiet| {
        let (mut ids, mut next) = (Vec::new(), Value::Null);
        loop {
            let asked =
                json!({"SecretId": "it", "IncludeDeprecated": true, "MaxResults": 50, "NextToken": next});
            let told = quiet.ask("ListSecretVersionIds", asked).await.unwrap();
            let page = told["Versions"].as_array().unwrap();
            ids.extend(page.iter().map(|version| version["VersionId"].as_str().unwrap().to_owned()));
            next = told["NextToken"].clone();
            if next.is_null() {
                return ids;
            }
        }
    };
    assert_eq!(versions(&quiet).await, (0..120).map(token).collect::<Vec<_>>());
    quiet.pass(SignedDuration::from_hours(25));
    quiet.put(120).await;
    // The newest hundred, and one with a label.
    let kept: Vec<_> = [0].into_iter().chain(21..=120).map(token).collect();
    assert_eq!(versions(&quiet).await, kept);
}

#[tokio::test]
async fn a_change_that_cannot_be_saved_has_not_happened() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gone").join("secrets.json");
    let quiet = Quiet { service: SecretsManager::open(Some(file)).unwrap(), now: START.parse().unwrap() };
    let asked = json!({"Name": "it", "SecretString": "0", "ClientRequestToken": token(0)});
    assert_eq!(quiet.ask("CreateSecret", asked).await.unwrap_err().kind, Kind::Internal);
    let found = quiet.ask("DescribeSecret", json!({"SecretId": "it"})).await;
    assert_eq!(found.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn a_refusal_quotes_no_value() {
    let quiet = Quiet::new();
    quiet.create().await;
    let bodies = [
        json!({"SecretId": "it", "SecretString": ["a-secret"], "ClientRequestToken": token(1)}),
        json!({"SecretId": "it", "SecretString": "a-secret", "ClientRequestToken": token(0)}),
        json!({"SecretId": "it", "SecretBinary": "a-secret", "ClientRequestToken": token(1)}),
        json!({"SecretId": "it", "SecretString": "a-secret"}),
    ];
    let kinds = [Kind::Serialization, Kind::Exists, Kind::Serialization, Kind::InvalidRequest];
    for (body, kind) in bodies.into_iter().zip(kinds) {
        let refused = quiet.ask("PutSecretValue", body).await.unwrap_err();
        assert_eq!(refused.kind, kind);
        assert!(!refused.message.contains("a-secret"), "{refused:?}");
    }
}
