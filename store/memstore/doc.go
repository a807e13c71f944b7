// Package memstore keeps a whole Nix store in memory.
//
// It is a store for tests and for programs that need one for a moment: to compute what
// paths would be, to hold what is about to be sent elsewhere, to stand in for a daemon
// (package daemontest serves one). It keeps the rules of Nix's own store:
//
//   - what is added by its contents gets the path that follows from them;
//   - what is added under a path must have the hash and the size that its info says, must be
//     signed by a trusted key or follow from its contents, and may refer only to what is valid;
//   - a derivation must have the output paths that follow from it;
//   - what a root, or a path that a root needs, refers to is not collected.
//
// It has every capability of package store but those that need a file system or a network.
// It does not build, unless [Options.Build] does.
//
// Objects are kept as archives, one byte slice for each. All methods may be called by any
// number of goroutines at once.
//
// # Reading order
//
// memstore.go has the store and its questions, add.go how objects come in, derivations.go
// what is known of outputs, build.go what is asked for of them, collect.go what goes.
package memstore
