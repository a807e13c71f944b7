// Package realise makes derived paths valid. It decides which derivations are built, which paths are substituted, and
// in which order.
//
// [New] adds building to a store that can query, add and perhaps substitute:
//
//	s := realise.New(local, &realise.Options{Settings: …})
//	err := store.BuildPaths(ctx, s, paths, store.BuildNormal)
//
// # What a call does
//
//  1. It substitutes the derivations that are not valid.
//  2. It plans: [store.FindMissing] walks the derivations and says which of them must be built. The outputs of all
//     others are valid, or substitutable.
//  3. It runs one goal for each derivation to build. A goal first makes the inputs of its derivation valid: it waits
//     for the goals of those that are built, and the store below substitutes the others. Then it waits for a build
//     slot, and an [Executor] builds the derivation.
//
// A substituter may fail although the plan relied on it. Then the derivation fails with the status TransientFailure.
// With the setting fallback, the store below reports MiscFailure instead, and the derivation is built.
//
// # Paths that depend on contents
//
// An output can be content-addressed, and then its path is known only after its build. A derivation that needs such an output is
// resolved: its inputs are replaced by the paths of their outputs. The goal adds the resolved derivation to the store, builds that one, and
// registers its outputs for the wanted derivation, too. Dynamic derivations, which are outputs themselves,
// are not supported.
//
// # Failures
//
// A failure stops the call: running builds are killed, and nothing else starts. With [Settings.KeepGoing] the call
// continues with everything that does not depend on the failure. Failures have the texts of Nix 2.34.
//
// # Builders that use the store
//
// A builder with the feature recursive-nix queries its inputs, adds paths and builds, in a restricted store
// (restricted.go) that [Settings.Serve] serves. Its builds are calls like others, with the settings of the call that
// builds it (nested.go). A builder with the feature builder-rpc-v0 only adds paths and submits its outputs
// (submitting.go).
//
// # Concurrency
//
// All calls of a store share its build slots ([Slots]). A call takes at most max-jobs of them, so a client with many
// derivations does not keep others waiting for long. Two calls that need the same derivation build it once: the
// second call waits, without a slot, until the first one ends, and finds the outputs valid.
//
// Sources: src/libstore/build/worker.cc, derivation-goal.cc and derivation-building-goal.cc in Nix 2.34.8.
package realise
