//! Bodies that are made to hurt: each is refused at once, by its limit.
use serde_json::json;

use crate::client::{CONFIGMAPS, Client, client, client_with_crds, configmap};

async fn refused(api: &Client, media: &str, body: String) -> (u16, String) {
    let headers = [("content-type", media)];
    let response = api.send("POST", CONFIGMAPS, &headers, body).await;
    let code = response.status().as_u16();
    let status = api.read(response).await;
    (code, status["message"].as_str().unwrap().to_owned())
}

fn configmap_with(data: &str) -> String {
    format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"a\"}},\"data\":{data}}}"
    )
}

#[tokio::test]
async fn json_that_is_nested_too_deep() {
    let api = client();
    for opening in ["[", "{\"a\":"] {
        let (code, why) =
            refused(&api, "application/json", configmap_with(&opening.repeat(10_000))).await;
        assert_eq!(code, 400);
        assert!(why.contains("nested more than 100 levels deep"), "{why}");
    }
}

#[tokio::test]
async fn a_body_of_three_mebibytes_is_read_and_one_byte_more_is_not() {
    let api = client();
    let padding = |length: usize| {
        let rest = length - configmap_with("").len();
        format!("{}{}", configmap_with(""), " ".repeat(rest)).replace("\"data\":}", "\"data\":{}}")
    };
    let most = padding(3 * 1024 * 1024 - 2);
    assert_eq!(most.len(), 3 * 1024 * 1024);
    let response = api.send("POST", CONFIGMAPS, &[], most.clone()).await;
    assert_eq!(response.status(), 201);
    let (code, why) = refused(&api, "application/json", format!("{most} ")).await;
    assert_eq!((code, why.as_str()), (413, "Request entity too large: limit is 3145728"));
    let (code, why) = refused(
        &api,
        "application/json",
        configmap_with(&json!({ "a": "x".repeat(1_572_864) }).to_string()),
    )
    .await;
    assert_eq!(code, 413);
    assert!(why.contains("the limit is 1572864 bytes"), "{why}");
}

#[tokio::test]
async fn yaml_bombs() {
    let api = client();
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for n in 1..10 {
        bomb.push_str(&format!("a{n}: &a{n} [{}]\n", format!("*a{},", n - 1).repeat(10)));
    }
    let long = format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(1_000_000), "*a,".repeat(90));
    for body in [bomb, long, "[".repeat(10_000)] {
        let (code, why) = refused(&api, "application/yaml", body).await;
        assert_eq!(code, 400);
        assert!(why.starts_with("the YAML body cannot be read: "), "{why}");
    }
    let good = "{apiVersion: v1, kind: ConfigMap, metadata: {name: good}, data: {a: &a b, c: *a}}";
    let headers = [("content-type", "application/yaml")];
    assert_eq!(api.send("POST", CONFIGMAPS, &headers, good).await.status(), 201);
}

#[tokio::test]
async fn an_object_stays_readable_whatever_patches_do() {
    let api = client();
    api.post(CONFIGMAPS, &configmap("a")).await;
    let path = format!("{CONFIGMAPS}/a");
    let headers = [("content-type", "application/json-patch+json")];
    let copies = vec![json!({ "op": "copy", "from": "", "path": "/metadata/annotations" }); 50];
    let (code, why) = api.json("PATCH", &path, &headers, &json!(copies)).await;
    assert_eq!(code, 422);
    assert!(why["message"].as_str().unwrap().contains("nested more than 100 levels"), "{why}");
    assert_eq!(api.get(&path).await.0, 200);
}

#[tokio::test]
async fn thousands_of_wrong_fields_make_few_errors_and_warnings() {
    let api = client_with_crds();
    let runs = crate::client::RUNS;
    let mut body = crate::client::run("a");
    body["spec"]["args"] = json!(vec![1; 100_000]);
    let (code, why) = api.post(runs, &body).await;
    assert_eq!(code, 422);
    assert!(why["details"]["causes"].as_array().unwrap().len() <= 100);
    let mut body = crate::client::run("a");
    for n in 0..50_000 {
        body["spec"][format!("unknown{n}")] = json!(1);
    }
    let response = api.send("POST", runs, &[], body.to_string()).await;
    assert_eq!(response.status(), 201);
    let warnings: Vec<_> = response.headers().get_all("warning").iter().collect();
    assert!(warnings.len() > 50 && warnings.len() <= 100, "{}", warnings.len());
    assert!(warnings.iter().map(|w| w.len()).sum::<usize>() < 8 * 1024);
}
