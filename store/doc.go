// Package store defines what a Nix store is, independent of its implementation.
//
// A store has objects under store paths. A store describes an object by its [PathInfo]: the
// hash and size of its archive, its references, its deriver, its signatures. A path with a
// PathInfo is valid. Anything else in the store directory is ignored.
//
// [Store] is the small interface that every store implements. Other abilities are capabilities:
// interfaces that a store may implement, such as [TextAdder], [Builder] or [OutputQuerier]. Use
// a capability through the function for it ([AddText], [BuildPaths], [OutputMap]). The function
// also finds it behind wrappers with an Unwrap method, and returns an error that matches
// [errors.ErrUnsupported] if the store does not have it. A method may return that error, too:
// the abilities of a daemon depend on its version.
//
// To add files, use [AddPath] or [AddFS], for a text [AddText], for a derivation [AddDerivation], and
// for many texts and derivations a [Batch].
//
// Some functions work with any store: [Closure] follows references, [Copy] copies objects with
// their closure to another store, [SortByReferences] sorts objects so that they can be added in
// this order.
//
// A store determines the size of the closures that it returns, so their size is limited: see
// [Limits] and [Walk]. If a store panics on a goroutine of this package, the caller gets the
// panic as a [*PanicError], and no goroutine remains.
//
// Sources: path-info.hh, build-result.hh, realisation.hh and store-api.hh in
// src/libstore/include/nix/store of Nix.
package store
