//! W4: people who know others, and what these write: how much, and the twenty newest of it.

use std::collections::BTreeSet;

use benches::recorder::rollup;
use decidr_domain::aggregate::attribute::DefinitionInput;
use decidr_domain::value::Value;

use crate::workloads::{Figures, Harness, Sql, id, to};

const PEOPLE: u64 = 1;
const POSTS: u64 = 2;

pub(crate) async fn run(smaller: usize, workers: usize) -> anyhow::Result<(String, Figures)> {
    let (people_count, post_count, known) = (20_000 / smaller, 200_000 / smaller, 20);
    let mut harness = Harness::new(workers)?;
    let log = &mut harness.recorder;
    let (people, posts) = (log.collection("people")?, log.collection("posts")?);
    let link = log.link(people, true, "known_by", false)?;
    let knows = log.attribute(people, "knows", link)?;
    let link = log.link(people, false, "posts", false)?;
    let author = log.attribute(posts, "author", link)?;
    let at = log.attribute(posts, "at", DefinitionInput::number())?;
    let twenty = |link: &str, attribute: &str| match rollup(link, attribute, "TOP", None) {
        Ok(DefinitionInput::Rollup { link, attribute, function, selection, weight, formula, .. }) => {
            Ok(DefinitionInput::Rollup { link, attribute, function, selection, argument: Value::from(20), weight, formula })
        }
        other => other,
    };
    log.attribute(people, "written", rollup("posts", "at", "COUNT", None)?)?;
    log.attribute(people, "newest", twenty("posts", "at")?)?;
    let read = log.attribute(people, "read", rollup("knows", "written", "SUM", None)?)?;
    let feed = log.attribute(people, "feed", twenty("knows", "newest")?)?;
    let mut circles: Vec<BTreeSet<usize>> = Vec::with_capacity(people_count);
    for n in 0..people_count {
        let mut circle = BTreeSet::new();
        while circle.len() < known {
            // Some are known by ten times as many as others.
            let bound = 1 + harness.random.below(people_count);
            circle.insert(harness.random.below(bound));
        }
        circle.remove(&n);
        circles.push(circle);
    }
    for n in 0..people_count {
        harness.recorder.create(id(PEOPLE, n), people, vec![]);
    }
    for (n, circle) in circles.iter().enumerate() {
        let ids = circle.iter().map(|other| id(PEOPLE, *other)).collect();
        harness.recorder.link_to(id(PEOPLE, n), knows, ids);
        if n % 10_000 == 0 {
            harness.settle()?;
        }
    }
    let mut written: Vec<(usize, i64)> = Vec::with_capacity(post_count);
    let write = |harness: &mut Harness, written: &mut Vec<(usize, i64)>| {
        let (by, when) = (harness.random.below(people_count), written.len() as i64);
        harness.recorder.create(id(POSTS, written.len()), posts, vec![(author, to(id(PEOPLE, by))), (at, Value::from(when))]);
        written.push((by, when));
    };
    for n in 0..post_count {
        write(&mut harness, &mut written);
        if n % 20_000 == 0 {
            harness.settle()?;
        }
    }
    harness.settle()?;
    let check = async |harness: &Harness, circles: &[BTreeSet<usize>], written: &[(usize, i64)]| {
        let mut sql = Sql::new("CREATE TABLE knows (n, other); CREATE TABLE post (author, at); CREATE INDEX by_author ON post (author, at); CREATE INDEX by_person ON knows (n)").await?;
        let pairs = circles.iter().enumerate().flat_map(|(n, circle)| circle.iter().map(move |other| vec![n as i64, *other as i64]));
        sql.fill("knows", pairs).await?;
        sql.fill("post", written.iter().map(|(by, when)| vec![*by as i64, *when])).await?;
        // Of some: a feed is a sort of all that those one knows wrote.
        let some = (people_count / 200).max(1);
        let query = format!(
            "SELECT p.n, (SELECT CAST(COUNT(*) AS TEXT) FROM knows k JOIN post ON post.author = k.other WHERE k.n = p.n), \
             (SELECT group_concat(at, ', ') FROM (SELECT at FROM knows k JOIN post ON post.author = k.other WHERE k.n = p.n ORDER BY at DESC LIMIT 20)) \
             FROM (SELECT DISTINCT n FROM knows WHERE n % {some} = 0) p"
        );
        sql.compare(&harness.arranged(), PEOPLE, &[("read", read), ("feed", feed)], &query).await
    };
    check(&harness, &circles, &written).await?;
    let figures = harness.measure(&[1, 100, 1_000], &mut |harness| {
        if harness.random.below(2) == 0 {
            return write(harness, &mut written);
        }
        let n = harness.random.below(people_count);
        let (new, old) = (harness.random.below(people_count), circles[n].iter().next().copied());
        if new != n && circles[n].insert(new) {
            harness.recorder.link_to(id(PEOPLE, n), knows, vec![id(PEOPLE, new)]);
        } else if let Some(old) = old {
            circles[n].remove(&old);
            harness.recorder.unlink(id(PEOPLE, n), knows, id(PEOPLE, old));
        }
    })?;
    let compared = check(&harness, &circles, &written).await?;
    Ok((format!("{people_count} people who know {known} others, {post_count} posts; {compared} feeds compared"), figures))
}
