//! The names of an enum's variants, each spelled once.
//!
//! Owns the macro [`names!`](crate::names) and its error. Errors do not repeat an unknown text,
//! which may be anything.

/// The text is not one of the names. The error lists those that are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {}", .known.join(", "))]
pub struct UnknownName {
    /// Every name, in the order of the variants.
    pub known: &'static [&'static str],
}

/// Declares an enum of variants without data, each with a name for storage, logs and answers.
///
/// From the one list come the enum itself (which derives `Debug`, `Copy`, `Ord` and `Hash`), `ALL`,
/// `as_str`, `Display`, `FromStr` with [`UnknownName`], and serde's `Serialize` and `Deserialize`.
/// The names are written out, so that a variant can be renamed without renaming what is stored, and
/// a search for a name finds its enum.
///
/// ```
/// threads_graph::names! {
///     /// The place of a parcel.
///     #[derive(Default)]
///     pub enum Parcel {
///         /// It has left.
///         #[default]
///         OnTheWay => "on_the_way",
///         /// It is there.
///         Arrived => "arrived",
///     }
/// }
///
/// assert_eq!(Parcel::OnTheWay.as_str(), "on_the_way");
/// assert_eq!(Parcel::ALL.map(|parcel| parcel.to_string()), ["on_the_way", "arrived"]);
/// assert_eq!("arrived".parse(), Ok(Parcel::Arrived));
/// let unknown = "lost".parse::<Parcel>().unwrap_err().to_string();
/// assert_eq!(unknown, "expected one of on_the_way, arrived");
/// ```
///
/// An enum that accepts more than these names is declared as `enum Parcel without FromStr`, and
/// implements `FromStr` itself. `Deserialize` goes through it.
#[macro_export]
macro_rules! names {
    ($(#[$attribute:meta])* $vis:vis enum $enum:ident { $($variants:tt)* }) => {
        $crate::names!($(#[$attribute])* $vis enum $enum without FromStr { $($variants)* });
        $crate::names!(@from_str $enum { $($variants)* });
    };
    ($(#[$attribute:meta])* $vis:vis enum $enum:ident without FromStr {
        $($(#[$variant_attribute:meta])* $variant:ident => $name:literal),+ $(,)?
    }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $enum {
            $(
                $(#[$variant_attribute])*
                #[doc = concat!("\n\nIts name is `", $name, "`.")]
                $variant,
            )+
        }

        impl $enum {
            /// All of them, as they are declared.
            $vis const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// The stable name, for storage, logs and answers.
            #[must_use]
            $vis const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        impl ::std::fmt::Display for $enum {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl $crate::__serde::Serialize for $enum {
            fn serialize<S: $crate::__serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::std::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> $crate::__serde::Deserialize<'de> for $enum {
            fn deserialize<D: $crate::__serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::std::result::Result<Self, D::Error> {
                <::std::string::String as $crate::__serde::Deserialize>::deserialize(deserializer)?
                    .parse()
                    .map_err($crate::__serde::de::Error::custom)
            }
        }
    };
    (@from_str $enum:ident { $($(#[$attribute:meta])* $variant:ident => $name:literal),+ $(,)? }) => {
        impl ::std::str::FromStr for $enum {
            type Err = $crate::UnknownName;

            fn from_str(text: &str) -> ::std::result::Result<Self, $crate::UnknownName> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => Err($crate::UnknownName { known: &[$($name),+] }),
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    names! {
        enum Private {
            OneOfThem => "one",
            Another => "other",
        }
    }

    #[test]
    fn every_way_out_and_in_has_the_same_name() {
        for (value, name) in Private::ALL.into_iter().zip(["one", "other"]) {
            assert_eq!((value.as_str(), name.parse()), (name, Ok(value)));
            assert_eq!(format!("{value:>6}"), format!("{name:>6}"));
            let json = serde_json::to_string(&value).unwrap();
            assert_eq!(json, format!("\"{name}\""));
            assert_eq!(serde_json::from_str::<Private>(&json).unwrap(), value);
        }
        assert!(Private::OneOfThem < Private::Another);
    }

    #[test]
    fn an_unknown_name_is_not_repeated() {
        let error = serde_json::from_str::<Private>("\"canary\"").unwrap_err().to_string();
        assert!(error.contains("expected one of one, other") && !error.contains("canary"), "{error}");
    }
}
