// Package store knows what a Nix store is, whoever keeps it.
//
// A store holds objects under store paths. What it knows of an object is its
// [PathInfo]: the hash and size of its archive, the paths that it refers to, the
// derivation that made it, signatures. A path with a PathInfo is valid; whatever else
// lies in the store directory is not there.
//
// [Store] is the little that every store can do. All else is a capability, an
// interface of its own that a store has or has not: [TextAdder], [Builder],
// [OutputQuerier]. Ask for one through the function of the same purpose ([AddText],
// [BuildPaths], [OutputMap]), which looks for it, also behind wrappers that have an
// Unwrap method, and returns an error that is [errors.ErrUnsupported] where there is
// none. A method may return that too: what a daemon can do depends on its version.
//
// Some things any store can do with what it has: [Closure] walks along references,
// [Copy] brings objects with all that they refer to into another store,
// [SortByReferences] finds the order in which they can be added.
//
// A closure is as large as the store claims, so its size is limited: see [Limits] and [Walk]. If a
// store panics on a goroutine of this package, the caller gets the panic as a [*PanicError], and no
// goroutine is left.
//
// Sources: path-info.hh, build-result.hh, realisation.hh and store-api.hh in
// src/libstore/include/nix/store of Nix.
package store
