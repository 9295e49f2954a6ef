//! The settings of a namespace, one row each. Everything that knows them goes
//! through the table: the types here, the checks, the codec, the fingerprint, the
//! requests of administrators, z4t.
//!
//! To add a setting: a row here, a field of `NamespaceSettings` in `admin.proto`,
//! one of `NamespaceConfig` and a `SettingName` in `log.proto`, the field of
//! `z4_client::Settings`, and the flag and the line of z4t. What is left out does
//! not compile or fails a test.

use std::ops::RangeInclusive;

use crate::check::within;
use crate::error::Refusal;
use crate::state::RateLimit;

/// Calls a macro with what is given behind its name, and with all rows:
/// `field: type, name: kind { .. };`. The field is
/// that of [`NamespaceConfig`], of [`NamespacePatch`] and of the message in the log;
/// the name is that of the field of requests and of `update_mask`.
///
/// A number is a `SettingName` of `log.proto`, which also orders the rows, and no
/// number is given twice. A setting that is added has 0 as its default: that is
/// what the rows of before are read as.
#[macro_export]
macro_rules! each_setting {
    ($then:ident $($with:tt)*) => {
        $then! { $($with)*
            /// How long a lease lasts unless asked otherwise, in milliseconds.
            lease_ms: u64, lease: Span {
                number: 1,
                default: $crate::limits::LEASE_MS_DEFAULT,
                bounds: $crate::limits::LEASE_MS_MIN..=$crate::limits::LEASE_MS_MAX,
                few: &[10, 500, 3_000, 30_000],
            };
            /// How long request ids are remembered, in milliseconds.
            dedupe_ms: u64, dedupe_window: Span {
                number: 2,
                default: $crate::limits::DEDUPE_MS_DEFAULT,
                bounds: 0..=$crate::limits::DEDUPE_MS_MAX,
                few: &[0, 1_000, 60_000, 600_000],
            };
            /// Failures that send a task to the dead letters, for tasks that do not
            /// say themselves; 0: none do.
            max_attempts: u32, max_attempts: Small {
                number: 3,
                default: 0,
                bounds: 0..=$crate::limits::ATTEMPTS_MAX,
                few: &[0, 1, 2, 5],
            };
            /// Wait after the first failure, in milliseconds; each further one
            /// doubles it.
            backoff_min_ms: u64, backoff_min: Span {
                number: 4,
                default: $crate::limits::BACKOFF_MIN_MS_DEFAULT,
                bounds: 0..=$crate::limits::DELAY_MS_MAX,
                few: &[0, 0, 1, 500, 5_000],
            };
            /// Longest wait after a failure, in milliseconds.
            backoff_max_ms: u64, backoff_max: Span {
                number: 5,
                default: $crate::limits::BACKOFF_MAX_MS_DEFAULT,
                bounds: 0..=$crate::limits::DELAY_MS_MAX,
                few: &[0, 600, 8_000, 600_000],
            };
            /// Most tasks that wait; 0: no limit.
            pending_max: u64, pending_max: Count {
                number: 6,
                default: 0,
                bounds: 0..=u64::MAX,
                few: &[0, 0, 2, 8],
            };
            /// Most bytes of payload and metadata of all its tasks; 0: no limit.
            bytes_max: u64, bytes_max: Count {
                number: 7,
                default: 0,
                bounds: 0..=u64::MAX,
                few: &[0, 0, 50, 200],
            };
            /// Most live leases; 0: no limit.
            leased_max: u64, leased_max: Count {
                number: 8,
                default: 0,
                bounds: 0..=u64::MAX,
                few: &[0, 0, 1, 3, 8],
            };
            /// Most deliveries in a period.
            rate: RateLimit, rate: Rate {
                number: 9,
                default: $crate::state::RateLimit::NONE,
                bounds: $crate::state::RateLimit::LEAST..=$crate::state::RateLimit::MOST,
                few: &[
                    $crate::state::RateLimit { count: 0, period_ms: 1_000 },
                    $crate::state::RateLimit { count: 0, period_ms: 1_000 },
                    $crate::state::RateLimit { count: 1, period_ms: 7_000 },
                    $crate::state::RateLimit { count: 3, period_ms: 60_000 },
                    $crate::state::RateLimit { count: 7, period_ms: 86_400_000 },
                    $crate::state::RateLimit { count: 1_000_000, period_ms: 1_000 },
                ],
            };
            /// Deliveries that may come at once after a quiet time; 0: a second's
            /// worth, and one at least.
            rate_burst: u32, rate_burst: Small {
                number: 10,
                default: 0,
                bounds: 0..=$crate::limits::RATE_BURST_MAX,
                few: &[0, 1, 5, 1_000_000],
            };
            /// How long dead letters are kept, in milliseconds; 0: until somebody
            /// removes them. For those that die from then on.
            dead_keep_ms: u64, dead_keep: Span {
                number: 11,
                default: 0,
                bounds: 0..=$crate::limits::DEAD_KEEP_MS_MAX,
                few: &[0, 1, 500, 5_000, 60_000],
            };
            /// How many dead letters are kept, the oldest go first; 0: all.
            dead_keep_count: u64, dead_keep_count: Count {
                number: 12,
                default: 0,
                bounds: 0..=u64::MAX,
                few: &[0, 1, 3, 10],
            };
        }
    };
}

/// The greatest number of the settings that every version had since there is a
/// fingerprint of the state.
const NUMBER_OF_OLD_MAX: u32 = 15;

/// A setting: a row of the table.
#[derive(Debug)]
pub struct Setting {
    /// What requests, masks and errors call it.
    pub name: &'static str,
    /// Its number in the log.
    pub number: u32,
    /// What its values are, and how to come by them.
    pub kind: Kind,
}

