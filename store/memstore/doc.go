// Package memstore implements a Nix store in memory.
//
// It is for tests, and for programs that need a store for a short time: to compute store paths, to collect objects
// before they are sent elsewhere, or to replace a daemon (package daemontest serves one). It has the rules of Nix's
// own store:
//
//   - a path that is added by its contents follows from them;
//   - an object that is added under a path must have the hash and size in its info, must be content-addressed or signed
//     by a trusted key, and may refer only to valid paths;
//   - the output paths of a derivation must follow from its text;
//   - a collection keeps the roots and the paths that they need.
//
// It has every capability of package store that needs no file system or network. It builds only with
// [Options.Build].
//
// Objects are stored as archives, one byte slice each. All methods can be called concurrently.
//
// # Reading order
//
// memstore.go has the store and its queries, add.go adds objects, derivations.go has derivations and realisations,
// build.go builds outputs, and collect.go has roots and garbage collection.
package memstore
