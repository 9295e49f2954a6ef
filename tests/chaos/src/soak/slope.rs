//! How fast something grows, of points that lie in several lives.
//!
//! Source: the estimator of H. Theil (1950) and P. Sen, "Estimates of the Regression
//! Coefficient Based on Kendall's Tau" (1968): the median of the slopes of all pairs of
//! points. Least squares follow the outliers that a loaded machine makes; the median
//! bears them up to 29 in 100. Pairs are made within a life only, as R. Hirsch, J.
//! Slack and R. Smith, "Techniques of Trend Analysis for Monthly Water Quality Data"
//! (1982), make them within a season: a process that was started anew begins lower, and
//! that says nothing. The bound below which the slope lies with a chance of 1 in 20 is
//! Sen's, with the variances of the lives added up.

/// A life: moments in seconds, and values.
pub type Life = Vec<(f64, f64)>;

/// A slope, and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slope {
    /// Growth a second.
    pub per_s: f64,
    /// Growth a second at least, with a chance of 19 in 20.
    pub least_per_s: f64,
    /// The median of the values.
    pub level: f64,
}

/// Points of a life that pairs are made of at most: two million pairs, 16 MB of slopes.
const POINTS_MAX: usize = 2_000;
/// The quantile of the normal distribution that 19 in 20 lie below.
const NORMAL_95: f64 = 1.645;

/// The common slope of these lives; `None` when they have too few points to tell.
pub fn of(lives: &[Life]) -> Option<Slope> {
    let mut slopes = Vec::new();
    let mut variance = 0.0;
    for life in lives {
        let life = thin(life);
        for (n, early) in life.iter().enumerate() {
            let later = life[n + 1..].iter().filter(|late| late.0 > early.0);
            slopes.extend(later.map(|late| (late.1 - early.1) / (late.0 - early.0)));
        }
        // The variance of Kendall's S.
        let count = life.len() as f64;
        variance += count * (count - 1.0) * (2.0 * count + 5.0) / 18.0;
    }
    let mut values: Vec<f64> = lives.iter().flatten().map(|(_, value)| *value).collect();
    let (level, per_s) = (median(&mut values)?, median(&mut slopes)?);
    let place = (slopes.len() as f64 - NORMAL_95 * variance.sqrt()) / 2.0;
    if place < 0.0 {
        return None;
    }
    Some(Slope {
        per_s,
        least_per_s: slopes[place as usize],
        level,
    })
}

/// As many points as pairs are made of, evenly from all of the life.
fn thin(life: &Life) -> Life {
    let count = life.len().min(POINTS_MAX);
    (0..count).map(|n| life[n * life.len() / count]).collect()
}

/// Sorts the values; the median of an even number is the mean of the two.
fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(match values.len() % 2 {
        0 => (values[middle - 1] + upper) / 2.0,
        _ => upper,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// A point every 3 s from `from_s` on: at first 100, then so much more a second, and
    /// noise of up to 5 either way; every tenth is far off.
    fn life(rng: &mut StdRng, from_s: f64, count: usize, per_s: f64) -> Life {
        let value = |n: usize, rng: &mut StdRng| {
            let far = if n % 10 == 7 { 80.0 } else { 0.0 };
            100.0 + n as f64 * 3.0 * per_s + rng.gen_range(-5.0..5.0) + far
        };
        (0..count)
            .map(|n| (from_s + n as f64 * 3.0, value(n, rng)))
            .collect()
    }

    #[test]
    fn a_leak_is_seen_through_noise_and_restarts() {
        for seed in 0..50 {
            let mut rng = StdRng::seed_from_u64(seed);
            // Each begins at 100 again, which is no decline.
            let lives = [0.0, 300.0, 600.0].map(|from_s| life(&mut rng, from_s, 100, 0.05));
            let slope = of(&lives).unwrap();
            assert!((slope.per_s - 0.05).abs() < 0.012, "{seed}: {slope:?}");
            assert!(slope.least_per_s > 0.03, "{seed}: {slope:?}");
            assert!(slope.level > 100.0 && slope.level < 120.0, "{slope:?}");
        }
    }

    #[test]
    fn noise_is_no_leak() {
        let mut wrong = 0;
        for seed in 0..200 {
            let mut rng = StdRng::seed_from_u64(seed);
            let lives = [0.0, 300.0, 600.0].map(|from_s| life(&mut rng, from_s, 60, 0.0));
            let slope = of(&lives).unwrap();
            assert!(slope.per_s.abs() < 0.02, "{seed}: {slope:?}");
            wrong += u32::from(slope.least_per_s > 0.0);
        }
        // 1 in 20 are 10.
        assert!((1..=20).contains(&wrong), "{wrong} of 200");
    }

    #[test]
    fn a_long_life_is_thinned_evenly() {
        let long: Life = (0..7_000).map(|n| (f64::from(n), 0.0)).collect();
        let kept = thin(&long);
        assert_eq!((kept.len(), kept[0].0), (POINTS_MAX, 0.0));
        let gaps = kept.windows(2).map(|pair| pair[1].0 - pair[0].0);
        assert!(gaps.clone().all(|gap| (3.0..=4.0).contains(&gap)));
        assert!(kept[POINTS_MAX - 1].0 >= 6_996.0);
        let short: Life = long[..POINTS_MAX].to_vec();
        assert_eq!(thin(&short), short);
        assert_eq!(thin(&Life::new()), []);
        // Every second point of so many is kept, and the others grow.
        let value = |n: u32| {
            if n.is_multiple_of(2) {
                0.0
            } else {
                f64::from(n)
            }
        };
        let uneven: Life = (0..4_000).map(|n| (f64::from(n), value(n))).collect();
        let slope = of(&[uneven]).unwrap();
        assert_eq!((slope.per_s, slope.least_per_s), (0.0, 0.0));
    }

    #[test]
    fn too_few_points_tell_nothing() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[vec![(0.0, 1.0), (1.0, 2.0)]]), None);
        let line: Life = (0..20).map(|n| (f64::from(n), f64::from(n))).collect();
        let slope = of(&[line]).unwrap();
        assert_eq!((slope.per_s, slope.least_per_s), (1.0, 1.0));
        assert_eq!(slope.level, 9.5);
    }
}