/// What the values of a setting are.
#[derive(Debug)]
pub enum Kind {
    /// A span, in milliseconds.
    Span(Values<u64>),
    /// A number.
    Count(Values<u64>),
    /// A number of 32 bits.
    Small(Values<u32>),
    /// A limit on deliveries, which has two numbers.
    Rate(Values<RateLimit>),
}

/// The values of a setting, and where they stand.
#[derive(Debug)]
pub struct Values<T: 'static> {
    /// The value of a new namespace.
    pub default: T,
    /// The least and the greatest value; of a rate limit, of both its numbers.
    pub bounds: RangeInclusive<T>,
    /// Values that matter to a few tasks in a few seconds, for tests that draw one.
    pub few: &'static [T],
    /// The value in settings.
    pub of: fn(&NamespaceConfig) -> T,
    /// The value in a patch, if the patch has one.
    pub given: fn(&NamespacePatch) -> Option<T>,
    /// Lets a patch have this value.
    pub give: fn(&mut NamespacePatch, T),
}

/// The types of the settings, and the table.
macro_rules! table {
    ($($(#[$doc:meta])* $field:ident: $type:ty, $name:ident: $kind:ident {
        number: $number:literal,
        default: $default:expr,
        bounds: $bounds:expr,
        few: $few:expr,
    };)*) => {
        /// Settings of a namespace.
        #[derive(Clone, PartialEq, Eq, Hash, Debug)]
        pub struct NamespaceConfig {
            $($(#[$doc])* pub $field: $type,)*
        }

        impl Default for NamespaceConfig {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        /// What changes of the settings of a namespace; `None` stays as it is.
        #[derive(Clone, PartialEq, Eq, Debug, Default)]
        pub struct NamespacePatch {
            $(
                /// See [`NamespaceConfig`].
                pub $field: Option<$type>,
            )*
            /// Stops deliveries, or lets them go on.
            pub paused: Option<bool>,
        }

        impl NamespacePatch {
            /// Lays what it has over settings.
            pub fn lay_over(&self, config: &mut NamespaceConfig) {
                $(config.$field = self.$field.unwrap_or(config.$field);)*
            }
        }

        /// All settings, in the order of their numbers.
        pub static SETTINGS: &[Setting] = &[$(Setting {
            name: stringify!($name),
            number: $number,
            kind: Kind::$kind(Values {
                default: $default,
                bounds: $bounds,
                few: $few,
                of: |config| config.$field,
                given: |patch| patch.$field,
                give: |patch, value| patch.$field = Some(value),
            }),
        },)*];
    };
}

each_setting!(table);

impl NamespacePatch {
    /// Checks every field against its limit.
    ///
    /// # Errors
    /// [`Refusal`] with code `Invalid` that names the field and the limit.
    pub fn check(&self) -> Result<(), Refusal> {
        SETTINGS.iter().try_for_each(|setting| setting.check(self))
    }
}

impl Setting {
    fn check(&self, patch: &NamespacePatch) -> Result<(), Refusal> {
        match &self.kind {
            Kind::Span(values) | Kind::Count(values) => values.check(self.name, patch),
            Kind::Small(values) => values.check(self.name, patch),
            Kind::Rate(values) => (values.given)(patch).map_or(Ok(()), |rate| rate.check()),
        }
    }

    /// Lets a patch have one of the few values, counted round and round: for tests of
    /// all settings.
    #[doc(hidden)]
    pub fn give_one(&self, patch: &mut NamespacePatch, place: usize) {
        fn give<T: Copy>(values: &Values<T>, patch: &mut NamespacePatch, place: usize) {
            if let Some(value) = values.few.iter().cycle().nth(place) {
                (values.give)(patch, *value);
            }
        }
        match &self.kind {
            Kind::Span(values) | Kind::Count(values) => give(values, patch, place),
            Kind::Small(values) => give(values, patch, place),
            Kind::Rate(values) => give(values, patch, place),
        }
    }

    /// Whether it came after the fingerprint. Such a setting counts there only
    /// where it is not 0, its default, so that peers of both versions agree.
    pub(crate) fn is_later(&self) -> bool {
        self.number > NUMBER_OF_OLD_MAX
    }
}

impl<T: Copy + Into<u64>> Values<T> {
    fn check(&self, field: &str, patch: &NamespacePatch) -> Result<(), Refusal> {
        let (least, most) = (*self.bounds.start(), *self.bounds.end());
        (self.given)(patch).map_or(Ok(()), |value| {
            within(field, value.into(), least.into(), most.into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the rules of the table say, for the compiler does not.
    #[test]
    fn numbers_rise_and_a_later_setting_is_0_by_default() {
        let numbers: Vec<u32> = SETTINGS.iter().map(|setting| setting.number).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        for later in SETTINGS.iter().filter(|setting| setting.is_later()) {
            let zero = match &later.kind {
                Kind::Span(values) | Kind::Count(values) => values.default == 0,
                Kind::Small(values) => values.default == 0,
                Kind::Rate(values) => values.default == RateLimit::NONE,
            };
            assert!(zero, "{}", later.name);
        }
    }

    #[test]
    fn defaults_and_the_few_keep_their_bounds() {
        fn kept<T: Copy + PartialOrd>(values: &Values<T>) -> bool {
            let all = values.few.iter().chain([&values.default]);
            all.into_iter().all(|value| values.bounds.contains(value))
        }
        for setting in SETTINGS {
            let kept = match &setting.kind {
                Kind::Span(values) | Kind::Count(values) => kept(values),
                Kind::Small(values) => kept(values),
                Kind::Rate(values) => values.few.iter().all(|rate| rate.check().is_ok()),
            };
            assert!(kept, "{}", setting.name);
        }
    }
}
