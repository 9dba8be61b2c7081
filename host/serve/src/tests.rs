//! The service with real connections: what clients get, and what bad clients cannot do.

mod hostile;
mod support;
mod websocket;

use std::time::Duration;

use serde_json::json;
use wakeling_device::simulate::{Chunking, Device, Sensitivity};
use wakeling_shared::model::Model;
use wakeling_tests::model::{Tier, random_model, random_model_with_heads};

use support::{Client, Service, loud, loud_pcm, quick};

#[test]
fn describe_lists_every_keyword() {
    let service = Service::start(&[("kitchen", loud()), ("hall", loud())], quick());
    let mut client = service.client();
    client.send("describe", &json!({}), &[]);
    let (kind, info) = client.event().unwrap();
    assert_eq!(kind, "info");
    let program = &info["wake"][0];
    assert_eq!(program["name"], "wakeling");
    let models = program["models"].as_array().unwrap();
    let names: Vec<_> = models.iter().map(|model| model["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["kitchen/loud", "hall/loud"]);
    for model in models {
        assert_eq!(model["phrase"], "loud");
        assert!(model["installed"] == true && model["languages"].is_array());
        assert!(model["attribution"]["url"].is_string() && model["version"].is_string());
    }
    client.send("ping", &json!({ "text": "x" }), &[]);
    assert_eq!(client.event().unwrap(), ("pong".into(), json!({ "text": "x" })));
}

#[test]
fn a_detection_has_the_time_of_its_chunk_or_of_the_sound() {
    let service = Service::start(&[("kitchen", loud())], quick());
    let mut client = service.client();
    client.send("detect", &json!({ "names": ["Loud"] }), &[]);
    client.start();
    // A second of silence, then sound: as in the README of `wakeling-shared`, after 18,240 samples.
    client.sound(&loud_pcm(), 1_024, None);
    let (kind, detection) = client.event().unwrap();
    assert_eq!((kind.as_str(), &detection["name"]), ("detection", &json!("loud")));
    assert_eq!(detection["timestamp"], 1_140);
    client.send("audio-stop", &json!({}), &[]);
    // The same sound with times of its own; the pipeline starts afresh.
    client.start();
    client.sound(&loud_pcm(), 1_600, Some(5_000));
    let (_, detection) = client.event().unwrap();
    assert_eq!(detection["timestamp"], 5_000 + 100 * (18_240 / 1_600));
    // Without a start, as satellites send it, and in another format.
    client.send("audio-stop", &json!({}), &[]);
    let pcm = loud_pcm();
    let stereo: Vec<u8> = pcm.iter().flat_map(|s| [s.to_le_bytes(); 2].concat()).collect();
    let format = json!({ "rate": 16_000, "width": 2, "channels": 2 });
    client.send("audio-chunk", &format, &stereo);
    assert_eq!(client.event().unwrap().0, "detection");
    client.send("audio-stop", &json!({}), &[]);
    // There was no detection since this start.
    client.start();
    client.sound(&[0; 16_000], 1_600, None);
    client.send("audio-stop", &json!({}), &[]);
    assert_eq!(client.event().unwrap().0, "not-detected");
}

#[test]
fn unknown_names_are_refused_and_others_do_not_detect() {
    let service = Service::start(&[("kitchen", loud()), ("hall", loud())], quick());
    let mut client = service.client();
    client.send("detect", &json!({ "names": ["hall/loud"] }), &[]);
    client.sound(&loud_pcm(), 1_600, None);
    client.send("audio-stop", &json!({}), &[]);
    client.send("ping", &json!({}), &[]);
    assert_eq!(client.event().unwrap().1["name"], "hall/loud");
    assert_eq!(client.event().unwrap().0, "pong");
    client.send("detect", &json!({ "names": ["alexa"] }), &[]);
    let (kind, error) = client.event().unwrap();
    assert_eq!((kind.as_str(), &error["code"]), ("error", &json!("unknown-wake-word")));
    assert!(error["text"].as_str().unwrap().contains("kitchen/loud, hall/loud"), "{error}");
    assert!(client.event().is_none(), "the connection is closed");
}

#[test]
fn only_the_wanted_keyword_of_a_model_is_reported() {
    let file = random_model_with_heads(3, Tier::Tiny, 3);
    // A low threshold, at which every keyword of a random model is detected.
    let service = Service::start_with(&[("many", file)], quick(), Sensitivity::Score(0.05));
    let pcm = wakeling_tests::sound::speech_like(1, 20);
    let detected = |names: &[&str]| {
        let mut client = service.client();
        client.send("detect", &json!({ "names": names }), &[]);
        client.sound(&pcm, 1_600, None);
        client.send("ping", &json!({}), &[]);
        let mut found = Vec::new();
        while let Some((kind, data)) = client.event()
            && kind == "detection"
        {
            found.push((data["name"].as_str().unwrap().to_owned(), data["timestamp"].clone()));
        }
        found
    };
    let all = detected(&[]);
    let name = all[0].0.clone();
    let own: Vec<_> = all.iter().filter(|(other, _)| *other == name).cloned().collect();
    assert!(own.len() < all.len(), "one keyword only: {all:?}");
    assert_eq!(detected(&[&name]), own);
}

/// Returns the keyword and end of each detection in the simulator, in milliseconds.
fn simulated(file: &[u8], pcm: &[i16]) -> Vec<(String, i64)> {
    let model = Model::load(file).unwrap();
    let simulation = Device::Host(Chunking::Whole).run(&model, pcm, false).unwrap();
    let detections = simulation.detections.into_iter();
    let millis = |samples: u64| (samples as f64 / 16.0).round() as i64;
    detections.map(|d| (d.word.replace(' ', "_"), millis(d.end_samples))).collect()
}

#[test]
fn several_clients_get_what_the_simulator_detects_in_their_sound() {
    let file = random_model(3, Tier::Tiny);
    let service = Service::start(&[("tiny", file.clone())], quick());
    // Each client has other sound, in chunks of another size.
    let threads: Vec<_> = (0..6_u64)
        .map(|seed| {
            let (mut client, file) = (service.client(), file.clone());
            std::thread::spawn(move || {
                let pcm = wakeling_tests::sound::speech_like(seed, 30);
                client.start();
                client.sound(&pcm, 200 + 311 * seed as usize, None);
                client.send("ping", &json!({}), &[]);
                let mut found = Vec::new();
                while let Some((kind, data)) = client.event()
                    && kind == "detection"
                {
                    let name = data["name"].as_str().unwrap().to_owned();
                    found.push((name, data["timestamp"].as_i64().unwrap()));
                }
                (found, simulated(&file, &pcm))
            })
        })
        .collect();
    let mut count = 0;
    for thread in threads {
        let (found, expected) = thread.join().unwrap();
        count += expected.len();
        assert_eq!(found, expected);
    }
    assert!(count > 3, "the random model detects {count} times");
}

#[test]
fn a_stop_ends_the_service_while_clients_are_connected() {
    let mut service = Service::start(&[("kitchen", loud())], quick());
    let (mut idle, mut busy): (Client, Client) = (service.client(), service.client());
    busy.start();
    busy.sound(&[0; 1_600], 1_600, None);
    busy.send("ping", &json!({}), &[]);
    assert_eq!(busy.event().unwrap().0, "pong");
    let start = std::time::Instant::now();
    service.stop();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(idle.event().is_none() && busy.event().is_none());
}

#[test]
fn detections_are_saved_for_training() {
    let folder = tempfile::tempdir().unwrap();
    let saved = crate::SavedDetections::open(folder.path(), 3).unwrap();
    let options = crate::Options { saved: Some(saved), ..quick() };
    let service = Service::start(&[("kitchen", loud())], options);
    for _ in 0..5 {
        let mut client = service.client();
        client.sound(&loud_pcm(), 1_600, None);
        assert_eq!(client.event().unwrap().0, "detection");
    }
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().flatten().collect();
    assert_eq!(files.len(), 3);
    let pcm = wakeling_audio::read(files[0].path()).unwrap();
    // All of it, up to the end of the block with the detection.
    assert_eq!(pcm, loud_pcm()[..19_200]);
}
