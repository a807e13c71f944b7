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
// If the store below collects garbage when its disk is nearly full (CollectIfFull of package localstore), it gets the
// opportunity before and during each build. Temporary roots protect what the call needs.
//
// # Paths that depend on contents
//
// The path of a content-addressed output is known only after its build. A derivation that needs such an output is
// resolved: its inputs are replaced by the paths of their outputs. The goal adds the resolved derivation to the store,
// builds it, and registers its outputs for the wanted derivation, too.
//
// A derivation can be an output itself: a dynamic derivation. No plan knows what it needs. The call first makes that
// output valid, and then plans its outputs and makes them valid, as if they had been wanted from the start.
//
// # Other machines
//
// With [Settings.Remote], a derivation is built on another machine if one is suitable and free (elsewhere.go,
// machines.go). Its inputs are copied there, and its outputs back (remote.go). The outputs of a machine are checked
// (remoteoutputs.go), and registered without signatures of this machine.
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
// derivations does not keep others waiting for long.
//
// Calls that need the same derivation share one build if their executors would build it in the same way. Each call has
// its own limits, and each gets the log. A call that is cancelled, or reaches a limit, leaves the build to the others.
// Successes, and failures that follow from the derivation, are the result of all these calls. Any other failure is the
// result of one call, and the others build again.
//
// [Settings.AfterBuild] runs after each build, outside its slot, so a slow hook delays only what needs the outputs.
//
// Sources: src/nix/build-remote/build-remote.cc, and worker.cc, derivation-goal.cc and derivation-building-goal.cc in
// src/libstore/build, in Nix 2.34.8.
package realise
