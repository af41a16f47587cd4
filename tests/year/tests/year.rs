//! A small year. `.ci/full year` makes a large one.

use year::{Extent, Settings, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_in_a_small_year() {
    let settings = Settings { seed: 1, people: 48, extent: Extent::Short, every: 24 };
    let report = Box::pin(run(settings)).await.unwrap();
    println!("{report}");
    assert_eq!(report.faults(), Vec::<String>::new());
}
